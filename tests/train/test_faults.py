"""Numbers that are not finite, ranks that die, data that changes: agreed on, told, survived."""

import json
import math
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from running import before_call, command, losses, run, run_ranks, scalars, start, train_here, wait_for_step
from synthetic import write_data_set

from bosrow.model.gpt2 import GPT2
from bosrow.train import load_model, loop

FAULTY = Path(__file__).parents[1] / "support" / "faulty_rank.py"


def test_a_loss_that_is_not_finite_on_one_rank_changes_no_weight_on_any(data_dir, tmp_path):
    flags = "--max_train_steps 9 --save_every 3 --eval_every 9"
    line = command(data_dir, tmp_path, flags, program=FAULTY)
    output = run_ranks(line, 2, os.environ | {"FAULT": "nan:1:4:2"})
    assert "warning: step 4: loss nan" in output
    assert "no weight was changed (2 of at most 10 such steps)" in output
    lines = scalars(tmp_path, "scalars")
    assert [line["step"] for line in lines if line["skipped"]] == [4, 5]
    assert [line["train_loss_opt_step_mean"] for line in lines[3:5]] == [None, None]
    assert lines[3]["param_norm_l2"] == lines[4]["param_norm_l2"] == lines[5]["param_norm_l2"]
    assert all(math.isfinite(line["train_loss_opt_step_mean"]) for line in lines[5:])
    assert lines[6]["param_norm_l2"] != lines[5]["param_norm_l2"]


def test_a_gradient_that_is_not_finite_under_a_finite_loss_changes_no_weight(data_dir, tmp_path, monkeypatch):
    forward = GPT2.forward

    def steep(self, *tokens):
        """The same loss, whose gradient is infinite."""
        loss = forward(self, *tokens)
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    def from_here():
        monkeypatch.setattr(GPT2, "forward", steep)

    flags = "--max_train_steps 4 --save_every 2 --eval_every 0"
    with before_call(monkeypatch, "loop.optimizer_step", 3, from_here):
        assert train_here(data_dir, tmp_path, flags) == 0
    lines = scalars(tmp_path)
    assert [line["skipped"] for line in lines] == [False, False, True, True]
    assert all(math.isfinite(line["train_loss_opt_step_mean"]) for line in lines)
    assert [line["grad_norm_l2_preclip"] for line in lines[2:]] == [None, None]
    before, after = (
        load_model(tmp_path / name)[0].state_dict() for name in ("ckpt_periodic_step0000002", "ckpt_final_step0000004")
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "ckpt_final_step0000004" / "state.json").read_text())["run"]["skipped_steps"] == 2


def test_too_many_such_steps_stop_the_run_and_never_reach_a_checkpoint(data_dir, tmp_path, monkeypatch, capsys):
    forward = GPT2.forward
    monkeypatch.setattr(GPT2, "forward", lambda self, *tokens: forward(self, *tokens) * float("inf"))
    assert (
        train_here(data_dir, tmp_path, "--max_train_steps 9 --save_every 1 --eval_every 0 --max_skipped_steps 2") == 1
    )
    assert re.search(
        r"step 3: loss inf.*; at most 2 steps .* are skipped \(--max_skipped_steps\)", capsys.readouterr().err
    )
    for folder in tmp_path.glob("ckpt_*"):
        weights = load_model(folder)[0].state_dict().values()
        assert all(bool(torch.isfinite(tensor).all()) for tensor in weights)
    assert (tmp_path / "ckpt_periodic_step0000002").exists()


def test_the_count_of_skipped_steps_survives_a_resume(data_dir, tmp_path, monkeypatch):
    flags = "--max_train_steps 6 --save_every 2 --eval_every 0"
    step = loop.optimizer_step

    def poisoned(model, optimizer, tokens, **named):
        if named["learning_rate"] == pytest.approx(2e-3):  # step 2
            with monkeypatch.context() as patch:
                forward = GPT2.forward
                patch.setattr(GPT2, "forward", lambda self, *tokens: forward(self, *tokens) * float("nan"))
                return step(model, optimizer, tokens, **named)
        return step(model, optimizer, tokens, **named)

    monkeypatch.setattr(loop, "optimizer_step", poisoned)
    train_here(data_dir, tmp_path / "whole", flags)
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "ckpt_final_step0000006")
    train_here(data_dir, tmp_path / "again", flags)
    assert [line["skipped"] for line in scalars(tmp_path / "again")] == [False, True, False, False, False, False]
    assert losses(tmp_path / "again")[2:] == losses(tmp_path / "whole")[2:]  # moments' bias correction counts updates


def test_a_killed_rank_ends_the_others_and_torchrun_goes_on_from_the_checkpoint(data_dir, tmp_path):
    flags = "--max_train_steps 12 --save_every 3 --eval_every 0 --exposure_every 1 --timeout_seconds 20"
    line = command(data_dir, tmp_path / "run", flags, ranks=2, program=FAULTY)
    output = run(line, os.environ | {"FAULT": f"die:1:8:{tmp_path / 'died'}"})
    assert (tmp_path / "died").exists()
    assert "going on from" in output
    assert "ckpt_periodic_step0000006" in output
    train_here(data_dir, tmp_path / "whole", flags)
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), abs=1e-4)


def prepared_anew(data_dir):
    """Shards of other rows in the place of the old ones."""
    for number, shard in enumerate(data_dir.glob("*.bin")):
        other = shard.with_suffix(".new")
        other.write_bytes(bytes([number]) * shard.stat().st_size)
        other.replace(shard)


@pytest.mark.parametrize("change", [shutil.rmtree, prepared_anew])
def test_a_data_set_deleted_or_changed_under_a_run_is_a_clear_error(tmp_path, change):
    data_dir = write_data_set(tmp_path / "data")
    process = start(command(data_dir, tmp_path / "run", "--max_train_steps 100000 --save_every 0 --eval_every 0"))
    wait_for_step(tmp_path / "run", 3, process)
    change(data_dir)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert re.search(r"bosrow train: .*\.bin (cannot be read any more .*)?was changed while in use", output)
    assert "Traceback" not in output
