"""An experiment's file is checked as a whole before anything starts; each message names the key and what to do."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bosrow.cli import main
from bosrow.compare.statistics import detectable_difference
from bosrow.errors import OptionError
from bosrow.experiment.experiment_file import read_experiment
from bosrow.flags import as_arguments, parse
from bosrow.train.train_options import TrainOptions

LAUNCH = Path(__file__).parents[2] / "launch"
EXAMPLE = """
out_dir = "{folder}/out"
[data]
data_files = ["{folder}/corpus.jsonl"]
[train]
max_train_steps = 10
total_batch_tokens = 1024
micro_batch_size = 1
n_layer = 1
n_head = 1
n_embd = 8
"""


def written(folder: Path, text: str = EXAMPLE, top: str = "") -> Path:
    path = folder / "experiment.toml"
    path.write_text(top + text.replace("{folder}", str(folder)))
    return path


def test_four_arms_four_seeds_and_as_many_of_the_noise_floor_are_the_default(tmp_path):
    experiment = read_experiment(written(tmp_path))
    assert [(run.group, run.seed) for run in experiment.runs()] == [
        *[("A", 1), ("B", 1), ("C", 1), ("D", 1), ("AA", 5)],
        *[("A", 2), ("B", 2), ("C", 2), ("D", 2), ("AA", 6)],
        *[("A", 3), ("B", 3), ("C", 3), ("D", 3), ("AA", 7)],
        *[("A", 4), ("B", 4), ("C", 4), ("D", 4), ("AA", 8)],
    ]


def test_runs_differ_in_data_folder_and_seed_alone(tmp_path):
    experiment = read_experiment(written(tmp_path))
    own = ("data_dir", "run_dir", "seed")
    knobs = [
        {name: value for name, value in vars(experiment.train_options(run)).items() if name not in own}
        for run in experiment.runs()
    ]
    assert all(found == knobs[0] for found in knobs)


def test_only_what_is_data_may_differ_between_arms(tmp_path):
    experiment = read_experiment(written(tmp_path, EXAMPLE + "[arm.B]\nbuffer_docs = 7\n"))
    buffers = {
        arm: experiment.prepare_options(run.arm).buffer_docs for run in experiment.runs() for arm in [run.arm.letter]
    }
    assert buffers == {"A": 1000, "B": 7, "C": 1000, "D": 1000}


@pytest.mark.parametrize(
    ("top", "rest", "message"),
    [
        ("sedes = [1, 2, 3]\n", "", r"no key 'sedes'; the nearest is 'seeds'"),
        ("", "learnin_rate = 1e-3\n", r"\[train\] has no key 'learnin_rate'; the nearest is 'learning_rate'"),
        ("", "[evaluation]\ntask = 'rows'\n", r"\[evaluation\] has no key 'task'; the nearest is 'tasks'"),
        ("", "[model]\nn_layer = 2\n", r"the top has no key 'model'"),
        ("arms = ['A', 'Z']\n", "", r"arms has 'Z'; there are: A \(stream\), B \(crop\), C .*, D \(keep\), E"),
        ("arms = ['B', 'D']\n", "", r"without A; the others are compared with it"),
        ("arms = ['A', 'A']\n", "", r"each once"),
        ("seeds = [1, 2]\n", "", r"seeds has 2; at least 3 an arm are required"),
        ("seeds = [1, 2, 2]\n", "", r"seeds is \[1, 2, 2\]; .*each once"),
        ("noise_seeds = [4, 5, 6]\n", "", r"noise_seeds has 4, which stands in seeds too"),
        (
            "",
            "[arm.B]\nlearning_rate = 1e-3\n",
            r"\[arm\.B\] learning_rate would differ between arms; only buffer_docs",
        ),
        ("", "[arm.B]\npolicy = 'keep'\n", r"\[arm\.B\] policy would differ between arms"),
        ("", "[arm.B]\nbufer_docs = 3\n", r"\[arm\.B\] has no key 'bufer_docs'; the nearest is 'buffer_docs'"),
        ("", "[arm.Q]\nbuffer_docs = 3\n", r"there is no arm 'Q'"),
        ("", "seed = 3\n", r"\[train\] seed cannot be set here: say seeds = "),
        ("", "data_dir = 'x'\n", r"\[train\] data_dir cannot be set here"),
        ("", "save_every = 0\n", r"save_every is 0; the last checkpoint of each run is evaluated"),
        ("", "learning_rate = 'high'\n", r"\[train\] learning_rate is 'high'; a number is required"),
        ("", "val_rows = 1.5\n", r"val_rows is 1.5; a whole number is required"),
        ("", "compile = 1\n", r"compile is 1; true or false is required"),
        ("", "dtype = 'float16'\n", r"dtype is 'float16'; there are: auto, float32, bfloat16"),
        ("", "warmup_iters = -1\n", r"--warmup_iters is -1; 0 or more is required"),
        ("", "[evaluation]\ntasks = 'rows'\n", r"tasks lacks bits_per_byte"),
        ("", "[evaluation]\ntasks = 'bits_per_byte,ros'\n", r"--tasks has 'ros'"),
        ("", "[evaluation]\nblimp_data = 'nowhere'\n", r"blimp_data is 'nowhere', and there is no such file"),
        ("data = 3\n", None, r"data is 3; a table \[data\] is required"),
        ("arm = 3\n", "", r"arm is 3; a table \[arm\] is required"),
        ("arm = {B = 3}\n", "", r"arm\.B is 3; a table \[arm\.B\] is required"),
        ("seeds = [1, 'two', 3]\n", "", r"seeds is \[1, 'two', 3\]; a list of whole numbers is required"),
        ("seeds = [1.0, 2.0, 3.0]\n", "", r"a list of whole numbers is required"),
        ("out_dir_ = 3\n", "", r"the top has no key 'out_dir_'; the nearest is 'out_dir'"),
        ("name = 3\n", "", r"name is 3; a text is required"),
        ("", "[evaluation]\nblimp_data = 3\n", r"\[evaluation\] blimp_data is 3; a path as text is required"),
        ("", "warmup_iters = true\n", r"warmup_iters is True; a whole number is required"),
        ("command = 'srun bosrow'\n", "", r"it must hold \{bosrow\} once"),
        ("command = 'srun \"{bosrow}'\n", "", r"command cannot be split into words"),
        ("seeds = [1, 2,, 3]\n", "", r"is not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_name(tmp_path, top, rest, message):
    path = written(tmp_path, "" if rest is None else EXAMPLE + rest, top)
    with pytest.raises(OptionError, match=message) as refused:
        read_experiment(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("line", "message"), [("val_fraction = 0", "val_fraction is 0"), ("val_shards = 1", "val_shards")]
)
def test_an_experiment_without_val_documents_of_all_arms_is_refused(tmp_path, line, message):
    with pytest.raises(OptionError, match=message):
        read_experiment(written(tmp_path, EXAMPLE.replace("[data]", f"[data]\n{line}")))


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.toml")), ids=lambda path: path.name)
def test_the_experiments_in_launch_can_be_read(path):
    experiment = read_experiment(path)
    assert len(experiment.runs()) == 5 * len(experiment.seeds)


def test_a_file_that_is_not_there_ends_with_status_2_and_one_line(tmp_path, capsys):
    assert main(["ab", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_dry_run_shows_the_plan_and_makes_nothing(tmp_path, capsys):
    assert main(["ab", str(written(tmp_path)), "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "20 = 4 arms x 4 seeds, and 4 of A again" in shown
    assert "10 steps x 1,024 tokens = 10,240 tokens; in all 204,800" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment.toml"]


def test_steps_that_cannot_be_divided_are_refused_before_anything_starts(tmp_path, capsys):
    path = written(tmp_path, EXAMPLE.replace("total_batch_tokens = 1024", "total_batch_tokens = 1000"))
    assert main(["ab", str(path)]) == 2
    assert "1,000" in capsys.readouterr().err.replace("1000", "1,000")
    assert not (tmp_path / "out").exists()


def test_under_torchrun_the_command_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["ab", str(written(tmp_path))]) == 2
    assert "command = 'torchrun" in capsys.readouterr().err


def test_the_detectable_difference_is_found_in_80_of_100_cases():
    random = np.random.default_rng(0)
    control = random.normal(0, 0.0013, (4000, 4))
    treatment = random.normal(detectable_difference(0.0013, 4), 0.0013, (4000, 4))
    found = (stats.ttest_ind(control, treatment, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.02)


def test_options_as_arguments_are_read_back_the_same(tmp_path):
    experiment = read_experiment(written(tmp_path))
    run = experiment.runs()[1]
    for options in (
        experiment.train_options(run),
        experiment.eval_options(run, tmp_path / "ckpt", (tmp_path / "a", tmp_path / "b")),
        TrainOptions(data_dir=("x",), compile=True, learning_rate=1e-3),
    ):
        assert parse(type(options), as_arguments(options), "bosrow") == options
