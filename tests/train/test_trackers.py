"""TensorBoard and Weights & Biases see what scalars.jsonl sees."""

import os
import re
import shutil
import sys
import time

import pytest
from running import before_call, command, run, scalars, train_here

FLAGS = "--max_train_steps 6 --save_every 4 --eval_every 3 --exposure_every 0"


def test_tensorboard_shows_every_step_once_also_after_a_resume(data_dir, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_here(data_dir, tmp_path, f"{FLAGS} --tensorboard")
    shutil.rmtree(tmp_path / "ckpt_final_step0000006")
    assert train_here(data_dir, tmp_path, f"{FLAGS} --tensorboard") == 0
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for kind, name in (("scalars", "train_loss_opt_step_mean"), ("val_loss", "val_loss")):
        shown = [(event.step, event.value) for event in events.Scalars(f"{kind}/{name}")]
        assert shown == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in scalars(tmp_path, kind)]


def test_weights_and_biases_gets_a_run_that_a_resume_goes_on_with(data_dir, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):
        shutil.rmtree(tmp_path / "ckpt_final_step0000006", ignore_errors=True)
        assert train_here(data_dir, tmp_path, f"{FLAGS} --wandb packing") == 0
    files = list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len({file.name for file in files}) == 1  # the same run id
    for file in files:
        while file.stat().st_size < 1000:  # its own process may still be writing
            time.sleep(0.05)
        for name in (b"packing", b"scalars/train_loss_opt_step_mean", b"val_loss/val_loss", b"total_batch_tokens"):
            assert name in file.read_bytes()


def test_weights_and_biases_without_a_key_is_told_in_a_line_and_the_run_goes_on(data_dir, tmp_path):
    pytest.importorskip("wandb")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home = {"HOME": str(tmp_path / "home"), "NETRC": str(tmp_path / "netrc")}
    output = run(command(data_dir, tmp_path / "run", f"{FLAGS} --wandb packing"), kept | home)
    assert re.search(r"^warning: no wandb from here on: .*API key.*; scalars.jsonl has every number$", output, re.M)
    assert "Traceback" not in output
    assert len(scalars(tmp_path / "run", "scalars")) == 6


def test_a_tracker_that_fails_later_is_told_once_and_the_run_goes_on(data_dir, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorboard")

    def closed():
        raise OSError("no space left\non device")

    with before_call(monkeypatch, "trackers.numbers", 3, closed):
        assert train_here(data_dir, tmp_path, f"{FLAGS} --tensorboard") == 0
    told = "warning: no tensorboard from here on: no space left on device; scalars.jsonl has every number"
    assert capsys.readouterr().out.count(told) == 1
    assert len(scalars(tmp_path, "scalars")) == 6


@pytest.mark.parametrize(("package", "flag"), [("tensorboard", "--tensorboard"), ("wandb", "--wandb packing")])
def test_a_package_that_is_not_installed_is_named_before_anything_is_made(
    data_dir, tmp_path, monkeypatch, capsys, package, flag
):
    monkeypatch.setitem(sys.modules, package, None)
    assert train_here(data_dir, tmp_path / "run", f"{FLAGS} {flag}") == 2
    assert f"install it with: pip install 'bosrow[{package}]', or leave the flag out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
