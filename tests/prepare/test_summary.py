"""What a preparation says while it runs and at its end; the README's figures of the sample."""

import json
import re
import shlex
from pathlib import Path

import pytest
from corpora import POLICIES, prepared

from bosrow.cli import main
from bosrow.dataset.ledger import Ledger
from bosrow.dataset.ledger_table import ledger_lines, loss_line
from bosrow.dataset.provenance import Provenance
from bosrow.errors import SourceError
from bosrow.sources.sample import FACTBOOK, PLAYS, read_files
from bosrow.sources.sample import main as write_sample

ROOT = Path(__file__).parent.parent.parent


def test_the_loss_is_told_in_one_line_with_its_reasons_and_the_remedy():
    train = Ledger(tokens_read=900, tokens_placed=400, tokens_cropped_long=450, tokens_cropped_fit=50)
    val = Ledger(tokens_read=100, tokens_placed=50, tokens_cropped_long=50)
    assert loss_line({"train": train, "val": val}) == (
        "lost 55.0% of all tokens: 50.0% of documents longer than a row, 5.0% cropped to close a row; "
        "--policy keep would have kept them"
    )


def test_nothing_is_said_of_a_loss_where_nothing_was_lost():
    assert loss_line({"train": Ledger(tokens_read=10, tokens_placed=7, tokens_tail=3), "val": Ledger()}) is None


@pytest.mark.parametrize("policy", POLICIES)
def test_the_lines_of_the_ledger_add_up(made, policy):
    manifest = Provenance(made[policy]).manifest
    ledgers = {split: Ledger.from_json(manifest.ledger[split]) for split in ("train", "val")}
    groups = {}
    for line in ledger_lines(ledgers):
        if line.share is None:
            whole = groups[line.label] = (line.counts, [])
        else:
            whole[1].append(line)
    for label in ("tokens read", "documents read"):
        counts, parts = groups[label]
        assert tuple(map(sum, zip(*(part.counts for part in parts), strict=True))) == counts
        assert sum(part.share for part in parts) == pytest.approx(1)
    assert sum(groups["rows"][0]) == manifest.rows_of("train") + manifest.rows_of("val")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_preparation_ends_with_its_ledger_and_what_to_do_next(made, tmp_path, capsys, policy):
    prepared(tmp_path / "made", data_files=(made["source"],), policy=policy, val_fraction=0.1)
    shown = capsys.readouterr().out
    ledger = Provenance(tmp_path / "made").manifest.ledger
    assert (
        f"{tmp_path / 'made'}: {ledger['train']['rows']:,} train rows and {ledger['val']['rows']:,} val rows" in shown
    )
    for name, key in (
        ("tokens read", "tokens_read"),
        ("in rows", "tokens_placed"),
        ("documents read", "documents_read"),
    ):
        assert re.search(rf"{name} +{ledger['train'][key]:,} +{ledger['val'][key]:,}", shown)
    lossy = policy.startswith("crop")
    (line,) = [line for line in shown.splitlines() if line.startswith("lost ")] or [None]
    assert (line is not None) == lossy
    assert "million tokens a second" in shown
    assert f"next: bosrow inspect {tmp_path / 'made'}" in shown
    assert f"bosrow train --data_dir {tmp_path / 'made'}" in shown


def test_empty_texts_are_told_with_their_share(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "one two three"}\n' + '{"text": ""}\n' * 99)
    settings = {"data_files": (str(tmp_path / "a.jsonl"),), "seq_len": 4, "policy": "keep", "val_fraction": 0.0}
    prepared(tmp_path / "out", **settings)
    assert "\n99 documents (99.0%) are empty texts: rows hold only a BOS for each\n" in capsys.readouterr().out
    (tmp_path / "a.jsonl").write_text('{"text": "one two three four"}\n')
    prepared(tmp_path / "none", **settings)
    assert "are empty texts" not in capsys.readouterr().out


def test_commands_to_run_next_can_be_pasted_into_a_shell(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "one two three four"}\n')
    out = tmp_path / "my [bold] $data; it's"
    prepared(out, data_files=(str(tmp_path / "a.jsonl"),), seq_len=2, policy="stream", val_fraction=0.0)
    lines = [line.removeprefix("next:").split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()[-2:]]
    assert [shlex.split(line) for line in lines] == [["inspect", str(out)], ["train", "--data_dir", str(out)]]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_progress_line_has_the_ledger_so_far(made, tmp_path, capsys, monkeypatch, policy):
    monkeypatch.setattr("bosrow.prepare.progress.LINE_SECONDS", 0.0)
    prepared(tmp_path / "made", data_files=(made["source"],), policy=policy, val_fraction=0.1, batch_docs=8)
    lines = [line for line in capsys.readouterr().err.splitlines() if "M tokens" in line]
    assert len(lines) > 5
    for line in lines:
        shares = re.findall(r"([\d.]+)% (in rows|cropped|held)", line)
        assert sum(float(share) for share, _ in shares) == pytest.approx(100, abs=0.2)
    assert any("in rows" in line and "held" in line for line in lines)
    assert any("cropped" in line for line in lines) == policy.startswith("crop")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The sample as `make data` and `make picture` prepare it: by crop and by keep."""
    for package in (FACTBOOK, PLAYS):
        try:
            read_files(package)
        except SourceError as error:
            pytest.skip(f"the README's figures are not checked: {error}")
    folder = tmp_path_factory.mktemp("sample")
    assert write_sample([str(folder / "sample.jsonl")]) == 0
    return folder


def prepare_sample(folder, policy):
    """As the Makefile does."""
    made = re.search(r"^SOURCE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    source = made[1].replace("$(SAMPLE)", str(folder / "sample.jsonl")).split()
    out = ["--out_dir", str(folder / policy), "--seq_len", "1024", "--policy", policy, "--workers", "0"]
    assert main(["prepare", *source, *out]) == 0
    return folder / policy


def blocks(name):
    """A page's blocks of output."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    return [block for language, block in fenced if not language]


def test_the_readme_shows_what_make_data_says(sample, capsys):
    folder = prepare_sample(sample, "crop")
    shown = [line.rstrip() for line in capsys.readouterr().out.replace(str(folder), "data/sample_bosrow").splitlines()]
    (block,) = (block for block in blocks("README.md") if block.startswith("data/sample_bosrow: "))
    timed = "million tokens a second"
    assert [line for line in block.splitlines() if timed not in line] == [
        line
        for line in shown[2:]
        if timed not in line  # after that of the tokenizer, and an empty one
    ]


def test_the_documents_show_the_policies_table_and_the_picture_of_the_sample(sample, capsys):
    folder = prepare_sample(sample, "keep")
    capsys.readouterr()
    assert main(["policies", "--from", str(folder), "--seq_len", "1024"]) == 0
    (block,) = (block for block in blocks("docs/policies.md") if block.startswith("policy "))
    assert block in capsys.readouterr().out
    assert main(["inspect", str(folder), "--svg", str(sample / "rows.svg")]) == 0
    assert (sample / "rows.svg").read_bytes() == (ROOT / "docs" / "rows.svg").read_bytes(), "make picture draws it anew"
    assert json.loads((folder / "meta.json").read_text())["docs_processed"] == 2674
