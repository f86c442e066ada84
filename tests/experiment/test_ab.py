"""`bosrow ab` from end to end: real preparations, trainings, evaluations and kills, all of them tiny."""

import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

from experiments import tables, write_corpus_and_tokenizer, write_experiment
from forked import Forked

from bosrow.cli import main
from bosrow.compare.runs import read_run

PYTHON = shlex.quote(sys.executable)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus_and_tokenizer(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:
    """The folder of an experiment that ran through without a stop."""
    folder = tmp_path_factory.mktemp("finished")
    path = write_experiment(folder / "experiment.toml", tables(corpus, folder / "out"))
    assert main(["ab", str(path)]) == 0
    return folder / "out"


def results(out_dir: Path) -> dict[str, object]:
    """What an experiment found, without what speaks of time and place: weights, losses, and evaluations."""
    found: dict[str, object] = {}
    for folder in sorted((out_dir / "runs").iterdir()):
        run = read_run(folder)
        (weights,) = folder.glob("ckpt_final_*/model.safetensors")
        found[folder.name] = (weights.read_bytes(), run.steps.train_loss.tolist(), run.results)
    return found


def test_an_experiment_gives_a_report_over_every_arm_and_seed(finished):
    names = {folder.name for folder in (finished / "runs").iterdir()}
    assert names == {f"{arm}_seed{seed}" for arm in "ABCD" for seed in (1, 2, 3)} | {f"AA_seed{n}" for n in (4, 5, 6)}
    report = json.loads((finished / "report" / "report.json").read_bytes())
    assert report["verdict"] in ("better", "worse", "inconclusive")
    assert (finished / "report" / "report.html").stat().st_size > 1000
    seeds = {arm["letter"]: (arm["seeds"], arm["noise_seeds"]) for arm in report["arms"]}
    assert seeds == {"A": ([1, 2, 3], [4, 5, 6]), **{arm: ([1, 2, 3], []) for arm in "BCD"}}


def test_all_arms_are_judged_on_the_same_documents_and_rows(finished):
    judged = {
        tuple((result["task"], result.get("rows_of"), result.get("documents")) for result in read_run(run).results)
        for run in (finished / "runs").iterdir()
    }
    assert len(judged) == 1
    assert {(task, rows) for task, rows, _ in judged.pop()} == {
        ("bits_per_byte", None),
        ("rows", "crop"),
        ("rows", "stream"),
    }


def test_a_finished_experiment_runs_nothing_again(finished, corpus, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in (finished / "runs").rglob("*")}
    path = write_experiment(tmp_path / "again.toml", tables(corpus, finished))
    assert main(["ab", str(path)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (finished / "runs").rglob("*")} == before
    assert "run 1 of" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("train", "learning_rate", 0.02), ("train", "eval_every", 2), ("data", "id_field", "id")],
)
def test_an_experiment_that_changed_is_refused_and_both_sides_shown(
    finished, corpus, tmp_path, capsys, table, key, value
):
    content = tables(corpus, finished)
    former = content[table].get(key, "not given")
    content[table][key] = value
    assert main(["ab", str(write_experiment(tmp_path / "changed.toml", content))]) == 2
    error = capsys.readouterr().err
    assert f"[{table}] {key}" in error
    assert f"{former}  ->  {value}" in error


def start(path: Path) -> Forked:
    return Forked(["-m", "bosrow", "ab", path], os.environ | {"OMP_NUM_THREADS": "1"})


def test_an_experiment_killed_again_and_again_goes_on_to_the_same_result(finished, corpus, tmp_path):
    content = tables(corpus, tmp_path / "out")
    content[""] |= {"arms": ["A", "B"], "noise_seeds": []}
    path = write_experiment(tmp_path / "experiment.toml", content)
    for until in (
        "data/crop",  # in a preparation, or after it
        "runs/A_seed1/ckpt_periodic_step0000002",  # in a training
        "runs/B_seed1/evaluation",  # in an evaluation, or after it
    ):
        process = start(path)
        while not (tmp_path / "out" / until).exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill_group()
        process.wait()
    assert not (tmp_path / "out" / "report").exists()
    assert main(["ab", str(path)]) == 0
    found = results(tmp_path / "out")
    assert found == {name: result for name, result in results(finished).items() if name in found}
    assert len(found) == 6


def test_under_a_command_a_signal_ends_with_status_75_after_a_checkpoint_and_the_result_is_the_same(
    finished, corpus, tmp_path
):
    content = tables(corpus, tmp_path / "out")
    content[""] |= {"arms": ["A", "B"], "noise_seeds": [], "command": f"env UNDER=command {PYTHON} {{bosrow}}"}
    path = write_experiment(tmp_path / "experiment.toml", content)
    there = (
        "data/stream",
        "data/crop",
        *(f"runs/{run}" for run in (["B_seed1", "A_seed2", "B_seed2", "A_seed3", "B_seed3"])),
    )
    for name in there:  # all but one run
        shutil.copytree(finished / name, tmp_path / "out" / name)
    process = start(path)
    while not (tmp_path / "out/runs/A_seed1/ckpt_periodic_step0000002").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.terminate()
    assert process.wait() == 75
    del content[""]["command"]
    assert main(["ab", str(write_experiment(tmp_path / "without.toml", content))]) == 0
    assert results(tmp_path / "out")["A_seed1"] == results(finished)["A_seed1"]


def test_a_command_that_fails_is_named_with_its_status(corpus, tmp_path, capsys):
    content = tables(corpus, tmp_path / "out")
    content[""] |= {"arms": ["A"], "command": "sh -c 'exit 3' {bosrow}"}
    assert main(["ab", str(write_experiment(tmp_path / "experiment.toml", content))]) == 1
    assert "exit status 3 of: sh -c exit 3 -m bosrow train" in capsys.readouterr().err
    content[""]["command"] = "no-such-program {bosrow}"
    assert main(["ab", str(write_experiment(tmp_path / "experiment.toml", content))]) == 2
    assert "'no-such-program' cannot be started" in capsys.readouterr().err
