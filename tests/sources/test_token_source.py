"""Token files of other trainers, and our own data sets, as sources: the same rows as from the text."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest

from bosrow.cli import main
from bosrow.dataset.documents import read_documents
from bosrow.dataset.provenance import Provenance
from bosrow.sources.token_files import LLMC_MAGIC, open_tokens
from bosrow.tokenizers.gpt2 import END_OF_TEXT, load_tokenizer

TEXTS = [f"Document {n} " + "of a few words " * (n * 7 % 41) for n in range(120)] + ["", "x", "long " * 900]
IDS = [load_tokenizer().encode(text) for text in TEXTS]


PYTHON = shlex.quote(sys.executable)


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "id": f"t{n}"}) + "\n" for n, text in enumerate(TEXTS)))
    return path


def prepare(*arguments):
    """Run `bosrow prepare` in this process; return its exit status."""
    return main(["prepare", "--workers", "0", *map(str, arguments)])


def shards(folder):
    """Names and bytes of a data set's shards."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))}


def fingerprint(folder):
    """The data set's fingerprint."""
    return json.loads((folder / "meta.json").read_text())["bosrow"]["fingerprint"]


def llmc(tokens, version=1, count=None):
    """The bytes of an llm.c shard."""
    header = np.zeros(256, "<i4")
    header[:3] = LLMC_MAGIC, version, len(tokens) if count is None else count
    return header.tobytes() + np.asarray(tokens, "<u2").tobytes()


BEFORE = np.concatenate([np.concatenate([[END_OF_TEXT], ids]) for ids in IDS])  # as llm.c writes documents
AFTER = np.concatenate([np.concatenate([ids, [END_OF_TEXT]]) for ids in IDS])  # as nanoGPT does


@pytest.mark.parametrize("policy", ["crop", "keep", "stream"])
def test_token_files_give_the_rows_of_the_text(tmp_path, jsonl, policy, monkeypatch):
    monkeypatch.setattr("bosrow.sources.token_files.UNIT_TOKENS", 100)
    options = ["--seq_len", 64, "--policy", policy, "--val_fraction", 0.1]
    # The cut at 5,000 is inside a document, so one goes on in the next shard, as llm.c's do.
    (tmp_path / "a_000.bin").write_bytes(llmc(BEFORE[:5000]))
    (tmp_path / "a_001.bin").write_bytes(llmc(BEFORE[5000:]))
    (tmp_path / "flat.bin").write_bytes(AFTER.astype("<u2").tobytes())
    assert prepare("--data_files", jsonl, "--out_dir", tmp_path / "text", *options) == 0
    assert prepare("--data_files", tmp_path / "a_*.bin", "--out_dir", tmp_path / "llmc", *options) == 0
    assert prepare("--data_files", tmp_path / "flat.bin", "--out_dir", tmp_path / "flat", *options) == 0
    assert shards(tmp_path / "llmc") == shards(tmp_path / "text")
    assert shards(tmp_path / "flat") == shards(tmp_path / "text")
    assert fingerprint(tmp_path / "flat") == fingerprint(tmp_path / "text")


def test_more_token_files_than_may_be_open_are_read_as_one_stream(tmp_path):
    for number, part in enumerate(np.array_split(BEFORE, 100)):
        (tmp_path / f"part_{number:03d}.bin").write_bytes(part.astype("<u2").tobytes())
    (tmp_path / "whole.bin").write_bytes(BEFORE.astype("<u2").tobytes())
    flags = "--seq_len 16 --policy keep --val_fraction 0"
    assert prepare("--data_files", tmp_path / "whole.bin", "--out_dir", tmp_path / "whole", *flags.split()) == 0
    names = " ".join(str(tmp_path / f"part_{number:03d}.bin") for number in range(100))
    command = f"{PYTHON} -m bosrow prepare --workers 0 --data_files {names} --out_dir {tmp_path / 'parts'} {flags}"
    subprocess.run(["bash", "-c", f"ulimit -n 64; exec {command}"], check=True, stdout=subprocess.PIPE)
    assert shards(tmp_path / "parts") == shards(tmp_path / "whole")


def test_provenance_points_at_the_place_in_the_token_file(tmp_path):
    (tmp_path / "a.bin").write_bytes(llmc(BEFORE))
    assert (
        prepare("--data_files", tmp_path / "a.bin", "--out_dir", tmp_path / "out", "--seq_len", 64, "--policy", "keep")
        == 0
    )
    for info, tokens in read_documents(Provenance(tmp_path / "out")):
        assert BEFORE[info.source_row : info.source_row + info.tokens - 1].tolist() == tokens[1:].tolist()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (llmc(BEFORE, version=2), "header of version 2"),
        (llmc(BEFORE, count=7), "header of version 1 for 7 tokens"),
        (llmc(BEFORE)[:-1], "damaged or cut short"),
        (b"\1\2\3", "not a whole number of uint16"),
        (np.array([5, 60000, 50256], "<u2").tobytes(), "id 60000 at token 1 is not in GPT-2's vocabulary"),
        (b"", "not one full row"),
        (AFTER.astype("<i4").tobytes(), "is a file of 32-bit ids"),
        (BEFORE.astype("<u4").tobytes(), "is a file of 32-bit ids"),
        (AFTER.astype("<i8").tobytes(), "is a file of 64-bit ids"),
        (b"\x93NUMPY" + bytes(200), "is a .npy file of numpy"),
        (np.array([20240801, 7, 9], "<i4").tobytes() + bytes(1012), "llm.c with 32-bit ids"),
    ],
)
def test_a_wrong_token_file_is_refused(tmp_path, capsys, data, message):
    (tmp_path / "a.bin").write_bytes(data)
    assert prepare("--data_files", tmp_path / "a.bin", "--out_dir", tmp_path / "out", "--seq_len", 64) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "meta.json").exists()


@pytest.mark.parametrize("verb", ["prepare", "policies"])
def test_ids_of_gpt2_are_not_taken_for_those_of_another_tokenizer(tmp_path, capsys, verb):
    pytest.importorskip("tokenizers")
    from vocabularies import write_tokenizer

    (tmp_path / "a.bin").write_bytes(llmc(BEFORE))
    flags = ["--data_files", tmp_path / "a.bin", "--tokenizer", write_tokenizer(tmp_path / "own")]
    out = ["--out_dir", tmp_path / "out"] if verb == "prepare" else []
    assert main([verb, *map(str, [*flags, *out])]) == 2
    assert "a.bin is a token file, which holds ids of GPT-2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["a,b,c,d,e,f,g," * 9, "! ! ! ! ! ! ! !" * 9, "!!!!" * 99, "x"])
def test_a_sound_file_of_16_bit_ids_is_never_taken_for_a_wider_one(tmp_path, text):
    tokens = [*load_tokenizer().encode(text).tolist(), END_OF_TEXT]
    np.array(tokens, "<u2").tofile(tmp_path / "a.bin")
    assert open_tokens(str(tmp_path / "a.bin"), "a.bin").tolist() == tokens


@pytest.mark.parametrize("store", ["keep", "stream"])
@pytest.mark.parametrize("policy", ["crop", "crop-long-first", "keep", "stream"])
def test_packing_a_data_set_anew_gives_what_preparing_from_text_gives(tmp_path, jsonl, store, policy):
    def made(name, *arguments):
        assert prepare("--out_dir", tmp_path / name, *arguments) == 0
        return tmp_path / name

    text = ["--data_files", jsonl, "--id_field", "id", "--val_fraction", 0.1]
    stored = made("store", *text, "--seq_len", 100, "--policy", store)
    again = ["--seq_len", 64, "--policy", policy, "--shard_rows", 20]
    expected = made("text", *text, *again)
    for name, arguments in {"same split": [], "by hash": ["--val_fraction", 0.1]}.items():
        found = made(name, "--from", stored, *again, *arguments)
        assert shards(found) == shards(expected)
        assert fingerprint(found) == fingerprint(expected)
        for file in (expected / "provenance").iterdir():
            assert (found / "provenance" / file.name).read_bytes() == file.read_bytes()


def test_another_split_from_a_store_is_that_from_text(tmp_path, jsonl):
    text = ["--data_files", jsonl, "--seq_len", 64]
    assert prepare(*text, "--policy", "keep", "--val_fraction", 0.1, "--out_dir", tmp_path / "store") == 0
    options = ["--val_shards", 2, "--shard_rows", 7]
    assert prepare(*text, *options, "--out_dir", tmp_path / "text") == 0
    assert prepare("--from", tmp_path / "store", "--seq_len", 64, *options, "--out_dir", tmp_path / "again") == 0
    assert shards(tmp_path / "again") == shards(tmp_path / "text")


@pytest.mark.parametrize("policy", ["crop", "keep"])
@pytest.mark.parametrize("val_of_store", [0, 0.1])
def test_a_store_without_a_val_split_is_packed_anew_like_any_other(tmp_path, jsonl, policy, val_of_store):
    text = ["--data_files", jsonl, "--buffer_docs", 30]
    store = ["--seq_len", 100, "--policy", "keep", "--val_fraction", val_of_store]
    assert prepare(*text, *store, "--out_dir", tmp_path / "store") == 0
    for fraction in (0, 0.3):
        options = ["--seq_len", 40, "--policy", policy, "--val_fraction", fraction, "--buffer_docs", 5]
        expected, found = tmp_path / f"text {fraction}", tmp_path / f"again {fraction}"
        assert prepare(*text, *options, "--out_dir", expected) == 0
        assert prepare("--from", tmp_path / "store", *options, "--out_dir", found) == 0
        assert shards(found) == shards(expected)
        assert fingerprint(found) == fingerprint(expected)


def test_a_store_packed_anew_can_be_packed_anew(tmp_path, jsonl):
    """keep -> stream -> keep, each from the one before; the last has the bytes of the first."""
    first = ["--policy", "keep", "--seq_len", 64, "--val_fraction", 0.1]
    assert prepare("--data_files", jsonl, *first, "--out_dir", tmp_path / "a") == 0
    again = ["--policy", "stream", "--seq_len", 31]
    assert prepare("--from", tmp_path / "a", *again, "--out_dir", tmp_path / "b") == 0
    assert prepare("--from", tmp_path / "b", *first[:4], "--out_dir", tmp_path / "c") == 0
    assert shards(tmp_path / "c") == shards(tmp_path / "a")
    for file in (tmp_path / "a" / "provenance").iterdir():
        assert (tmp_path / "c" / "provenance" / file.name).read_bytes() == file.read_bytes()


def test_a_crop_data_set_that_lost_nothing_is_a_store_too(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": "a b c"}) + "\n" for _ in range(40)))  # rows of 4
    text = ["--data_files", tmp_path / "a.jsonl", "--seq_len", 3]
    assert prepare(*text, "--val_shards", 1, "--shard_rows", 10, "--out_dir", tmp_path / "crop") == 0
    assert prepare("--from", tmp_path / "crop", "--policy", "keep", "--seq_len", 7, "--out_dir", tmp_path / "keep") == 0
    meta = json.loads((tmp_path / "keep" / "meta.json").read_text())
    assert {split: ledger["rows"] for split, ledger in meta["bosrow"]["ledger"].items()} == {"train": 15, "val": 5}


def test_a_lossy_data_set_is_refused_with_the_share_lost_unless_allowed(tmp_path, jsonl, capsys):
    prepare("--data_files", jsonl, "--seq_len", 64, "--val_fraction", 0.1, "--out_dir", tmp_path / "crop")
    assert (
        prepare("--from", tmp_path / "crop", "--policy", "stream", "--seq_len", 64, "--out_dir", tmp_path / "out") == 2
    )
    ledgers = json.loads((tmp_path / "crop" / "meta.json").read_text())["bosrow"]["ledger"].values()
    placed, read = sum(x["tokens_placed"] for x in ledgers), sum(x["tokens_read"] for x in ledgers)
    assert f"{1 - placed / read:.1%} of their tokens were lost" in capsys.readouterr().err
    arguments = ["--policy", "stream", "--seq_len", 64, "--allow_lossy", "--out_dir", tmp_path / "out"]
    assert prepare("--from", tmp_path / "crop", *arguments) == 0
    # Exactly the tokens that a row held, by document (here: its line in the file) and offset.
    held = {(p.document, p.offset + n) for p in _pieces(tmp_path / "crop") for n in range(p.length)}
    infos = [info for info, _ in read_documents(Provenance(tmp_path / "out"))]
    assert {(info.source_row, n) for info in infos for n in range(info.tokens)} == held


def _pieces(folder):
    provenance = Provenance(folder)
    for split in ("train", "val"):
        for row in range(provenance.manifest.rows_of(split)):
            for placed in provenance.pieces.of_row(split, row):
                yield placed.piece


def test_provenance_is_required_and_must_fit(tmp_path, jsonl, capsys):
    options = ["--seq_len", 64, "--policy", "keep", "--val_fraction", 0.1]
    prepare("--data_files", jsonl, *options, "--no_provenance", "--out_dir", tmp_path / "bare")
    assert prepare("--from", tmp_path / "bare", "--out_dir", tmp_path / "out") == 2
    assert "--no_provenance" in capsys.readouterr().err
    prepare("--data_files", jsonl, *options, "--out_dir", tmp_path / "store")
    (tmp_path / "store" / "provenance" / "train_000000.parquet").write_bytes(b"PAR1")
    assert prepare("--from", tmp_path / "store", "--out_dir", tmp_path / "out") == 2
    assert "train_000000.parquet" in capsys.readouterr().err
