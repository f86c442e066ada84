"""Going on from a finished run: only when asked, with moments kept and a schedule that is stated."""

import json
import re
import shutil

import pytest
from running import assert_same_run, before_call, checkpoint_names, losses, rows_by_step, scalars, stop, train_here

FLAGS = "--save_every 3 --eval_every 3 --exposure_every 1"
MORE = f"--max_train_steps 9 {FLAGS} --learning_rate 1e-3 --warmup_iters 2 --learning_rate_decay_frac 0.5 --extend"


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    train_here(data_dir, folder, f"--max_train_steps 4 {FLAGS}")
    return folder


@pytest.fixture(scope="module")
def extended(data_dir, finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended") / "run"
    shutil.copytree(finished, folder)
    assert train_here(data_dir, folder, MORE) == 0
    return folder


def test_more_steps_without_the_flag_are_refused_and_the_refusal_names_it(data_dir, finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert train_here(data_dir, finished, f"--max_train_steps 9 {FLAGS}") == 2
    message = capsys.readouterr().err
    assert re.search(r"^  max_train_steps +4 +-> +9$", message, re.MULTILINE)
    assert "add --extend" in message
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_an_extended_run_keeps_its_past_and_warms_up_anew(data_dir, finished, extended):
    rates = [line["lr_before_step"] for line in scalars(extended, "scalars")]
    assert rates[:4] == [line["lr_before_step"] for line in scalars(finished, "scalars")]
    assert rates[4:7] == pytest.approx([5e-4, 1e-3, 1e-3])
    assert rates[8] == pytest.approx(1e-3 * (0.5 + 0.5 * 0.25))  # two thirds of half a cosine, down to a half
    assert losses(extended)[:4] == losses(finished)
    assert sorted(rows_by_step(extended)) == list(range(1, 10))
    assert checkpoint_names(extended) == [
        "ckpt_final_step0000004",
        "ckpt_final_step0000009",
        "ckpt_periodic_step0000006",
    ]
    config = json.loads((extended / "config.json").read_text())
    assert config["identity"]["earlier_stages"][0]["max_train_steps"] == 4
    assert config["schedule"] == (
        "after step 4, with the same moments: 2 steps of warm-up to 0.001, then a cosine to 0.0005 at step 9"
    )


@pytest.mark.parametrize("call", [1, 3])
def test_stopped_at_any_step_after_the_finished_ones_it_goes_on_bit_for_bit(
    data_dir, finished, extended, tmp_path, monkeypatch, call
):
    shutil.copytree(finished, tmp_path / "run")
    with before_call(monkeypatch, "loop.optimizer_step", call, stop):
        assert train_here(data_dir, tmp_path / "run", MORE) == 75
    assert train_here(data_dir, tmp_path / "run", MORE) == 0
    assert_same_run(extended, tmp_path / "run", "ckpt_final_step0000009")


def test_if_the_last_checkpoint_is_damaged_the_finished_steps_are_done_again_by_their_own_schedule(
    data_dir, finished, extended, tmp_path
):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "ckpt_final_step0000004" / "model.safetensors").unlink()
    assert train_here(data_dir, tmp_path / "run", MORE) == 0
    assert losses(tmp_path / "run") == losses(extended)


def test_an_extended_run_can_be_extended_and_says_so_when_it_is_finished(data_dir, extended, tmp_path, capsys):
    shutil.copytree(extended, tmp_path / "run")
    assert train_here(data_dir, tmp_path / "run", MORE) == 0
    assert "is finished: step 9 of 9" in capsys.readouterr().out
    assert train_here(data_dir, tmp_path / "run", MORE.replace("steps 9", "steps 11")) == 0
    assert losses(tmp_path / "run")[:9] == losses(extended)
    assert len(losses(tmp_path / "run")) == 11


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (f"{MORE} --weight_decay 0.5", r"^  weight_decay +0\.1 +-> +0\.5$"),
        (MORE.replace("steps 9", "steps 3"), r"^  max_train_steps +4 +-> +3$"),
    ],
)
def test_what_is_no_extension_of_the_run_is_refused(data_dir, finished, capsys, flags, message):
    assert train_here(data_dir, finished, flags) == 2
    assert re.search(message, capsys.readouterr().err, re.MULTILINE)


def test_there_must_be_a_run_to_extend(data_dir, tmp_path, capsys):
    assert train_here(data_dir, tmp_path / "run", MORE) == 2
    assert "holds no run; name the folder of a finished one by --run_dir" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
