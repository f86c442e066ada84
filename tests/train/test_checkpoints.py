"""Checkpoints that are damaged, missing, without room, or of a run that lost its folder."""

import hashlib
import json
import re
import resource
import shutil
from contextlib import contextmanager
from dataclasses import asdict

import pytest
from running import (
    assert_same_run,
    before_call,
    checkpoint_names,
    die,
    scalars,
    stop,
    train_here,
)

from bosrow.lock import Owner


def damage(checkpoint):
    (checkpoint / "model.safetensors").write_bytes(b"damaged")


def test_damaged_checkpoints_are_set_aside_and_what_is_saved_after_them_is_kept(
    data_dir, tmp_path, monkeypatch, capsys
):
    flags = "--max_train_steps 8 --save_every 2 --eval_every 4"
    train_here(data_dir, tmp_path / "whole", flags)
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    for name in ("ckpt_periodic_step0000006", "ckpt_final_step0000008"):
        damage(tmp_path / "run" / name)
    flags += " --keep_checkpoints 1"
    with before_call(monkeypatch, "loop.optimizer_step", 4, die), pytest.raises(RuntimeError, match="dies here"):
        train_here(data_dir, tmp_path / "run", flags)  # steps 5, 6, 7
    aside = ["damaged_ckpt_final_step0000008", "damaged_ckpt_periodic_step0000006"]
    assert checkpoint_names(tmp_path / "run") == ["ckpt_periodic_step0000006", *aside]
    capsys.readouterr()
    assert train_here(data_dir, tmp_path / "run", flags) == 0
    output = capsys.readouterr().out
    assert f"going on from {tmp_path / 'run' / 'ckpt_periodic_step0000006'}" in output
    assert "damaged checkpoint" not in output
    assert checkpoint_names(tmp_path / "run") == ["ckpt_final_step0000008", *aside]
    assert_same_run(tmp_path / "whole", tmp_path / "run", "ckpt_final_step0000008")


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_and_keeps_its_records(data_dir, tmp_path, capsys):
    flags = "--max_train_steps 4 --save_every 2 --eval_every 2"
    train_here(data_dir, tmp_path, flags)
    for checkpoint in tmp_path.glob("ckpt_*"):
        damage(checkpoint)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert train_here(data_dir, tmp_path, flags) == 2
    assert f"{tmp_path} has no undamaged checkpoint; start again in another --run_dir" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def outside(content):
    content["files"]["../config.json"] = content["files"]["config.json"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["run"].update(step="four"),
        lambda content: content["run"].update(step=-1),
        lambda content: content.update(files=[]),
        lambda content: content["files"]["config.json"].pop("sha256"),
        lambda content: content.pop("identity"),
        outside,
    ],
)
def test_a_state_that_bosrow_would_not_write_is_passed_over_even_if_its_seal_is_right(
    saved_run, tmp_path, capsys, change
):
    data_dir, flags, whole = saved_run
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "ckpt_final_step0000004" / "state.json"
    content = json.loads(path.read_bytes())
    del content["seal"]
    change(content)
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content | {"seal": seal}))
    assert train_here(data_dir, tmp_path / "run", flags) == 0
    output = capsys.readouterr().out
    assert f"warning: passing over a damaged checkpoint: {path} is not as bosrow writes it: " in output
    assert f"going on from {tmp_path / 'run' / 'ckpt_periodic_step0000002'}" in output


@pytest.fixture(scope="module")
def saved_run(data_dir, tmp_path_factory):
    flags = "--max_train_steps 4 --save_every 2 --eval_every 0"
    whole = tmp_path_factory.mktemp("saved") / "run"
    assert train_here(data_dir, whole, flags) == 0
    return data_dir, flags, whole


def test_a_run_that_was_never_saved_starts_again_and_only_with_its_own_options(data_dir, tmp_path, capsys):
    flags = "--max_train_steps 3 --save_every 0 --eval_every 0"
    train_here(data_dir, tmp_path, flags)
    before, lines = (tmp_path / "scalars.jsonl").read_bytes(), scalars(tmp_path)
    assert train_here(data_dir, tmp_path, f"{flags} --learning_rate 0.5") == 2
    assert re.search(r"^  learning_rate +0\.003 +-> +0\.5$", capsys.readouterr().err, re.MULTILINE)
    assert (tmp_path / "scalars.jsonl").read_bytes() == before
    assert train_here(data_dir, tmp_path, flags) == 0
    assert f"{tmp_path} has no checkpoint yet; starting from step 0" in capsys.readouterr().out
    assert scalars(tmp_path) == lines


@contextmanager
def largest_file(size):
    """While it lasts, this process can write no file beyond `size` bytes, as if a disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("kilobytes", "without_room"), [(16, "weights"), (48, "moments")])
def test_a_disk_that_is_full_at_a_save_is_told_plainly_and_with_room_the_run_goes_on(
    data_dir, tmp_path, monkeypatch, capsys, kilobytes, without_room
):
    flags = "--max_train_steps 6 --save_every 2 --eval_every 0"
    train_here(data_dir, tmp_path / "whole", flags)
    with before_call(monkeypatch, "loop.optimizer_step", 4, stop):
        assert train_here(data_dir, tmp_path / "run", flags) == 75
    weights, moments = (
        (tmp_path / "run" / "ckpt_periodic_step0000003" / f"{name}.safetensors").stat().st_size // 1024
        for name in ("model", "optimizer")
    )
    assert kilobytes < weights if without_room == "weights" else weights < kilobytes < moments
    with largest_file(kilobytes << 10):
        assert train_here(data_dir, tmp_path / "run", flags) == 1
    told = r"bosrow train: \S*/ckpt_periodic_step0000004 cannot be written .*File too large.*$"
    assert re.search(told, capsys.readouterr().err)
    assert checkpoint_names(tmp_path / "run") == ["ckpt_periodic_step0000002", "ckpt_periodic_step0000003"]
    assert not list((tmp_path / "run").glob(".unfinished_*"))
    assert train_here(data_dir, tmp_path / "run", flags) == 0
    assert "going on from" in capsys.readouterr().out
    assert_same_run(tmp_path / "whole", tmp_path / "run", "ckpt_final_step0000006")


def test_a_run_whose_folder_another_has_taken_over_stops_at_its_next_save(data_dir, tmp_path, monkeypatch, capsys):
    other = Owner(host="elsewhere", pid=1, since="2026-01-01T00:00:00Z", machine="another", run="one")

    def taken_over():
        (tmp_path / ".owner.json").write_text(json.dumps(asdict(other)))

    with before_call(monkeypatch, "loop.optimizer_step", 3, taken_over):
        assert train_here(data_dir, tmp_path, "--max_train_steps 6 --save_every 2 --eval_every 0") == 1
    assert f"{tmp_path} was taken over by process 1 on elsewhere" in capsys.readouterr().err
    assert checkpoint_names(tmp_path) == ["ckpt_periodic_step0000002"]
    assert json.loads((tmp_path / ".owner.json").read_text()) == asdict(other)
