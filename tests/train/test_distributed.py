"""Several ranks under torchrun: the results of one process."""

import shutil

import pytest
from running import command, losses, rows_by_step, run, scalars, train_here


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_on_two_ranks_the_losses_are_the_same(data_dir, tmp_path):
    flags = "--max_train_steps 4 --eval_every 2 --save_every 4 --sample_every 2"
    train_here(data_dir, tmp_path / "eager", flags)
    run(command(data_dir, tmp_path / "compiled", f"{flags} --compile", ranks=2))
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), abs=1e-4)
    for one, other in zip(*(scalars(tmp_path / name, "val_loss") for name in ("eager", "compiled")), strict=True):
        assert other["val_loss"] == pytest.approx(one["val_loss"], abs=1e-4)


def test_two_ranks_give_the_losses_and_rows_of_one_process(data_dir, tmp_path):
    flags = "--max_train_steps 20 --eval_every 10 --save_every 20 --exposure_every 1"
    train_here(data_dir, tmp_path / "one", flags)
    output = run(command(data_dir, tmp_path / "two", flags, ranks=2))
    assert output.count("step 20/20") == 1  # only the main rank speaks
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    assert rows_by_step(tmp_path / "two") == rows_by_step(tmp_path / "one")
    for alone, shared in zip(scalars(tmp_path / "one", "val_loss"), scalars(tmp_path / "two", "val_loss"), strict=True):
        assert shared["val_loss"] == pytest.approx(alone["val_loss"], abs=1e-5)
        assert shared["val_rows"] == alone["val_rows"] == 21
