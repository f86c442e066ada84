"""`bosrow compare` on real runs: a 2-layer model, 3 seeds on each of two data sets."""

import json

import pytest
from synthetic import write_data_set

from bosrow.cli import main

SHAPE = "--seq_len 16 --vocab_size 61 --n_embd 16 --n_head 2 --n_layer 2 --device cpu --hellaswag_every 0"
USUAL = "--total_batch_tokens 128 --micro_batch_size 8 --warmup_iters 2 --learning_rate 3e-3 --max_train_steps 12"
USUAL += " --eval_every 4 --val_rows 4 --save_every 0 --exposure_every 0"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    place = tmp_path_factory.mktemp("experiment")
    for policy in ("stream", "crop"):
        data = write_data_set(place / policy, policy=policy, seed=policy == "crop")
        for seed in (1, 2, 3):
            run = place / "runs" / f"{policy}_{seed}"
            arguments = ["train", "--data_dir", str(data), "--run_dir", str(run), "--seed", str(seed)]
            assert main([*arguments, *SHAPE.split(), *USUAL.split()]) == 0
    return place


def test_real_runs_give_a_report(experiment, capsys):
    runs = sorted((experiment / "runs").iterdir())
    out = experiment / "out"
    assert main(["compare", *map(str, runs), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    content = json.loads((out / "report.json").read_text())
    assert content["verdict"] == "inconclusive"
    assert "held-out bits per byte, the primary figure, is missing" in content["reasons"][0]
    assert content["sentence"] in printed
    assert (out / "report.html").exists()
    assert (out / "report.md").read_text().startswith("# Comparison of training runs: crop against stream")
