"""A training run evaluates itself, writes what came of it, and goes on without a benchmark that is not there."""

import io
import json
import signal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import EWOK, HELLASWAG, items_file
from running import run_ranks

import bosrow.evals.training_benchmarks
from bosrow.cli import main

SHAPE = "--seq_len 32 --n_embd 8 --n_head 2 --n_layer 1 --total_batch_tokens 64 --micro_batch_size 2 --device cpu"


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    texts = [f"Document {number}: " + "a word and more " * (number % 20) for number in range(120)]
    source = items_file(place / "documents.jsonl", [{"text": text} for text in texts])
    command = f"prepare --data_files {source} --out_dir {place / 'stream'} --policy stream --seq_len 32 --workers 0"
    assert main([*command.split(), "--val_fraction", "0.1"]) == 0
    items_file(place / "hellaswag.jsonl", HELLASWAG)
    items_file(place / "ewok.jsonl", EWOK)
    return place


def train(data, run, flags):
    command = f"train --data_dir {data / 'stream'} --run_dir {run} {SHAPE} --max_train_steps 5 --save_every 0 {flags}"
    return main(command.split())


@pytest.mark.usefixtures("rendered")
def test_a_run_records_its_benchmarks(data, tmp_path, capsys):
    run = tmp_path / "run"
    flags = (
        f"--hellaswag_data {data / 'hellaswag.jsonl'} --hellaswag_every 2 --ewok_data {data / 'ewok.jsonl'} "
        f"--ewok_every 2 --skip_final_ewok --heldout {data / 'stream'} --heldout_every 5 --eval_every 0"
    )
    assert train(data, run, flags) == 0
    scalars = lines_of(run / "scalars.jsonl")
    steps = {kind: [line["step"] for line in scalars if line["type"] == kind] for kind in ("hellaswag", "ewok")}
    assert steps == {"hellaswag": [2, 4, 5], "ewok": [2, 4]}
    hellaswag = next(line for line in scalars if line["type"] == "hellaswag")
    assert (hellaswag["num_examples"], hellaswag["rule"], hellaswag["bos"]) == (7, "reference", False)
    assert {"accuracy", "accuracy_norm", "batch_size", "max_seq_len", "dataset", "dataset_config", "split"} <= set(
        hellaswag
    )
    ewok = next(line for line in scalars if line["type"] == "ewok")
    assert ewok["bos"] is True
    assert set(ewok["sum"]["groups"]["domain"]) == {"physical", "social"}
    (held_out,) = (line for line in scalars if line["type"] == "bits_per_byte")
    assert held_out["step"] == 5
    assert held_out["bits_per_byte"] > 0
    assert {"documents", "bytes"} <= set(held_out)
    assert [line["step"] for line in lines_of(run / "hellaswag_metrics.jsonl")] == [2, 4, 5]
    items = lines_of(run / "ewok_items.jsonl")
    assert [(line["step"], line["item"]) for line in items] == [(step, item) for step in (2, 4) for item in range(6)]
    metrics = json.loads((run / "step_metrics.json").read_text())
    assert [entry["step"] for entry in metrics] == [2, 4, 5]
    assert metrics[0]["hellaswag"]["accuracy"] == hellaswag["accuracy"]
    assert metrics[2]["bits_per_byte"] == held_out["bits_per_byte"]
    for name in ("hellaswag.png", "ewok.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG")
    assert "HellaSwag: accuracy" in capsys.readouterr().out


def test_a_rank_without_anything_to_score_waits_for_the_other_and_both_go_on(data, tmp_path):
    """One batch for two ranks, beside held-out documents and EWoK: every rank still meets every sum, in order."""
    items_file(tmp_path / "one.jsonl", HELLASWAG[:1])
    flags = (
        f"--hellaswag_data {tmp_path / 'one.jsonl'} --hellaswag_every 1 --ewok_data {data / 'ewok.jsonl'} "
        f"--ewok_every 2 --heldout {data / 'stream'} --heldout_every 2 --eval_every 2 --timeout_seconds 100"
    )
    assert train(data, tmp_path / "alone", flags) == 0
    shape = f"--data_dir {data / 'stream'} --run_dir {tmp_path / 'two'} {SHAPE} --max_train_steps 5 --save_every 0"
    command = ["-m", "bosrow", "train", *shape.split(), *flags.split(), "--micro_batch_size", "1"]
    run_ranks(command, 2)
    kinds = ("hellaswag", "ewok", "bits_per_byte", "val_loss")
    alone, two = (
        [line for line in lines_of(tmp_path / name / "scalars.jsonl") if line["type"] in kinds]
        for name in ("alone", "two")
    )
    assert [(line["type"], line["step"]) for line in two] == [(line["type"], line["step"]) for line in alone]
    for one, other in zip(alone, two, strict=True):
        figure = {"bits_per_byte": "bits_per_byte", "val_loss": "val_loss"}.get(one["type"])
        if figure:
            assert other[figure] == pytest.approx(one[figure], abs=1e-5)


def test_without_a_benchmark_at_hand_training_says_so_and_goes_on(data, tmp_path, capsys, hub):
    assert train(data, tmp_path / "run", "--eval_every 0 --hellaswag_dataset someone/absent") == 0
    printed = capsys.readouterr()
    (line,) = (line for line in printed.out.splitlines() if "hellaswag" in line)
    assert line.startswith("no hellaswag in this run: someone/absent cannot be had")
    assert "Retrying" not in printed.out + printed.err
    assert "--hellaswag_data" in printed.out + printed.err
    assert lines_of(tmp_path / "run" / "scalars.jsonl")[-1]["step"] == 5


def test_of_two_ranks_one_asks_the_hub_and_both_score_what_it_answers(data, tmp_path, hub):
    sink = io.BytesIO()
    official = {"activity_label": "Roof", "ctx_a": "A man walks.", "ctx_b": "he", "ctx": "A man walks. he"}
    official |= {"endings": ["runs.", "sits."], "label": "1"}
    pq.write_table(pa.Table.from_pylist([official] * 40), sink)
    hub.add("someone/shared", {"data/validation-00000-of-00001.parquet": sink.getvalue()})
    flags = "--hellaswag_dataset someone/shared --hellaswag_every 2 --eval_every 0"
    shape = f"--data_dir {data / 'stream'} --run_dir {tmp_path / 'two'} {SHAPE} --max_train_steps 5 --save_every 0"
    command = ["-m", "bosrow", "train", *shape.split(), *flags.split(), "--micro_batch_size", "1"]
    run_ranks(command, 2)
    files = [request for request in hub.requests if "parquet" in str(request) and "GET" in str(request)]
    assert 1 <= len(files) <= 2, hub.requests  # the file itself, and a redirect to where it lies
    assert train(data, tmp_path / "alone", flags) == 0
    scored = [
        [line["num_examples"] for line in lines_of(tmp_path / name / "scalars.jsonl") if line["type"] == "hellaswag"]
        for name in ("alone", "two")
    ]
    assert scored == [[40] * 3] * 2


KINDS = ("val_loss", "hellaswag", "ewok", "bits_per_byte")  # in the order in which they are evaluated


@pytest.mark.parametrize(
    "kinds", [("ewok",), pytest.param(KINDS[1:], marks=pytest.mark.soak)], ids=["in one of them", "in each of them"]
)
def test_a_stop_during_a_benchmark_records_nothing_of_it_and_a_resume_makes_up_for_all(
    data, tmp_path, monkeypatch, kinds
):
    flags = (
        f"--hellaswag_data {data / 'hellaswag.jsonl'} --hellaswag_every 2 --ewok_data {data / 'ewok.jsonl'} "
        f"--ewok_every 2 --heldout {data / 'stream'} --heldout_every 2 --eval_every 2"
    )
    assert train(data, tmp_path / "whole", flags) == 0
    for kind in kinds:
        run = tmp_path / kind
        with monkeypatch.context() as patch:
            stop_in(patch, kind)
            assert train(data, run, flags) == 75
        lines = lines_of(run / "scalars.jsonl")
        assert [line["type"] for line in lines] == ["scalars", "scalars", *KINDS[: KINDS.index(kind)]]
        assert train(data, run, flags) == 0
        found, expected = (
            [without_times(line) for line in lines_of(folder / "scalars.jsonl")] for folder in (run, tmp_path / "whole")
        )
        assert found == expected


def stop_in(patch, kind):
    """Let SIGTERM arrive in the first batch that `kind` scores."""
    in_training = bosrow.evals.training_benchmarks.TrainingBenchmarks
    original = getattr(in_training, f"_{kind}")

    def watched(self, *arguments):
        signal.raise_signal(signal.SIGTERM)
        return original(self, *arguments)

    patch.setattr(in_training, f"_{kind}", watched)


def without_times(line):
    return {name: line[name] for name in line if name not in ("timestamp", "tokens_per_second", "data_wait_seconds")}


def test_a_file_that_was_asked_for_and_is_not_there_stops_the_run(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--ewok_data nowhere.jsonl --hellaswag_every 0") == 2
    assert "nowhere.jsonl is not there" in capsys.readouterr().err


def test_an_interval_of_zero_turns_a_benchmark_off_at_the_end_too(data, tmp_path, capsys, hub):
    flags = f"--hellaswag_every 0 --ewok_data {data / 'ewok.jsonl'} --ewok_every 0 --eval_every 0"
    assert train(data, tmp_path / "run", flags) == 0
    assert not hub.requests
    assert {line["type"] for line in lines_of(tmp_path / "run" / "scalars.jsonl")} == {"scalars"}


def test_hellaswag_comes_from_the_hub_where_there_is_no_file(data, tmp_path, capsys, hub):
    official = {"activity_label": "Roof", "ctx_a": "A man walks.", "ctx_b": "he", "ctx": "A man walks. he"}
    official |= {"endings": ["runs.", "sits.", "jumps.", "sleeps."], "label": "3"}
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([official] * 5), sink)
    hub.add("Rowan/hellaswag", {"data/validation-00000-of-00001.parquet": sink.getvalue()})
    assert train(data, tmp_path / "run", "--hellaswag_max_examples 3 --eval_every 0") == 0
    (line,) = (line for line in lines_of(tmp_path / "run" / "scalars.jsonl") if line["type"] == "hellaswag")
    assert (line["num_examples"], line["dataset"], line["split"]) == (3, "Rowan/hellaswag", "validation")
