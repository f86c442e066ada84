"""Several ranks under torchrun: the results of one process."""

import shutil

import pytest
from running import command, losses, rows_by_step, run_ranks, scalars, train_here


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_on_two_ranks_the_losses_are_the_same(data_dir, tmp_path):
    flags = "--max_train_steps 4 --eval_every 2 --save_every 4 --sample_every 2 --n_layer 1"
    train_here(data_dir, tmp_path / "eager", flags)
    run_ranks(command(data_dir, tmp_path / "compiled", f"{flags} --compile"), 2)
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), abs=1e-4)
    for one, other in zip(*(scalars(tmp_path / name, "val_loss") for name in ("eager", "compiled")), strict=True):
        assert other["val_loss"] == pytest.approx(one["val_loss"], abs=1e-4)


def test_two_ranks_give_the_losses_and_rows_of_one_process(data_dir, two_ranks, tmp_path):
    train_here(data_dir, tmp_path, two_ranks.flags)
    assert two_ranks.output.count("step 20/20") == 1  # only the main rank speaks
    assert losses(two_ranks.run_dir) == pytest.approx(losses(tmp_path), abs=1e-4)
    assert rows_by_step(two_ranks.run_dir) == rows_by_step(tmp_path)
    for alone, shared in zip(scalars(tmp_path, "val_loss"), scalars(two_ranks.run_dir, "val_loss"), strict=True):
        assert shared["val_loss"] == pytest.approx(alone["val_loss"], abs=1e-5)
        assert shared["val_rows"] == alone["val_rows"] == 21
