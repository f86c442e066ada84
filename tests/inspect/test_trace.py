"""`bosrow trace` against what real trainings logged, and against the Parquet files and the corpus read plainly."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import command, read_lines, run_ranks, train_here

from bosrow.cli import main
from bosrow.dataset.order import RowOrder
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import open_rows
from bosrow.prepare.command import prepare
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.tokenizers.gpt2 import END_OF_TEXT, load_tokenizer

STEPS, SEED = 12, 7
OFF = "--eval_every 0 --save_every 0"
TEXTS = [f"Text {n}: " + "of a few words " * (n * 13 % 17) for n in range(45)] + ["", "one long text " * 30]
TRAINING = (
    f"--vocab_size 50257 --seed {SEED} --max_train_steps {STEPS} --exposure_every 1 --eval_every 0 --save_every 0"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "id": f"id {n}"}) + "\n" for n, text in enumerate(TEXTS)))
    return path


@pytest.fixture(scope="module", params=["keep", "crop"])
def folder(request, source, tmp_path_factory):
    """A data set of several shards, with rows of 17 tokens."""
    out_dir = tmp_path_factory.mktemp("made") / request.param
    options = {"seq_len": 16, "policy": request.param, "val_fraction": 0.1, "shard_rows": 20, "buffer_docs": 10}
    prepare(PrepareOptions(data_files=(str(source),), id_field="id", out_dir=out_dir, workers=0, **options))
    return out_dir


@pytest.fixture
def trace(folder, capsys):
    """`bosrow trace --json` of the data set."""

    def trace(*arguments):
        capsys.readouterr()
        assert main(["trace", str(folder), *map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return trace


def logged(run_dir):
    """What a training said it read: (step, rank, micro batch, position, shard, row)."""
    found = set()
    for path in (run_dir / "exposures").glob("*.jsonl"):
        for line in read_lines(path):
            for number, batch in enumerate(line["micro_batches"]):
                for position, (shard, row) in zip(batch["positions"], batch["rows"], strict=True):
                    found.add((line["step"], line["rank"], number, position, shard, row))
    assert {step for step, *_ in found} == set(range(1, STEPS + 1))
    return found


def check_against(seen, trace, folder, world_size):
    """Every step, and the way back from every document, as the log has it."""
    asked = ["--seed", SEED, "--total_batch_tokens", 256, "--micro_batch_size", 4, "--world_size", world_size]
    traced = set()
    for step in range(1, STEPS + 1):
        rows = trace("--step", step, *asked)["rows"]
        for row in rows:
            place = (row["rank"], row["micro_batch"], row["position"], row["shard"], row["row_in_shard"])
            traced.add((step, *place))
        for rank in range(world_size):
            assert trace("--step", step, "--rank", rank, *asked)["rows"] == [r for r in rows if r["rank"] == rank]
    assert traced == seen
    for document in range(len(Provenance(folder).documents)):
        for piece in trace("--document", document, "--max_train_steps", STEPS, *asked)["pieces"]:
            read = sorted(
                step for step, *_, shard, row in seen if (shard, row) == (piece["shard"], piece["row_in_shard"])
            )
            assert piece.get("steps", []) == sorted(set(read))
            assert piece.get("times_read", 0) == len(read)


@pytest.mark.parametrize("folder", ["crop"], indirect=True)
def test_steps_and_documents_are_those_that_one_process_logged(folder, trace, tmp_path):
    assert train_here(folder, tmp_path / "run", TRAINING) == 0
    seen = logged(tmp_path / "run")
    assert len({position // len(open_rows(folder)) for *_, position, _, _ in seen}) > 1  # more than one epoch
    check_against(seen, trace, folder, world_size=1)


@pytest.mark.parametrize("folder", ["keep"], indirect=True)
def test_steps_and_documents_are_those_that_two_ranks_logged(folder, trace, tmp_path):
    run_ranks(command(folder, tmp_path / "run", TRAINING), 2)
    check_against(logged(tmp_path / "run"), trace, folder, world_size=2)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_row_has_the_pieces_sources_and_text_that_the_files_say(folder, trace, split):
    rows = open_rows(folder, split)
    documents = pq.read_table(folder / "provenance" / "documents_000000.parquet").to_pylist()
    decode = load_tokenizer().decode
    number = 0
    for shard in sorted(folder.glob(f"{split}_*.bin")):
        lines = pq.read_table(folder / "provenance" / f"{shard.stem}.parquet").to_pylist()
        for inside in range(shard.stat().st_size // 34):
            (found,) = trace("--row", number, "--split", split, "--text")["rows"]
            assert (found["shard"], found["row_in_shard"]) == (shard.name, inside)
            expected = [line for line in lines if line["row"] == inside]
            assert len(found["pieces"]) == len(expected)
            for piece, line in zip(found["pieces"], expected, strict=True):
                for name in ("column", "length", "document", "offset", "added_bos"):
                    assert piece[name] == line[name]
                document = documents[line["document"]]
                assert (piece["source_row"], piece["id"]) == (document["source_row"], f"id {document['source_row']}")
                assert piece["whole"] == (piece["tokens"] == piece["document_tokens"] == document["tokens"])
                begins = line["added_bos"] or line["offset"] == 0
                held = rows[number][line["column"] + begins : line["column"] + line["length"]]
                assert piece["text"] == decode(held)
                ids = [END_OF_TEXT, *load_tokenizer().encode(TEXTS[document["source_row"]]).tolist()]
                first = line["offset"] + (begins and not line["added_bos"])
                assert held.tolist() == ids[first : first + len(held)]
            number += 1
    assert number == len(rows)


def test_a_position_is_the_row_that_the_order_of_training_has_there(folder, trace):
    rows = open_rows(folder)
    order = RowOrder(rows=len(rows), seed=SEED)
    for position in (0, 5, len(rows) - 1, len(rows), 5 * len(rows) + 3):
        (found,) = trace("--position", position, "--seed", SEED)["rows"]
        assert found["row"] == order.rows_at([position])[0]
        assert found["epoch"] == position // len(rows)
    epoch = [trace("--position", len(rows) + n, "--seed", SEED)["rows"][0]["row"] for n in range(len(rows))]
    assert sorted(epoch) == list(range(len(rows)))


def test_a_document_is_told_with_every_token_of_it(folder, trace):
    """Every piece, in order; what no row holds is counted, and it is what the ledger lacks."""
    nowhere = 0
    for document, text in enumerate(TEXTS):
        found = trace("--document", document, "--text", "--total_batch_tokens", 256, "--max_train_steps", STEPS)
        assert found["document"]["id"] == f"id {document}"
        pieces = found["pieces"]
        assert [piece["offset"] for piece in pieces] == [
            sum(p["tokens"] for p in pieces[:n]) for n in range(len(pieces))
        ]
        held = sum(piece["tokens"] for piece in pieces)
        assert held + found["tokens_in_no_row"] == found["document"]["tokens"] == 1 + len(load_tokenizer().encode(text))
        assert text.startswith("".join(piece["text"] for piece in pieces))
        nowhere += found["tokens_in_no_row"]
    ledgers = Provenance(folder).manifest.ledger.values()
    assert nowhere == sum(ledger["tokens_cropped"] + ledger["tokens_tail"] for ledger in ledgers)


def test_what_a_person_reads(folder, capsys):
    def shown(*arguments):
        capsys.readouterr()
        assert (
            main(["trace", str(folder), *map(str, arguments), "--total_batch_tokens", "256", "--max_train_steps", "99"])
            == 0
        )
        return capsys.readouterr().out

    assert shown("--row", 1).startswith("train row 1: row 1 of train_000000.bin\n  column     0  document ")
    assert "position 40, epoch" in shown("--position", 40)
    assert shown("--step", 2).startswith("step 2, one process: 16 rows with ")
    assert "rank 1 of 2: 8 rows with" in (one := shown("--step", 2, "--world_size", 2, "--rank", 1))
    assert "positions 17 to 31\n" in one
    long = shown("--document", len(TEXTS) - 1)
    assert "(texts.jsonl, row 46, id id 46)" in long
    if folder.name == "keep":
        assert long.count("after a BOS of its own") >= 5
        assert "read in steps " in long
    else:
        assert "tokens are in no row: cropped" in long
    assert "one long text one long text" in shown("--document", len(TEXTS) - 1, "--text")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "asked for nothing"),
        (["--row", "1", "--step", "2"], "asked for --row and --step"),
        (["--row", "100000"], "there is no train row 100000"),
        (["--row", "-1"], "--row is -1"),
        (["--row", "100000", "--split", "val"], "there is no val row 100000"),
        (["--position", "-1"], "--position is -1"),
        (["--position", str(1 << 41)], "less than 2**40"),
        (["--step", "0"], "--step is 0; it must be at least 1"),
        (["--step", str(1 << 60)], "less than 2**40"),
        (["--step", "1", "--world_size", "3", "--total_batch_tokens", "256"], "nearest that is: 240 or 288"),
        (["--step", "1", "--rank", "2", "--world_size", "2"], "--rank is 2; with --world_size 2 it is 0 to 1"),
        (["--step", "1", "--split", "val"], "training steps read train rows alone"),
        (["--row", "1", "--rank", "0"], "--rank chooses rows of a --step"),
        (["--document", "47"], "there is no document 47;"),
        (["--document", "-1"], "--document is -1"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_message(folder, capsys, arguments, message):
    assert main(["trace", str(folder), *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_a_data_set_without_provenance_is_refused(source, tmp_path, capsys):
    options = {"seq_len": 16, "val_fraction": 0.0, "no_provenance": True, "workers": 0}
    prepare(PrepareOptions(data_files=(str(source),), out_dir=tmp_path / "bare", **options))
    assert main(["trace", str(tmp_path / "bare"), "--row", "0"]) == 2
    assert "was prepared with --no_provenance" in capsys.readouterr().err


WITHOUT_EXTRAS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors", "matplotlib", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from bosrow.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("folder", ["keep"], indirect=True)
def test_the_core_alone_traces_inspects_and_compares_policies(folder, tmp_path):
    def core(*arguments):
        command = [sys.executable, "-c", WITHOUT_EXTRAS, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert "bosrow[train]" in core("train", "--data_dir", folder).stderr  # the extra is absent indeed
    for arguments in (
        ("trace", folder, "--step", 3, "--total_batch_tokens", 256, "--text"),
        ("inspect", folder, "--html", tmp_path / "page.html"),
        ("policies", "--from", folder, "--seq_len", 16),
    ):
        done = core(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert Path(tmp_path / "page.html").stat().st_size > 10_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Three rows of five tokens."""
    path = tmp_path_factory.mktemp("tiny")
    (path / "t.jsonl").write_text('{"text": "one two three four"}\n{"text": "five six seven eight nine ten old"}\n')
    options = {"seq_len": 4, "policy": "stream", "val_fraction": 0.0, "workers": 0}
    prepare(PrepareOptions(data_files=(str(path / "t.jsonl"),), out_dir=path / "made", **options))
    return path / "made"


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
@pytest.mark.parametrize("rows_per_step", [1, 2, 3, 5, 6, 7, 20])
def test_times_and_steps_are_those_of_walking_through_the_training(tiny, capsys, rows_per_step, steps):
    capsys.readouterr()
    asked = ["--document", 1, "--total_batch_tokens", 4 * rows_per_step, "--max_train_steps", steps, "--json"]
    assert main(["trace", str(tiny), *map(str, asked)]) == 0
    order = RowOrder(rows=len(open_rows(tiny)), seed=42)
    read = order.rows_at(range(rows_per_step * steps)).tolist()
    for piece in json.loads(capsys.readouterr().out)["pieces"]:
        places = [place for place, row in enumerate(read) if row == piece["row"]]
        assert piece["times_read"] == len(places)
        assert piece["steps"] == sorted({place // rows_per_step + 1 for place in places})


@pytest.mark.parametrize("tokens", [4, 12, 20, 1 << 40])
def test_of_a_tiny_set_in_a_long_training_the_first_steps_are_told_and_the_times_exactly(tiny, capsys, tokens):
    capsys.readouterr()
    steps = 1_000_000_000 if tokens < 100 else 1_000_000
    asked = ["--document", 1, "--total_batch_tokens", tokens, "--max_train_steps", steps, "--json"]
    assert main(["trace", str(tiny), *map(str, asked)]) == 0
    for piece in json.loads(capsys.readouterr().out)["pieces"]:
        assert 8 <= len(piece["steps"]) <= 100_000
        assert abs(piece["times_read"] - steps * tokens // 4 / 3) <= 1
