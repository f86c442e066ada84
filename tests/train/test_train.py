"""`bosrow train` in one process: it learns, records, saves, refuses."""

import json
import re
import shutil
from pathlib import Path

import pytest
from running import QUIET, before_call, losses, read_lines, rows_by_step, scalars, train_here
from synthetic import write_data_set

from bosrow.dataset.manifest import read_manifest


@pytest.mark.usefixtures("rendered")
def test_a_run_learns_and_leaves_all_its_files(data_dir, tmp_path, capsys):
    assert (
        train_here(data_dir, tmp_path, "--max_train_steps 40 --eval_every 10 --save_every 20 --exposure_every 5") == 0
    )
    curve = losses(tmp_path)
    assert len(curve) == 40
    assert curve[0] == pytest.approx(4.11, abs=0.1)  # ln 61
    assert curve[-1] < curve[0] - 0.5
    assert [line["step"] for line in scalars(tmp_path, "val_loss")] == [10, 20, 30, 40]
    assert (
        json.loads((tmp_path / "config.json").read_text())["data"]["fingerprint"] == read_manifest(data_dir).fingerprint
    )
    assert (tmp_path / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.glob("ckpt_*")} == {"ckpt_periodic_step0000020", "ckpt_final_step0000040"}
    assert sorted(rows_by_step(tmp_path)) == list(range(5, 41, 5))
    entries = json.loads((tmp_path / "step_metrics.json").read_text())
    assert [entry["step"] for entry in entries] == [10, 20, 30, 40]
    output = capsys.readouterr().out
    assert "step 40/40" in output
    assert "validation loss" in output


def test_a_line_of_scalars_has_the_names_that_tools_read(data_dir, tmp_path):
    train_here(data_dir, tmp_path, f"--max_train_steps 2 {QUIET}")
    line = read_lines(tmp_path / "scalars.jsonl")[1]
    assert line.keys() >= {
        *("type", "step", "timestamp", "lr_before_step", "lr_after_step", "train_loss_raw_last"),
        *("train_loss_opt_step_mean", "grad_norm_l2_preclip", "grad_norm_l2_postclip", "param_norm_l2"),
        *("tokens_seen_global_approx", "tokens_per_opt_step_global", "world_size", "grad_accum_steps"),
        *("micro_batch_size", "seq_len", "tokens_per_second", "data_wait_seconds", "epoch"),
    }
    assert line["tokens_seen_global_approx"] == 512
    assert line["lr_before_step"] == pytest.approx(2e-3)
    assert line["grad_norm_l2_postclip"] <= 1.0


def test_a_checkpoint_loads_in_transformers_and_gives_the_validation_loss_again(data_dir, tmp_path):
    import torch
    from transformers import GPT2LMHeadModel

    import bosrow

    train_here(data_dir, tmp_path, "--max_train_steps 5 --eval_every 5 --save_every 5 --exposure_every 0")
    model = GPT2LMHeadModel.from_pretrained(tmp_path / "ckpt_final_step0000005", local_files_only=True).eval()
    tokens = torch.tensor(bosrow.open_rows(data_dir, "val")[:].astype("int64"))
    with torch.no_grad():
        logits = model(tokens[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    assert float(loss) == pytest.approx(scalars(tmp_path, "val_loss")[0]["val_loss"], abs=1e-5)


@pytest.mark.parametrize("micro_batch_size", [1, 3, 16])
def test_micro_batches_change_no_result(data_dir, tmp_path, micro_batch_size):
    for name, size in (("a", 4), ("b", micro_batch_size)):
        train_here(
            data_dir, tmp_path / name, f"--max_train_steps 8 --save_every 0 --eval_every 4 --micro_batch_size {size}"
        )
    assert losses(tmp_path / "a") == pytest.approx(losses(tmp_path / "b"), abs=1e-5)
    for one, other in zip(scalars(tmp_path / "a", "val_loss"), scalars(tmp_path / "b", "val_loss"), strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], abs=1e-5)


def test_an_interval_of_0_turns_a_thing_off_at_the_end_too(data_dir, tmp_path):
    assert train_here(data_dir, tmp_path, f"--max_train_steps 3 {QUIET}") == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"config.json", "scalars.jsonl", ".lock"}
    assert {line["type"] for line in scalars(tmp_path)} == {"scalars"}


def test_the_run_folder_is_named_from_the_run_and_not_from_ranks(data_dir, tmp_path, monkeypatch):
    from bosrow.cli import main

    flags = f"--seq_len 16 --vocab_size 61 --n_embd 16 --n_head 2 --n_layer 1 --total_batch_tokens 64 {QUIET}"
    common = ["train", "--data_dir", str(data_dir), "--experiments_dir", str(tmp_path / "experiments"), *flags.split()]
    assert main([*common, "--max_train_steps", "1", "--device", "cpu"]) == 0
    (folder,) = (tmp_path / "experiments").iterdir()
    assert re.fullmatch(r"babygpt_fineweb_bosrow_1x2x16_T16_64tok_1steps_seed42_[0-9a-f]{8}", folder.name)


def test_dry_run_tells_the_arithmetic_and_writes_nothing(data_dir, tmp_path, capsys):
    assert train_here(data_dir, tmp_path / "run", "--dry_run --micro_batch_size 5 --max_train_steps 25") == 0
    output = capsys.readouterr().out
    assert "256 tokens = 16 rows, 16 on each rank" in output
    assert "4 rows (the largest up to 5 that divides 16), accumulated 4 times" in output
    assert "100 rows of 16 tokens, an epoch every 6.2 steps, 4.00 in this run" in output
    assert "25 steps = 6,400 tokens" in output
    assert "memory" in output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--seq_len 32 --total_batch_tokens 512", r"seq_len 32 was asked for, but .* rows of seq_len 16"),
        ("--total_batch_tokens 1000", r"the nearest that is: 992 or 1008"),
        ("--vocab_size 60", r"the model has a vocabulary of 60, .* one of 61"),
        ("--n_head 3", r"n_embd 16 cannot be divided by n_head 3"),
        ("--max_train_steps 0", r"--max_train_steps is 0; more than 0 is required"),
        ("--seed 18446744073709551616", r"--seed is 18446744073709551616; at most 18446744073709551615 "),
        ("--grad_clip inf", r"--grad_clip is inf; a finite number is required"),
        ("--learning_rate nan", r"--learning_rate is nan; a finite number is required"),
        ("--init_from /nonexistent", r"/nonexistent has no config.json"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_exit_2(data_dir, tmp_path, capsys, flags, message):
    assert train_here(data_dir, tmp_path / "run", f"--max_train_steps 1 {flags}") == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(data_dir, tmp_path, capsys):
    assert train_here(data_dir, tmp_path / "run", "--device cuda") == 2
    assert "torch finds no CUDA GPU on this machine; use --device auto or --device cpu" in capsys.readouterr().err


def test_a_data_set_without_val_trains_without_validation(tmp_path):
    data_dir = write_data_set(tmp_path / "data", val_rows=0)
    assert train_here(data_dir, tmp_path / "run", "--max_train_steps 2 --eval_every 1") == 0
    assert scalars(tmp_path / "run", "val_loss") == []


def test_a_truncated_shard_is_refused_before_anything_is_made(tmp_path, capsys):
    data_dir = write_data_set(tmp_path / "data")
    with open(data_dir / "train_000000.bin", "r+b") as file:
        file.truncate(100)
    assert train_here(data_dir, tmp_path / "run", "--max_train_steps 2") == 2
    assert "train_000000.bin has 100 bytes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_mixture_is_trained_on_in_exact_shares_and_its_weights_bind_its_checkpoints(tmp_path, capsys):
    web = write_data_set(tmp_path / "web", train_rows=64, seed=1)
    books = write_data_set(tmp_path / "books", train_rows=40, val_rows=0, seed=2)
    flags = f"--data_dir {books}:1 --max_train_steps 16 --save_every 16 --eval_every 16 --exposure_every 1"
    assert train_here(f"{web}:3", tmp_path / "run", flags) == 0
    output = capsys.readouterr().out
    assert "64 rows of 16 tokens, 75.00% of each step, an epoch every 5.3 steps, 3.00 in this run" in output
    folders = [str(Path(shard).parent) for places in rows_by_step(tmp_path / "run").values() for _, shard, _ in places]
    assert {folder: folders.count(folder) for folder in set(folders)} == {str(web): 192, str(books): 64}
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]
    assert scalars(tmp_path / "run", "val_loss")[0]["val_rows"] == 10
    assert scalars(tmp_path / "run", "scalars")[-1]["epoch"] == 2  # web's third
    assert train_here(f"{web}:2", tmp_path / "run", flags) == 2
    assert re.search(r"differ in .*this command\):\n  data +[0-9a-f]{64} +-> +[0-9a-f]{64}\n", capsys.readouterr().err)


def test_trace_says_that_it_does_not_know_mixtures(tmp_path, capsys):
    from bosrow.cli import main

    assert main(["trace", f"{tmp_path}/web:0.5", "--step", "3"]) == 2
    assert "not on a mixture by weights; the exposures/ of such a run name" in capsys.readouterr().err


def test_training_starts_from_a_model_folder_and_refuses_another_shape(data_dir, tmp_path, capsys):
    train_here(data_dir, tmp_path / "a", "--max_train_steps 30 --save_every 30 --eval_every 30")
    checkpoint = tmp_path / "a" / "ckpt_final_step0000030"
    assert train_here(data_dir, tmp_path / "b", f"--max_train_steps 1 --init_from {checkpoint} {QUIET}") == 0
    assert losses(tmp_path / "b")[0] < losses(tmp_path / "a")[0] - 0.4
    capsys.readouterr()
    assert train_here(data_dir, tmp_path / "c", f"--max_train_steps 1 --init_from {checkpoint} --n_layer 3") == 2
    message = f"--n_layer is 3, but the model of --init_from {checkpoint} has 2; leave the flag out"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_samples_of_text_are_recorded_one_a_line_and_once_whatever_stopped_the_run(tmp_path, capsys):
    from vocabularies import documents, write_tokenizer

    from bosrow.cli import main

    tokenizer = write_tokenizer(tmp_path / "tokenizer", vocab_size=300)
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(50)))
    command = f"prepare --data_files {corpus} --out_dir {tmp_path / 'data'} --tokenizer {tokenizer} --seq_len 16"
    assert main([*command.split(), "--workers", "0", "--val_fraction", "0"]) == 0
    flags = "--max_train_steps 5 --sample_every 2 --save_every 3 --vocab_size 300 --eval_every 0"

    def sampled():
        assert train_here(tmp_path / "data", tmp_path / "run", flags) == 0
        return [(line["step"], line["text"]) for line in read_lines(tmp_path / "run" / "samples.jsonl")]

    samples = sampled()
    assert [step for step, _ in samples] == [2, 4, 5]
    assert all(text for _, text in samples)
    assert capsys.readouterr().out.count("the model writes: ") == 3
    shutil.rmtree(tmp_path / "run" / "ckpt_final_step0000005")
    assert sampled() == samples


def test_a_sample_that_fails_is_told_and_the_run_goes_on(data_dir, tmp_path, monkeypatch, capsys):
    with before_call(monkeypatch, "evaluations.sample_text", 1, lambda: {}["an id without a word"]):
        assert train_here(data_dir, tmp_path, f"--max_train_steps 4 {QUIET} --sample_every 2") == 0
    assert "warning: step 2: no sample of text (KeyError: 'an id without a word')" in capsys.readouterr().out


def test_the_largest_seed_trains_and_samples(tmp_path):
    from vocabularies import write_tokenizer

    from bosrow.cli import main

    tokenizer = write_tokenizer(tmp_path / "tokenizer", vocab_size=300)
    (tmp_path / "corpus.jsonl").write_text('{"text": "one two three"}\n' * 200)
    command = f"prepare --data_files {tmp_path / 'corpus.jsonl'} --out_dir {tmp_path / 'data'} --tokenizer {tokenizer}"
    assert main([*command.split(), *["--seq_len", "16", "--workers", "0", "--val_fraction", "0"]]) == 0
    flags = f"--max_train_steps 2 {QUIET} --sample_every 1 --vocab_size 384 --seed {2**64 - 1}"
    assert train_here(tmp_path / "data", tmp_path / "run", flags) == 0
    assert len(read_lines(tmp_path / "run" / "samples.jsonl")) == 2


def test_without_torch_the_command_says_what_to_install(tmp_path):
    import os
    import subprocess
    import sys

    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    result = subprocess.run(
        [sys.executable, "-m", "bosrow", "train", "--data_dir", "x"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "bosrow train: torch is not installed; install it with: pip install 'bosrow[train]'\n"


def test_importing_the_training_package_imports_no_torch():
    import subprocess
    import sys

    program = "import sys, bosrow.train, bosrow.train.train_options; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
