"""`bosrow prepare` over every format, policy and number of workers: the same bytes, a ledger that balances."""

import pytest
from corpora import KINDS, POLICIES, bosrow, contents, documents, prepared, write_corpus

VAL = {"shards": {"val_shards": 1}, "fraction": {"val_fraction": 0.2}, "none": {"val_fraction": 0.0}}


def splits_of(policy: str) -> list[str]:
    return ["fraction", "none"] if policy in ("keep", "stream") else ["shards", "fraction", "none"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return documents(300)


@pytest.fixture(scope="module")
def corpus(texts, tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, "parquet", texts)
    return (str(folder / "*.parquet"),)


@pytest.mark.parametrize(("policy", "val"), [(policy, val) for policy in POLICIES for val in splits_of(policy)])
def test_the_number_of_workers_and_the_size_of_batches_never_change_a_byte(corpus, tmp_path, policy, val):
    settings = {"data_files": corpus, "policy": policy, "id_field": "id", **VAL[val]}
    alone = prepared(tmp_path / "alone", **settings)
    assert prepared(tmp_path / "two", workers=2, batch_docs=1, **settings) == alone
    assert prepared(tmp_path / "batches", batch_docs=7, **settings) == alone


@pytest.mark.parametrize("policy", POLICIES)
def test_checkpoints_between_all_batches_find_the_ledger_of_each_split_balanced(corpus, tmp_path, policy):
    settings = {"data_files": corpus, "policy": policy, "val_fraction": 0.2, "batch_docs": 7}
    often = prepared(tmp_path / "often", checkpoint_seconds=1e-9, **settings)
    assert often == prepared(tmp_path / "never", **settings)


def test_five_workers_give_the_bytes_of_one(corpus, tmp_path):
    settings = {"data_files": corpus, "val_fraction": 0.2}
    assert prepared(tmp_path / "five", workers=5, **settings) == prepared(tmp_path / "one", workers=1, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_rows_of_the_same_texts(texts, tmp_path, kind):
    texts = [text.replace("\n", " ") for text in texts]
    write_corpus(tmp_path / "parquet", "parquet", texts)
    flags = write_corpus(tmp_path / kind, kind, texts)
    expected = prepared(tmp_path / "expected", data_files=(str(tmp_path / "parquet" / "*"),), shard_rows=100)
    done = bosrow(
        "prepare",
        *flags,
        "--out_dir",
        tmp_path / "out",
        "--seq_len",
        32,
        "--buffer_docs",
        20,
        "--shard_rows",
        100,
        "--workers",
        2,
    )
    assert done.returncode == 0, done.stderr
    found = contents(tmp_path / "out")
    assert {name: data for name, data in found.items() if name.endswith(".bin")} == {
        name: data for name, data in expected.items() if name.endswith(".bin")
    }


@pytest.mark.parametrize("policy", ["keep", "stream"])
def test_val_shards_are_refused_where_no_document_may_be_lost(corpus, tmp_path, policy):
    command = ["prepare", "--data_files", *corpus, "--policy", policy, "--val_shards", "1", "--out_dir"]
    done = bosrow(*command, tmp_path / "out")
    assert done.returncode == 2
    assert f"--val_shards cannot be used with --policy {policy}" in done.stderr
    assert "use --val_fraction" in done.stderr
    assert not (tmp_path / "out").exists()
