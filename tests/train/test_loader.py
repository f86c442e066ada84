"""Batches for any trainer: the right tokens, resumable, the same for every number of ranks."""

import json

import numpy as np
import pytest
import torch
from synthetic import write_data_set

import bosrow
from bosrow.cli import main
from bosrow.data.sampler import RowOrder
from bosrow.data.tokenizer import END_OF_TEXT, load_tokenizer
from bosrow.errors import DataSetError, OptionError
from bosrow.train import make_dataloader


def take(loader, count):
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


def test_two_lines_give_int64_inputs_and_targets_one_token_ahead(data_dir):
    x, y = next(iter(make_dataloader(data_dir, "train", 4, 16)))
    rows = bosrow.open_rows(data_dir, "train")[RowOrder(rows=100, seed=42).rows_at(np.arange(4))].astype(np.int64)
    assert x.dtype == y.dtype == torch.int64
    assert x.shape == y.shape == (4, 16)
    assert x.is_contiguous()
    assert y.is_contiguous()
    assert np.array_equal(x.numpy(), rows[:, :-1])
    assert np.array_equal(y.numpy(), rows[:, 1:])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_started_later_goes_on_where_another_one_stopped(data_dir, num_workers):
    whole = take(make_dataloader(data_dir, "train", 8, 16, num_workers=num_workers), 20)
    rest = take(make_dataloader(data_dir, "train", 8, 16, start=13, num_workers=num_workers), 7)
    for (x, y), (again_x, again_y) in zip(whole[13:], rest, strict=True):
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_share_an_epoch_without_overlap_or_loss(data_dir, world_size):
    rows = []
    for rank in range(world_size):
        loader = make_dataloader(data_dir, "train", 7, 16, epochs=1, rank=rank, world_size=world_size, with_meta=True)
        for x, _, meta in loader:
            assert len(x) == len(meta.rows) <= 7
            rows += meta.rows.tolist()
    assert sorted(rows) == list(range(100))


def test_rank_and_world_size_come_from_torchrun(data_dir, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    *_, meta = next(iter(make_dataloader(data_dir, "train", 3, 16, with_meta=True)))
    assert meta.positions.tolist() == [1, 3, 5]


def test_meta_says_where_each_row_stands(data_dir):
    rows = bosrow.open_rows(data_dir, "train")
    for x, _, meta in take(make_dataloader(data_dir, "train", 6, 16, with_meta=True), 20):
        for tokens, row, place in zip(x, meta.rows.tolist(), meta.places, strict=True):
            assert np.array_equal(tokens.numpy(), rows[row][:-1])
            assert place == rows.locate(row)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_meta_tells_the_documents_in_each_row(tmp_path, num_workers):
    texts = [f"the document of number {number}" + " and more" * (number % 7) for number in range(200)]
    source = tmp_path / "source.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    flags = f"--data_files {source} --seq_len 16 --policy crop --val_fraction 0 --out_dir {tmp_path / 'data'}"
    assert main(["prepare", *flags.split()]) == 0
    tokenizer = load_tokenizer()
    loader = make_dataloader(tmp_path / "data", "train", 8, 16, epochs=1, with_meta=True, num_workers=num_workers)
    for x, y, meta in loader:
        for row, documents in zip(torch.cat([x, y[:, -1:]], dim=1).tolist(), meta.documents(), strict=True):
            expected = [token for number in documents for token in [END_OF_TEXT, *tokenizer.encode(texts[number])]]
            assert row == expected[:17]


def test_another_seq_len_is_refused(data_dir):
    with pytest.raises(OptionError, match=r"seq_len 8 was asked for.*seq_len 16"):
        make_dataloader(data_dir, "train", 4, 8)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_data_set_that_vanishes_is_a_clear_error(tmp_path, num_workers):
    data_dir = write_data_set(tmp_path / "data")
    batches = iter(make_dataloader(data_dir, "train", 4, 16, num_workers=num_workers))
    next(batches)
    for shard in data_dir.glob("*.bin"):
        shard.unlink()
    with pytest.raises(DataSetError, match=r"train_00000\d\.bin cannot be read any more"):
        take(batches, 20)
