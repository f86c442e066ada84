"""Stopped, killed, damaged, on other numbers of ranks: the run goes on as if nothing had happened."""

import itertools
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from running import (
    assert_same_run,
    before_call,
    checkpoint_names,
    command,
    die,
    losses,
    metrics,
    read_lines,
    rows_by_step,
    run,
    run_ranks,
    scalars,
    start,
    start_ranks,
    stop,
    train_here,
    wait_for_step,
)
from synthetic import write_data_set

from bosrow.dataset.order import RowOrder
from bosrow.model.gpt2 import Transformer as GPT2Transformer
from bosrow.train import loop

SUPPORT = Path(__file__).parents[1] / "support"
FAULTY = SUPPORT / "faulty_rank.py"


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """The folder of an undisturbed run with these flags, which all who ask for the same ones share."""
    folders = {}

    def of(flags):
        if flags not in folders:
            folders[flags] = tmp_path_factory.mktemp("whole") / "run"
            assert train_here(data_dir, folders[flags], flags) == 0
        return folders[flags]

    return of


@pytest.mark.parametrize(("kills", "steps"), [(5, 20), pytest.param(50, 70, marks=pytest.mark.soak)])
def test_killed_at_many_file_operations_a_run_is_bit_for_bit_the_undisturbed_one(data_dir, tmp_path, kills, steps):
    flags = f"--max_train_steps {steps} --save_every 1 --eval_every 20 --exposure_every 1 --keep_checkpoints 2"
    train_here(data_dir, tmp_path / "whole", flags)
    program = [
        str(SUPPORT / "kill_points.py"),
        str(data_dir),
        str(tmp_path / "killed"),
        str(kills),
        *flags.split(),
    ]
    environment = os.environ | {"PYTHONPATH": str(SUPPORT)}
    output = run(program, environment)
    places = re.findall(r"^killed at (\S+) \S*?/killed/?(\S*)$", output, re.MULTILINE)
    assert len(places) == kills
    assert sum(".unfinished_" in path for _, path in places) >= kills / 5, "few kills fell inside a save"
    assert_same_run(tmp_path / "whole", tmp_path / "killed", f"ckpt_final_step{steps:07d}")
    assert not list((tmp_path / "killed").glob(".*_ckpt_*"))


def test_sigterm_saves_and_leaves_with_75_and_the_same_command_goes_on(data_dir, tmp_path, capsys):
    flags = "--max_train_steps 20 --save_every 0 --eval_every 10 --exposure_every 1"
    stopped = command(data_dir, tmp_path / "stopped", flags, program=FAULTY)
    process = start(stopped, os.environ | {"FAULT": "slow:0:6"})
    wait_for_step(tmp_path / "stopped", 5, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert re.search(r"stopped after step \d+; the same command goes on from there$", output)
    assert "Traceback" not in output
    assert train_here(data_dir, tmp_path / "stopped", flags) == 0
    assert "going on from" in capsys.readouterr().out
    train_here(data_dir, tmp_path / "whole", flags)
    assert scalars(tmp_path / "whole") == scalars(tmp_path / "stopped")
    assert rows_by_step(tmp_path / "whole") == rows_by_step(tmp_path / "stopped")


def test_sigterm_to_torchrun_saves_once_for_all_ranks_and_the_same_command_goes_on_bit_for_bit(
    data_dir, two_ranks, tmp_path
):
    stopped = command(data_dir, tmp_path / "stopped", two_ranks.flags, ranks=2, program=FAULTY)
    process = start(stopped, os.environ | {"FAULT": "slow:0:6"})
    wait_for_step(tmp_path / "stopped", 5, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    (checkpoint,) = (tmp_path / "stopped").glob("ckpt_*")
    step = int(checkpoint.name.removeprefix("ckpt_periodic_step"))
    for rank in (0, 1):
        exposures = read_lines(tmp_path / "stopped" / "exposures" / f"exposures_rank{rank:04d}.jsonl")
        assert [line["step"] for line in exposures] == list(range(1, step + 1)), output
    assert step < 20
    assert "going on from" in run_ranks(command(data_dir, tmp_path / "stopped", two_ranks.flags), 2)
    assert scalars(two_ranks.run_dir) == scalars(tmp_path / "stopped")
    assert rows_by_step(two_ranks.run_dir) == rows_by_step(tmp_path / "stopped")


@pytest.mark.parametrize(
    ("stops_before", "stopping_call", "stop_at", "dies_before", "call"),
    [
        ("evaluations.validation_loss", 1, 4, "loop.optimizer_step", 2),
        ("evaluations.validation_loss", 2, 8, "checkpoint.save_checkpoint", 1),
        ("loop.optimizer_step", 4, 3, "loop.optimizer_step", 2),
        ("evaluations.validation_loss", 1, 4, "checkpoint.save_checkpoint", 1),
    ],
)
def test_evaluations_that_a_stop_left_out_are_made_up_for_once_even_if_the_run_then_dies(
    data_dir, whole, tmp_path, monkeypatch, capsys, stops_before, stopping_call, stop_at, dies_before, call
):
    flags = "--max_train_steps 8 --save_every 4 --eval_every 4"
    with before_call(monkeypatch, stops_before, stopping_call, stop):
        assert train_here(data_dir, tmp_path / "stopped", flags) == 75
    assert max(line["step"] for line in scalars(tmp_path / "stopped")) == stop_at
    with before_call(monkeypatch, dies_before, call, die), pytest.raises(RuntimeError, match="dies here"):
        train_here(data_dir, tmp_path / "stopped", flags)
    assert scalars(tmp_path / "stopped", "val_loss"), "it died before the evaluation"
    assert train_here(data_dir, tmp_path / "stopped", flags) == 0
    assert_same_run(whole(flags), tmp_path / "stopped", "ckpt_final_step0000008")
    capsys.readouterr()
    assert train_here(data_dir, tmp_path / "stopped", flags) == 0
    assert "is finished: step 8 of 8" in capsys.readouterr().out


def at_call(monkeypatch, number, action):
    """Let `action` happen before the model's forward pass of this number: one a micro batch, one a validation batch."""
    forward, calls = GPT2Transformer.states, itertools.count(1)

    def watched(self, *arguments):
        if next(calls) == number:
            action()
        return forward(self, *arguments)

    monkeypatch.setattr(GPT2Transformer, "states", watched)


@pytest.mark.parametrize(
    ("forward_pass", "left_off_at", "validated"),
    [
        (2, 0, []),  # in the second of four micro batches of step 1, before there is any checkpoint
        (4 + 3, 1, []),
        (2 * 4 + 3, 2, []),  # in the third of six batches of the validation after step 2
        (2 * 4 + 6 + 1, 2, [2]),  # in step 3
        (4 * 4 + 6 + 5, 4, [2]),
    ],
)
def test_a_signal_breaks_off_a_step_or_validation_and_the_run_goes_on_bit_for_bit(
    data_dir, whole, tmp_path, monkeypatch, forward_pass, left_off_at, validated
):
    flags = "--max_train_steps 6 --save_every 0 --eval_every 2 --exposure_every 1"
    undisturbed = whole(flags)
    with monkeypatch.context() as patch:
        at_call(patch, forward_pass, stop)
        assert train_here(data_dir, tmp_path / "stopped", flags) == 75
    assert checkpoint_names(tmp_path / "stopped") == [f"ckpt_periodic_step{left_off_at:07d}"]
    assert [line["step"] for line in scalars(tmp_path / "stopped", "val_loss")] == validated
    assert len(losses(tmp_path / "stopped")) == left_off_at
    assert train_here(data_dir, tmp_path / "stopped", flags) == 0
    assert scalars(tmp_path / "stopped") == scalars(undisturbed)
    assert metrics(tmp_path / "stopped") == metrics(undisturbed)
    assert rows_by_step(tmp_path / "stopped") == rows_by_step(undisturbed)


def test_stopped_again_and_again_before_a_step_is_through_a_run_keeps_its_checkpoint(data_dir, tmp_path, monkeypatch):
    flags = "--max_train_steps 4 --save_every 4 --eval_every 2"
    train_here(data_dir, tmp_path / "whole", flags)
    for forward_pass in (2 * 4 + 3, 2, 6 + 2, 2):  # in validation, again, in step 3 after it, in validation again
        with monkeypatch.context() as patch:
            at_call(patch, forward_pass, stop)
            assert train_here(data_dir, tmp_path / "stopped", flags) == 75
        assert checkpoint_names(tmp_path / "stopped") == ["ckpt_periodic_step0000002"]
    assert train_here(data_dir, tmp_path / "stopped", flags) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped", "ckpt_final_step0000004")


@pytest.mark.parametrize(
    "stops",
    [
        ((10 * 4 + 2, 10),),
        pytest.param(((2, 0), (10 * 4 + 2, 10)), marks=pytest.mark.soak),
    ],
)
def test_a_signal_to_one_rank_breaks_off_the_step_or_validation_of_all(data_dir, two_ranks, tmp_path, stops):
    """Each rank has four micro batches a step; a signal comes in the second of step 1, and of the validation."""
    for call, step in stops:
        line = command(data_dir, tmp_path, two_ranks.flags, program=FAULTY)
        for process in start_ranks(line, 2, os.environ | {"FAULT": f"stop:1:{call}"}):
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 75, output
            assert f"stopped after step {step}; the same command goes on from there" in output
        assert checkpoint_names(tmp_path)[-1] == f"ckpt_periodic_step{step:07d}"
    run_ranks(command(data_dir, tmp_path, two_ranks.flags), 2)
    assert scalars(tmp_path) == scalars(two_ranks.run_dir)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_the_other_signals_that_end_a_job_save_too(data_dir, tmp_path, monkeypatch, number):
    before = signal.signal(number, signal.default_int_handler)  # pytest may have been started with it ignored
    try:
        with before_call(monkeypatch, "loop.optimizer_step", 3, lambda: signal.raise_signal(number)):
            assert train_here(data_dir, tmp_path, "--max_train_steps 6 --save_every 0 --eval_every 0") == 75
    finally:
        signal.signal(number, before)
    assert checkpoint_names(tmp_path) == ["ckpt_periodic_step0000002"]


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(data_dir, tmp_path, monkeypatch):
    """As under nohup, which lets a run live on when its terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with before_call(monkeypatch, "loop.optimizer_step", 2, lambda: signal.raise_signal(signal.SIGHUP)):
            assert train_here(data_dir, tmp_path, "--max_train_steps 3 --save_every 0 --eval_every 0") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "config.json", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(data_dir, whole, tmp_path, capsys, file, damage):
    flags = "--max_train_steps 6 --save_every 2 --eval_every 0"
    shutil.copytree(whole(flags), tmp_path / "run")
    path = tmp_path / "run" / "ckpt_final_step0000006" / file
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "truncate" else content)
    if damage == "remove":
        path.unlink()
    capsys.readouterr()
    assert train_here(data_dir, tmp_path / "run", flags) == 0
    output = capsys.readouterr().out
    assert re.search(rf"warning: passing over a damaged checkpoint: .*{file}", output)
    assert f"going on from {tmp_path / 'run' / 'ckpt_periodic_step0000004'}" in output
    assert_same_run(whole(flags), tmp_path / "run", "ckpt_final_step0000006")


def test_other_data_and_other_options_are_refused_with_the_difference(data_dir, tmp_path, capsys):
    flags = "--max_train_steps 4 --save_every 2"
    train_here(data_dir, tmp_path / "run", flags)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    other_data = write_data_set(tmp_path / "other", train_rows=100, seq_len=16, seed=5)
    assert train_here(data_dir, tmp_path / "run", f"{flags} --learning_rate 0.5 --n_layer 1") == 2
    message = capsys.readouterr().err
    assert re.search(r"differ in \(that run -> this command\):$", message, re.MULTILINE)
    assert re.search(r"^  learning_rate +0\.003 +-> +0\.5$", message, re.MULTILINE)
    assert re.search(r"^  model\.n_layer +2 +-> +1$", message, re.MULTILINE)
    assert "seed" not in message
    assert train_here(other_data, tmp_path / "run", flags) == 2
    assert re.search(r"^  data +[0-9a-f]{64} +-> +[0-9a-f]{64}$", capsys.readouterr().err, re.MULTILINE)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_finished_run_says_so_and_changes_nothing(data_dir, tmp_path, capsys):
    flags = "--max_train_steps 4 --save_every 2 --eval_every 2"
    train_here(data_dir, tmp_path, flags)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert train_here(data_dir, tmp_path, flags) == 0
    assert "is finished: step 4 of 4" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_resume_off_never_touches_a_used_run_folder(data_dir, tmp_path, capsys):
    assert train_here(data_dir, tmp_path, "--max_train_steps 2 --resume off") == 0
    assert train_here(data_dir, tmp_path, "--max_train_steps 2 --resume off") == 2
    assert "holds a run already" in capsys.readouterr().err


def test_only_the_newest_checkpoints_are_kept(data_dir, tmp_path):
    train_here(data_dir, tmp_path, "--max_train_steps 10 --save_every 2 --keep_checkpoints 2")
    assert checkpoint_names(tmp_path) == ["ckpt_final_step0000010", "ckpt_periodic_step0000008"]


def test_a_second_process_is_kept_out_of_a_run_folder(data_dir, tmp_path):
    process = start(command(data_dir, tmp_path, "--max_train_steps 100000 --save_every 0 --eval_every 0"))
    wait_for_step(tmp_path, 1, process)
    second = start(command(data_dir, tmp_path, "--max_train_steps 100000 --save_every 0 --eval_every 0"))
    output, _ = second.communicate(timeout=60)
    process.kill()
    process.communicate()
    assert second.returncode == 1
    assert "is in use by process" in output


def test_nothing_draws_from_global_random_generators_while_training(data_dir, tmp_path, monkeypatch):
    """Why a checkpoint needs no state of random generators."""
    states = []
    step = loop.optimizer_step

    def watched(*arguments, **named):
        states.append((torch.get_rng_state(), np.random.get_state()[1].tolist()))
        return step(*arguments, **named)

    monkeypatch.setattr(loop, "optimizer_step", watched)
    train_here(data_dir, tmp_path, "--max_train_steps 5 --eval_every 2 --save_every 2 --sample_every 2")
    assert all(torch.equal(states[0][0], state) and states[0][1] == other for state, other in states)


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        (32, ((1, 8), (2, 18), (1, None))),  # ranks, and the step after which they are told to leave
        pytest.param(160, ((1, 40), (2, 80), (1, None)), marks=pytest.mark.soak),
        pytest.param(160, ((1, 30), (2, 70), (4, 110), (2, None)), marks=pytest.mark.soak),
    ],
)
def test_ranks_may_change_at_every_resume(data_dir, tmp_path, steps, changes):
    """The rows of each step stay the same, over twenty epochs of them (in the long forms a hundred), and the losses."""
    flags = f"--max_train_steps {steps} --total_batch_tokens 1024 --micro_batch_size 16"
    flags += " --save_every 0 --eval_every 0 --exposure_every 1"
    train_here(data_dir, tmp_path / "whole", flags)
    elastic = tmp_path / "elastic"
    for (ranks, until), (_, done) in zip(changes, ((0, 0), *changes), strict=False):
        if until is None and ranks == 1:
            assert train_here(data_dir, elastic, flags) == 0
            continue
        slow = {"FAULT": f"slow:0:{(until or steps) - done + 2}"}  # so that it does not end before it is told to
        processes = start_ranks(command(data_dir, elastic, flags, program=FAULTY), ranks, os.environ | slow)
        if until is not None:
            wait_for_step(elastic, until, processes[0])
            for process in processes:
                process.send_signal(signal.SIGTERM)
        output = "".join(process.communicate(timeout=120)[0] for process in processes)
        assert max(line["step"] for line in scalars(elastic)) >= (until or steps), output
    assert {line["world_size"] for line in scalars(elastic)} == {ranks for ranks, _ in changes}
    seen = rows_by_step(elastic)
    assert seen == rows_by_step(tmp_path / "whole")
    own = read_lines(elastic / "exposures" / "exposures_rank0000.jsonl")
    read = 16 * sum(len(batch["positions"]) for line in own for batch in line["micro_batches"])
    assert own[-1]["tokens_seen_local_total"] == read < own[-1]["tokens_seen_global_approx"]
    places = [place for step in range(1, steps + 1) for place in seen[step]]
    assert len(places) == steps * 64 > 20 * 100
    order, names = RowOrder(rows=100, seed=42), [f"train_{number:06d}.bin" for number in range(4)]
    rows = order.rows_at(np.arange(len(places))).tolist()
    assert places == [(position, names[row // 25], row % 25) for position, row in enumerate(rows)]
    assert losses(elastic) == pytest.approx(losses(tmp_path / "whole"), abs=1e-4)


@pytest.mark.parametrize("end", ['{"type": "scalars", "step": 9, "lr_be', "\0" * 50, "\0" * 50 + "\n"])
def test_torn_and_later_lines_are_cut_back_to_the_checkpoint_and_files_of_others_left_alone(
    data_dir, whole, tmp_path, end
):
    flags = "--max_train_steps 8 --save_every 4 --eval_every 2 --exposure_every 1"
    shutil.copytree(whole(flags), tmp_path / "torn")
    shutil.rmtree(tmp_path / "torn" / "ckpt_final_step0000008")
    with open(tmp_path / "torn" / "scalars.jsonl", "a") as file:
        file.write(end)
    notes = tmp_path / "torn" / "notes.jsonl"
    notes.write_text('{"text": "of mine"}\n{"step": 99}\nno JSON')
    stray = tmp_path / "torn" / "exposures" / "exposures_rank0003.jsonl"
    stray.write_text('{"step": 3, "micro_batches": []}\n{"step": 7, "micro_batches": []}\n')
    train_here(data_dir, tmp_path / "torn", flags)
    assert scalars(tmp_path / "torn") == scalars(whole(flags))
    assert [line["step"] for line in read_lines(stray)] == [3]
    assert [entry["step"] for entry in metrics(tmp_path / "torn")] == [2, 4, 6, 8]
    assert notes.read_text() == '{"text": "of mine"}\n{"step": 99}\nno JSON'
