"""Batches for any trainer: the right tokens, resumable, the same for every number of ranks."""

import json
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from running import command, start, wait_for_step
from synthetic import write_data_set

import bosrow
from bosrow.cli import main
from bosrow.dataset.order import RowOrder
from bosrow.errors import DataSetError, OptionError
from bosrow.tokenizers.gpt2 import END_OF_TEXT, load_tokenizer
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


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("batch_size", [1, 7, 9, 24, 25, 33, 49, 99])
@pytest.mark.parametrize("epochs", [1, 3])
def test_every_rank_gets_the_same_number_of_batches_and_what_is_left_out_is_counted(
    data_dir, world_size, batch_size, epochs
):
    named = {"epochs": epochs, "world_size": world_size, "with_meta": True}
    loaders = [make_dataloader(data_dir, "train", batch_size, 16, rank=rank, **named) for rank in range(world_size)]
    batches = [list(loader) for loader in loaders]
    sizes = [[len(x) for x, _, _ in of_rank] for of_rank in batches]
    assert {len(of_rank) for of_rank in sizes} == {len(loaders[0])}
    assert all(max(together) - min(together) <= 1 for together in zip(*sizes, strict=True))
    assert all(0 < size <= batch_size for of_rank in sizes for size in of_rank)
    positions = sorted(place for of_rank in batches for *_, meta in of_rank for place in meta.positions.tolist())
    assert positions == list(range(epochs * 100 - loaders[0].rows_left_out))
    assert loaders[0].rows_left_out < world_size


def test_a_loader_without_epochs_has_no_length(data_dir):
    with pytest.raises(TypeError, match="endless"):
        len(make_dataloader(data_dir, "train", 4, 16))
    assert len(make_dataloader(data_dir, "train", 8, 16, epochs=1, start=13)) == 0


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"rank": 5, "world_size": 2}, "rank is 5 and world_size is 2"),
        ({"rank": -1, "world_size": 2}, "rank is -1 and world_size is 2"),
        ({"rank": 0, "world_size": 0}, "rank is 0 and world_size is 0"),
        ({"rank": 1}, "rank and world_size belong together"),
        ({"world_size": 0}, "rank and world_size belong together"),
        ({"start": -1}, "start is -1; a whole number from 0"),
        ({"start": 26, "epochs": 1}, "start is 26, but there are 25 batches"),
        ({"epochs": -1}, "epochs is -1; a whole number from 1"),
        ({"epochs": 0}, "epochs is 0; a whole number from 1"),
        ({"batch_size": 0}, "batch_size is 0; a whole number from 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5; a whole number from 1"),
        ({"batch_size": True}, "batch_size is True; a whole number from 1"),
        ({"batch_size": "4"}, "batch_size is '4'; a whole number from 1"),
        ({"seq_len": 16.0}, "seq_len is 16.0; a whole number from 1"),
        ({"seed": 1.5}, "seed is 1.5; a whole number"),
        ({"num_workers": -1}, "num_workers is -1; a whole number from 0"),
        ({"split": "validation"}, "no rows in split 'validation'; it has: train, val"),
        ({"data_dir": []}, "a folder was required"),
        ({"data_dir": 5}, "a folder was required"),
        ({"epochs": 1, "rank": 0, "world_size": 101}, "100 rows to give, fewer than the 101 ranks"),
    ],
)
def test_each_argument_that_cannot_be_used_is_refused_with_its_name(data_dir, argument, message):
    usual = {"data_dir": data_dir, "split": "train", "batch_size": 4, "seq_len": 16}
    with pytest.raises(OptionError, match=message):
        make_dataloader(**usual | argument)


ENDS = """
import sys, psutil
from bosrow.train import make_dataloader
batches = iter(make_dataloader(sys.argv[1], "train", 4, 16, num_workers=2))
for number in range(20):
    next(batches)
    if len(sys.argv) > 2 and number == 10:
        raise RuntimeError("in the loop of the user")
print("processes", len(psutil.Process().children(recursive=True)))
"""


@pytest.mark.parametrize("fails", [False, True])
def test_a_program_that_ends_while_batches_are_read_ends_and_leaves_nothing_behind(data_dir, fails):
    command = [sys.executable, "-c", ENDS, data_dir, *["fail"] * fails]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # waits for all that hold its output
    assert done.returncode == fails
    assert ("in the loop of the user" in done.stderr) if fails else (done.stdout == "processes 0\n"), done.stderr


@pytest.mark.parametrize(("number", "ranks"), [(signal.SIGKILL, 0), (signal.SIGTERM, 0), (signal.SIGKILL, 2)])
def test_a_run_with_workers_that_is_ended_leaves_no_process_behind(data_dir, tmp_path, number, ranks):
    flags = "--max_train_steps 100000 --num_workers 2 --eval_every 0 --save_every 0 --sample_every 0"
    process = start(command(data_dir, tmp_path / "run", flags, ranks=ranks))
    wait_for_step(tmp_path / "run", 3, process)
    ranks_started = psutil.Process(process.pid).children(recursive=True)
    assert len(ranks_started) == ranks
    if ranks and number == signal.SIGKILL:
        for rank in ranks_started:
            rank.kill()
        number = signal.SIGTERM  # to torchrun, which would start them again
    process.send_signal(number)
    output, _ = process.communicate(timeout=90)
    assert process.returncode != 0, output
    assert not any(rank.is_running() for rank in ranks_started)
