"""Ids above 65,535 and rows of more than 65,535 tokens: through every verb, against slow oracles."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import POLICIES, contents, documents, prepared, write_corpus
from edited import change_meta
from oracles import packing

tokenizers = pytest.importorskip("tokenizers")

from vocabularies import BOS, write_tokenizer, write_wide_tokenizer  # noqa: E402 - after the skip

from bosrow.cli import main  # noqa: E402
from bosrow.dataset.dataset_tokenizer import dataset_tokenizer  # noqa: E402
from bosrow.dataset.documents import read_documents  # noqa: E402
from bosrow.dataset.manifest import read_manifest  # noqa: E402
from bosrow.dataset.mixture import Mixture  # noqa: E402
from bosrow.dataset.provenance import Provenance  # noqa: E402
from bosrow.dataset.provenance_layout import piece_dtype  # noqa: E402
from bosrow.dataset.rows import open_rows  # noqa: E402
from bosrow.errors import DataSetError, OptionError  # noqa: E402
from bosrow.prepare.run import Run  # noqa: E402
from bosrow.tokenizers.gpt2 import load_tokenizer  # noqa: E402
from bosrow.train import make_dataloader  # noqa: E402

TEXTS = [*documents(120, seed=3), f"a {BOS} b"]
LONG_TEXTS = [" the" * (tokens - 1) for tokens in (150_000, 30_000, 100_000, 70_001, 65_536, 1, 65_537, 40_000, 7)]
WIDE_BOS = 70_000


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A corpus and a tokenizer of wide ids, as options of a preparation."""
    folder = tmp_path_factory.mktemp("wide")
    write_corpus(folder / "corpus", "jsonl", TEXTS)
    tokenizer = write_wide_tokenizer(folder / "tokenizer")
    return {"data_files": (str(folder / "corpus"),), "tokenizer": str(tokenizer), "val_fraction": 0.0}


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A corpus of long documents and a row length beyond 16 bits, as options of a preparation."""
    folder = tmp_path_factory.mktemp("long")
    write_corpus(folder / "corpus", "jsonl", LONG_TEXTS)
    return {"data_files": (str(folder / "corpus"),), "seq_len": 70_000, "shard_rows": 3, "val_fraction": 0.0}


@pytest.fixture(scope="module", params=POLICIES)
def policy(request):
    return request.param


@pytest.fixture(scope="module")
def made(policy, wide, tmp_path_factory):
    """A data set of wide ids for each policy."""
    folder = tmp_path_factory.mktemp("made") / policy
    prepared(folder, policy=policy, **wide)
    return folder


@pytest.fixture(scope="module")
def made_long(policy, long, tmp_path_factory):
    """A data set of long rows for each policy."""
    folder = tmp_path_factory.mktemp("made_long") / policy
    prepared(folder, policy=policy, **long)
    return folder


def wide_documents(tokenizer):
    """[BOS] + ids of every text, as the library has them."""
    library = tokenizers.Tokenizer.from_file(tokenizer)
    library.encode_special_tokens = True
    return [[WIDE_BOS, *library.encode(text).ids] for text in TEXTS]


def expected_rows(policy, tokens, row_tokens):
    """The rows that a slow oracle builds, lists of ids, but for the policy `keep`. The oracle of `crop-long-first`
    gives its rows of long documents last.
    """
    lengths = list(map(len, tokens))
    if policy == "crop-long-first":
        short, long, _ = packing.crop_long_first(lengths, row_tokens, 20)
        rows = short + long
    else:
        rows, _ = getattr(packing, policy)(lengths, row_tokens, *([20] if policy == "crop" else []))
    return [[id for piece in row for id in tokens[piece[0]][piece[1] : piece[1] + piece[2]]] for row in rows]


def interrupted(monkeypatch, folder, after, **options):
    """A preparation that dies after `after` documents, with a state of a document before."""
    with monkeypatch.context() as patch:
        take = Run._take

        def until(run, unit, batch):
            if run.documents == after:
                raise RuntimeError
            take(run, unit, batch)

        patch.setattr(Run, "_take", until)
        with pytest.raises(RuntimeError):
            prepared(folder, batch_docs=1, checkpoint_seconds=1e-9, **options)


def test_wide_ids_stand_in_rows_as_the_slow_oracle_has_them(made, policy, wide):
    rows, tokens = open_rows(made), wide_documents(wide["tokenizer"])
    meta = json.loads((made / "meta.json").read_bytes())
    assert (meta["dtype"], meta["vocab_size"], meta["bos_token_id"]) == ("uint32", WIDE_BOS + 1, WIDE_BOS)
    assert sum(path.stat().st_size for path in made.glob("*.bin")) == len(rows) * 33 * 4
    raw = np.concatenate([np.fromfile(path, "<u4") for path in sorted(made.glob("*.bin"))])
    assert rows[:].dtype == np.uint32
    assert np.array_equal(rows[:].ravel(), raw)
    assert raw.min() < 1 << 16 < raw.max()
    if policy == "keep":
        assert [found.tolist() for _, found in read_documents(Provenance(made))] == tokens
    else:
        assert sorted(rows[:].tolist()) == sorted(expected_rows(policy, tokens, 33))


def test_workers_and_a_stop_do_not_change_wide_ids(made, policy, wide, tmp_path, monkeypatch):
    assert prepared(tmp_path / "workers", policy=policy, workers=2, **wide) == contents(made)
    interrupted(monkeypatch, tmp_path / "stopped", 70, policy=policy, **wide)
    assert (tmp_path / "stopped" / "state.bin").exists()
    assert prepared(tmp_path / "stopped", policy=policy, **wide) == contents(made)


def test_wide_ids_are_verified_inspected_and_traced(made, capsys):
    for command in (["verify", made], ["verify", made, "--quick"], ["inspect", made, "--json"]):
        assert main([*map(str, command)]) == 0
    capsys.readouterr()
    assert main(["trace", str(made), "--row", "3", "--text", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    for piece in row["pieces"]:
        assert piece["text"].strip("\ufffd") in TEXTS[piece["document"]]  # but for a character cut in two


@pytest.mark.parametrize("store", ["keep", "stream"])
def test_wide_ids_are_packed_anew_as_from_the_text(store, policy, wide, tmp_path):
    by_hash = wide | {"val_fraction": 0.2}
    prepared(tmp_path / "store", policy=store, **by_hash)
    again = {"seq_len": 20, "policy": policy}
    expected = prepared(tmp_path / "text", **by_hash | again)
    assert any(name.startswith("val") for name in expected)
    for name, options in {"same split": {}, "by hash": {"val_fraction": 0.2}}.items():
        found = prepared(tmp_path / name, from_dir=tmp_path / "store", **again, **options)
        assert {name: data for name, data in found.items() if name != "meta.json"} == {
            name: data for name, data in expected.items() if name != "meta.json"
        }


def test_an_id_beyond_a_wide_vocabulary_is_found(wide, tmp_path, capsys):
    prepared(tmp_path / "out", policy="keep", **wide)
    with open(tmp_path / "out" / "train_000000.bin", "r+b") as file:
        file.seek(4 * 5)
        file.write((WIDE_BOS + 1).to_bytes(4, "little"))
    assert main(["verify", str(tmp_path / "out")]) == 1
    assert "row 0, column 5: id 70001 is not below the vocabulary's 70001" in capsys.readouterr().out


def test_a_manifest_of_another_width_than_its_tokenizer_is_refused(wide, tmp_path):
    prepared(tmp_path / "out", policy="keep", **wide)
    manifest = read_manifest(tmp_path / "out")
    with pytest.raises(DataSetError, match="holds uint16 ids, its tokenizer gives uint32"):
        dataset_tokenizer(tmp_path / "out", replace(manifest, vocab_size=50_000))
    change_meta(tmp_path / "out", lambda meta: meta.update(dtype="uint16"))
    with pytest.raises(DataSetError, match="dtype is uint16, a vocabulary of 70,001 takes uint32"):
        read_manifest(tmp_path / "out")


def test_wide_ids_are_trained_on_mixed_with_their_like_and_exported(wide, tmp_path, capsys):
    for name in ("one", "other"):
        prepared(tmp_path / name, policy="stream", **wide | {"val_fraction": 0.2})
    rows = open_rows(tmp_path / "one")
    x, y, meta = next(iter(make_dataloader(tmp_path / "one", "train", 4, 32, with_meta=True)))
    assert np.array_equal(x.numpy(), rows[meta.rows][:, :-1])
    assert np.array_equal(y.numpy(), rows[meta.rows][:, 1:])
    both = tuple(str(tmp_path / name) for name in ("one", "other"))
    assert Mixture(both, seq_len=32).rows[np.arange(len(rows))].tolist() == rows[:].tolist()
    shape = "--n_layer 1 --n_head 2 --n_embd 8 --micro_batch_size 2 --total_batch_tokens 64 --max_train_steps 2"
    rest = "--learning_rate 1e-3 --warmup_iters 1 --seq_len 32 --device cpu --sample_every 2 --hellaswag_every 0"
    assert main(["train", "--data_dir", *both, "--run_dir", str(tmp_path / "run"), *f"{shape} {rest}".split()]) == 0
    config = json.loads((tmp_path / "run" / "ckpt_final_step0000002" / "config.json").read_bytes())
    assert (config["vocab_size"], config["bos_token_id"]) == (WIDE_BOS + 1, WIDE_BOS)
    assert main(["export", str(tmp_path / "run"), "--out_dir", str(tmp_path / "model")]) == 0
    narrow = wide | {"tokenizer": str(write_tokenizer(tmp_path / "narrow"))}
    prepared(tmp_path / "narrow_rows", policy="stream", **narrow)
    with pytest.raises(OptionError, match=r"one tokenizer.*\n.*70001.*\n.*narrow_rows"):
        Mixture((both[0], str(tmp_path / "narrow_rows")), seq_len=32)


@pytest.mark.parametrize(("row_tokens", "bits"), [(65_535, 16), (65_536, 32), ((1 << 20) + 1, 32)])
def test_a_place_in_a_row_takes_32_bits_where_rows_are_longer_than_16_bits_count(row_tokens, bits):
    piece = piece_dtype(row_tokens)
    assert piece["column"] == piece["length"] == np.dtype(f"<u{bits // 8}")


def test_long_rows_are_those_of_the_slow_oracle(made_long, policy):
    ids = [[50256, *load_tokenizer().encode(text).tolist()] for text in LONG_TEXTS]
    rows = open_rows(made_long, seq_len=70_000)
    pieces = pq.read_table(made_long / "provenance" / "train_000000.parquet")
    assert {pieces.schema.field(name).type for name in ("column", "length")} == {"uint32"}
    assert max(pieces["length"].to_pylist()) > 1 << 16
    if policy == "keep":
        assert [found.tolist() for _, found in read_documents(Provenance(made_long))] == ids
    else:
        assert sorted(rows[:].tolist()) == sorted(expected_rows(policy, ids, 70_001))


def test_long_rows_go_on_after_a_stop_and_are_verified_and_packed_anew(
    made_long, policy, long, tmp_path, monkeypatch, capsys
):
    interrupted(monkeypatch, tmp_path / "stopped", 6, policy=policy, **long)
    assert prepared(tmp_path / "stopped", policy=policy, **long) == contents(made_long)
    assert main(["verify", str(made_long)]) == 0
    assert main(["inspect", str(made_long), "--json"]) == 0
    capsys.readouterr()
    assert main(["trace", str(made_long), "--row", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert sum(piece["length"] for piece in row["pieces"]) == 70_001
    if policy in ("keep", "stream"):
        again = {"seq_len": 66_000, "policy": "keep", "shard_rows": 2, "val_fraction": 0.0}
        prepared(tmp_path / "again", from_dir=made_long, **again)
        prepared(tmp_path / "text", **long | again)
        assert open_rows(tmp_path / "again")[:].tolist() == open_rows(tmp_path / "text")[:].tolist()
