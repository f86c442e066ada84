"""`bosrow inspect` on a terminal, in a pipe and as JSON; what it refuses."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from html import unescape
from pathlib import Path

import pytest
from corpora import POLICIES, prepared
from edited import change_provenance, put
from oracles.survey import contexts, tokens_of_rows

from bosrow.cli import main
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import open_rows
from bosrow.inspect.row_text import printable
from bosrow.tokenizers.gpt2 import load_tokenizer


def inspected(capsys, *arguments):
    """What `bosrow inspect` prints."""
    assert main(["inspect", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("policy", POLICIES)
def test_json_has_the_ledger_the_counts_and_the_rows(made, capsys, policy):
    found = json.loads(inspected(capsys, made[policy], "--json", "--rows", 5))
    provenance = Provenance(made[policy])
    assert found["ledger"] == provenance.manifest.ledger
    rows = tokens_of_rows(made[policy])
    context = contexts(rows)
    assert found["mean_context"] == pytest.approx(sum(context) / len(context))
    assert (found["mean_context_of_stream"] is None) == (policy == "stream")
    assert sum(one["documents"] for one in found["documents_by_length"]) == len(provenance.documents)
    assert sum(found["pieces_per_row"]) == len(rows)
    assert len({row["row"] for row in found["shown"]}) == 5


def test_the_text_of_a_row_is_that_of_its_tokens_and_of_its_documents(made, capsys):
    source = [json.loads(line)["text"] for line in Path(made["source"]).read_text().splitlines()]
    decode = load_tokenizer().decode
    for policy in POLICIES:
        rows = open_rows(made[policy], "train")
        for shown in json.loads(inspected(capsys, made[policy], "--json", "--rows", 1000))["shown"]:
            assert rows.locate(shown["row"]) == (shown["shard"], shown["row_in_shard"])
            for piece in shown["pieces"]:
                begin = piece["column"] + (piece["bos"] is not None)
                tokens = rows[shown["row"]][begin : piece["column"] + piece["length"]]
                assert piece["text"] == printable(decode(tokens))
                info = piece["info"]
                held = piece["length"] - (piece["bos"] == "added")
                assert piece["before"] + held + piece["after"] == info["tokens"]
                assert (piece["bos"] == "own") == (piece["before"] == 0)
                if not piece["before"] and not piece["after"]:
                    assert piece["text"] == printable(source[info["source_row"]])


def test_a_pipe_gets_plain_text_that_no_document_can_act_through(made, capsys):
    for policy in POLICIES:
        shown = inspected(capsys, made[policy], "--rows", 1000)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u2028\u200f]", shown)
        assert "[bold]markup[/bold]" in shown  # rich's markup in a document is text as well


@pytest.mark.parametrize("policy", POLICIES)
def test_the_terminal_shows_ledger_histograms_and_rows(made, capsys, policy):
    shown = inspected(capsys, made[policy], "--rows", 40)
    ledger = Provenance(made[policy]).manifest.ledger
    assert re.search(rf"tokens read +{ledger['train']['tokens_read']:,} +{ledger['val']['tokens_read']:,}", shown)
    for title in ("documents, by length in tokens", "tokens, by the length", "rows, by pieces in them"):
        assert title in shown
    assert ("documents, by cuts" in shown) == (policy in ("keep", "stream"))
    assert shown.count("▌ document ") >= 40
    assert ("[BOS added]" in shown) == (policy == "keep")
    assert ("\n▌ ✂ " in shown) == (policy == "stream")
    assert ("were cropped" in shown) == policy.startswith("crop")
    assert ("--policy keep would have kept them" in shown) == policy.startswith("crop")


def in_a_terminal(arguments, **environment):
    """What a command writes to a terminal of 100 columns."""
    here, there = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "bosrow", *arguments], stdout=there, stdin=there, stderr=subprocess.PIPE, env=environment
    )
    os.close(there)
    parts = []

    def read():
        while True:
            try:
                data = os.read(here, 1 << 16)
            except OSError:  # Linux says so when the other end has closed
                return
            if not data:
                return
            parts.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    _, errors = process.communicate(timeout=60)
    reader.join(timeout=60)
    os.close(here)
    assert process.returncode == 0, errors
    return b"".join(parts).decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[1-6][0-9;]*m")


def test_a_terminal_gets_a_colour_for_each_document_and_no_color_none(made):
    command = ["inspect", str(made["keep"]), "--rows", "3"]
    coloured = in_a_terminal(command)
    assert len(set(COLOUR.findall(coloured))) >= 3
    assert not COLOUR.search(in_a_terminal(command, NO_COLOR="1"))


def test_without_provenance_it_shows_what_can_be_known_and_says_what_cannot(made, capsys, tmp_path):
    shown = inspected(capsys, made["bare"])
    assert "prepared with --no_provenance" in shown
    assert "a BOS added after a cut looks like the start" in shown
    assert "rows, by pieces in them" in shown
    assert "by length" not in shown
    found = json.loads(inspected(capsys, made["bare"], "--json"))
    assert found["ledger"]["train"]["rows"] == found["rows"]["train"] > 0
    for unknown in ("documents_by_length", "cuts_per_document", "mean_context_of_stream", "least_cuts"):
        assert found[unknown] is None
    assert inspected(capsys, made["bare"], "--html", tmp_path / "page.html")
    page = unescape((tmp_path / "page.html").read_text())
    assert "prepared with --no_provenance" in page
    assert "Kept and lost" not in page


def test_a_picture_needs_provenance(made, capsys, tmp_path):
    assert main(["inspect", str(made["bare"]), "--svg", str(tmp_path / "rows.svg")]) == 2
    assert "--no_provenance" in capsys.readouterr().err
    assert not (tmp_path / "rows.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "-1"], "--rows is -1"),
        (["--json", "--html", "x.html"], "--html and --json"),
        (["--html", "no/such/folder/x.html"], "in a folder that exists"),
        (["--html", "."], "in a folder that exists"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(made, capsys, arguments, message):
    assert main(["inspect", str(made["crop"]), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_data_set_is_refused(capsys, tmp_path):
    assert main(["inspect", str(tmp_path)]) == 2
    assert "meta.json" in capsys.readouterr().err


def test_a_split_without_rows_is_refused(capsys, tmp_path, made):
    prepared(tmp_path / "made", data_files=(made["source"],), val_fraction=0.0)
    assert main(["inspect", str(tmp_path / "made"), "--split", "val"]) == 2
    assert "has no val rows" in capsys.readouterr().err


def test_one_row_of_one_document_can_be_shown(capsys, tmp_path):
    source = tmp_path / "one.txt"
    source.write_text("word " * 40)
    prepared(tmp_path / "made", data_files=(str(source),), val_fraction=0.0)
    assert "train row 0" in inspected(capsys, tmp_path / "made", "--rows", 9)
    for flag, name in (("--html", "page.html"), ("--svg", "rows.svg")):
        inspected(capsys, tmp_path / "made", flag, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "train_000000.parquet",
            lambda t: t.drop_columns(["offset"]),
            "lacks the columns offset; it was made by another",
        ),
        ("documents_000000.parquet", lambda t: t.drop_columns(["tokens"]), "lacks the columns tokens"),
        ("train_000000.parquet", lambda t: put(t, "row", 0, 10_000), "outside the rows"),
        ("train_000000.parquet", lambda t: put(t, "document", 0, 1 << 40), "outside the rows"),
        ("train_000000.parquet", lambda t: t.slice(1), "does not fill a row"),
        ("train_000000.parquet", lambda t: put(t, "column", 1, 1), "does not fill a row"),
    ],
)
def test_provenance_of_another_version_or_of_other_rows_is_refused(made, tmp_path, capsys, file, change, message):
    prepared(tmp_path / "made", data_files=(made["source"],), val_fraction=0.0, shard_rows=0)
    change_provenance(tmp_path / "made", file, change)
    assert main(["inspect", str(tmp_path / "made"), "--rows", "1000"]) == 2
    assert message in capsys.readouterr().err


def test_provenance_with_flipped_bytes_is_refused(made, tmp_path, capsys):
    prepared(tmp_path / "made", data_files=(made["source"],), val_fraction=0.0, shard_rows=0)
    path = tmp_path / "made" / "provenance" / "train_000000.parquet"
    data = bytearray(path.read_bytes())
    for place in range(100, len(data) // 2, 50):
        data[place] ^= 0x5A
    path.write_bytes(data)
    for arguments in (["inspect"], ["trace", "--row", "1"], ["trace", "--document", "1"]):
        assert main([arguments[0], str(tmp_path / "made"), *arguments[1:]]) == 2
        errors = capsys.readouterr().err
        assert "train_000000.parquet is not readable Parquet" in errors
        assert errors.count("\n") == 1
