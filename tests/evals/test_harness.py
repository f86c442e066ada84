"""The same answers and log-probabilities as lm-evaluation-harness (extra `oracle`), item by item."""

import gzip
import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bosrow.cli import main
from bosrow.evals.tasks.hellaswag import clean

SHARED = Path(__file__).parents[3] / "shared" / "data"
HARNESS = Path(__file__).parents[1] / "oracles" / "harness.py"
FILES = {"hellaswag": "hellaswag_val", "blimp": "blimp", "arc_easy": "arc_easy_test", "winogrande": "winogrande_val"}
SHAPE = "--seq_len 128 --n_embd 64 --n_head 4 --n_layer 2 --device cpu"

pytestmark = pytest.mark.soak

if importlib.util.find_spec("lm_eval") is None:
    pytest.skip("lm-evaluation-harness is not installed (extra 'oracle')", allow_module_level=True)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A random model, and one trained for a moment, on real text, exported."""
    if not (SHARED / "eval").is_dir():
        pytest.skip("../shared/data/eval is not there")
    place = tmp_path_factory.mktemp("models")
    text = SHARED / "dev" / "dev-00000-of-00009.parquet"
    prepare = f"prepare --data_files {text} --max_docs 300 --out_dir {place / 'data'} --seq_len 128 --val_fraction 0"
    assert main(prepare.split()) == 0
    train = (
        f"train --data_dir {place / 'data'} {SHAPE} --micro_batch_size 8 --total_batch_tokens 1024 --learning_rate 3e-3"
    )
    train += " --warmup_iters 5 --hellaswag_every 0 --eval_every 0"
    found = {}
    for name, steps in (("random", 1), ("trained", 50)):
        rate = " --learning_rate 1e-9" if name == "random" else ""
        assert main(f"{train} --run_dir {place / name} --max_train_steps {steps}{rate}".split()) == 0
        found[name] = place / f"{name}_exported"
        assert main(["export", str(place / name), "--out_dir", str(found[name])]) == 0
    return found


@pytest.mark.parametrize("task", FILES)
@pytest.mark.parametrize("name", ["random", "trained"])
def test_answers_and_log_probabilities_are_those_of_the_harness(models, tmp_path, task, name):
    items = tmp_path / f"{task}.jsonl"
    with gzip.open(SHARED / "eval" / f"{FILES[task]}.jsonl.gz", "rt") as file:
        every = 335 if task == "blimp" else 6  # a few of each paradigm
        items.write_text("".join(itertools.islice(file, 0, 200 * every, every)))
    subprocess.run(
        [sys.executable, HARNESS, models[name], task, items, "8", tmp_path / "theirs.json"], check=True, timeout=300
    )
    theirs = json.loads((tmp_path / "theirs.json").read_text())
    command = ["eval", str(models[name]), "--tasks", task, f"--{task}_data", str(items), "--out", str(tmp_path / "out")]
    assert main([*command, "--hellaswag_rule", "harness", "--device", "cpu"]) == 0
    ours = lines_of(tmp_path / "out" / f"items_{task}.jsonl")
    assert len(ours) == len(theirs["logprobs"]) > 150
    for mine, other in zip(ours, theirs["logprobs"], strict=True):
        assert mine["logprobs"] == pytest.approx(other, abs=1e-3)
    (result,) = json.loads((tmp_path / "out" / "summary.json").read_text())["checkpoints"][0]["results"]
    mean = {metric: sum(theirs[metric]) / len(ours) for metric in ("acc", "acc_norm") if metric in theirs}
    if task != "blimp":  # where a mean over paradigms stands, which this selection has unequally
        assert result["accuracy"] == pytest.approx(mean["acc"])
    if "acc_norm" in mean:
        assert result["accuracy_norm"] == pytest.approx(mean["acc_norm"])


@pytest.mark.parametrize(
    "text",
    [
        " [header] How to sit [title] Choose a chair. [step] Take  one [substeps] of wood.   ",
        "[title] One. [title] Two [title]Three",
        "a  b   c    d [x] [y]  e",
        "no marks",
        "[unclosed and a ] [ b ]",
    ],
)
def test_texts_are_cleaned_as_in_the_harness(text):
    from lm_eval.tasks.hellaswag.utils import preprocess

    assert clean(text) == preprocess(text)
