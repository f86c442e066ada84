"""From a corpus to a report with nothing made up: prepare, train, evaluate, compare; 3 seeds on each of 2 data sets."""

import json
from pathlib import Path

import numpy as np
import pytest

from bosrow.cli import main
from bosrow.compare.exposure import data_of
from bosrow.compare.grouping import arms_of
from bosrow.compare.runs import read_run
from bosrow.dataset.order import RowOrder
from bosrow.dataset.provenance import Provenance

SEEDS = (1, 2, 3)
STEPS = 16
ROWS_PER_STEP = 2
WORDS = ("the", "a", "row", "token", "begins", "where", "there", "is", "no", "cut", "and", "line")


def corpus(path: Path) -> Path:
    """40 documents, most shorter than a row of 32 tokens, some far longer."""
    random = np.random.default_rng(0)
    sizes = random.integers(3, 30, 40) * random.choice([1, 1, 1, 6], 40)
    texts = [" ".join(random.choice(WORDS, size)) for size in sizes]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


SECRETS = {"HF_TOKEN": "hf_neverwritten", "WANDB_API_KEY": "0neverwritten0", "HUGGING_FACE_HUB_TOKEN": "hf_norever"}


@pytest.fixture(scope="module")
def secrets():
    """Tokens in the environment of all that the experiment runs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, secrets):
    place = tmp_path_factory.mktemp("real")
    source = corpus(place / "corpus.jsonl")
    usual = ["--seq_len", "32", "--val_fraction", "0.2", "--workers", "0"]
    stream, crop = place / "stream", place / "crop"
    prepare = ["prepare", "--dataset", "json", "--data_files", str(source), "--policy", "stream"]
    assert main([*prepare, "--out_dir", str(stream), *usual]) == 0
    assert main(["prepare", "--from", str(stream), "--policy", "crop", "--out_dir", str(crop), *usual]) == 0
    train = "--n_layer 2 --n_head 1 --n_embd 4 --seq_len 32 --micro_batch_size 4 --total_batch_tokens 64 --device cpu"
    train += f" --max_train_steps {STEPS} --warmup_iters 3 --eval_every 0 --save_every {STEPS} --exposure_every 0"
    train += f" --hellaswag_every 0 --heldout {stream} --heldout_every 8 --heldout_max_documents 2"
    for data in (stream, crop):
        for seed in SEEDS:
            run = place / "runs" / f"{data.name}_{seed}"
            assert (
                main(["train", "--data_dir", str(data), "--run_dir", str(run), "--seed", str(seed), *train.split()])
                == 0
            )
            checkpoint = run / f"ckpt_final_step{STEPS:07d}"
            evaluate = f"--tasks bits_per_byte,rows --heldout {stream} --rows {crop} {stream} --device cpu"
            out = ["--out", str(run / "evaluation")]
            assert main(["eval", str(checkpoint), *evaluate.split(), *out]) == 0
    return place


def test_a_report_of_real_runs(experiment):
    runs = [str(path) for path in sorted((experiment / "runs").iterdir())]
    out = experiment / "out"
    assert main(["compare", *runs, "--out", str(out), "--strict"]) == 0
    content = json.loads((out / "report.json").read_text())
    assert content["reasons"] == []
    assert content["verdict"] in ("better", "worse", "inconclusive")
    primary = content["primary"]
    assert (primary["treatment"], primary["control"]) == ("crop", "stream")
    assert primary["over_items"]["items"] == primary["items"] > 5
    rows = content["comparisons"][0]["figures"]["rows.stream.stream.loss_without_bos_targets"]
    assert rows["over_items"]["value"] == pytest.approx(rows["effect"], abs=1e-9)
    assert rows["over_items"]["low"] <= rows["effect"] <= rows["over_items"]["high"]
    assert primary["low"] < primary["effect"] < primary["high"]
    (equal,) = content["equal_documents"]
    assert equal["problem"] == ""
    stream, crop = content["arms"]
    assert stream["crop_fraction"] == 0 < crop["crop_fraction"]
    assert crop["seen"]["epochs"] == pytest.approx(STEPS * ROWS_PER_STEP / crop["ledger"]["rows"])
    assert {one["policy"] for one in content["curves"]["position"]} == {"crop", "stream"}
    assert len(content["curves"]["distance"]["series"]) == 2
    assert content["knobs"]["different"] == []
    assert [row["step"] for row in content["equal_tokens"]] == [8, 16]


def test_what_a_run_has_seen_is_what_its_rows_hold(experiment):
    """Against an oracle that reads the rows of each step one by one."""
    runs = [read_run(path) for path in sorted((experiment / "runs").iterdir())]
    for arm in arms_of(runs):
        data = data_of(arm)
        provenance = Provenance(experiment / arm.policy)
        total = provenance.manifest.rows_of("train")
        assert total < STEPS * ROWS_PER_STEP or arm.policy == "stream"  # an epoch ends where rows are few
        for run in arm.runs:
            rows, documents, tokens = set(), set(), set()
            order = RowOrder(rows=total, seed=run.seed)
            for step in range(1, STEPS + 1):
                positions = np.arange((step - 1) * ROWS_PER_STEP, step * ROWS_PER_STEP)
                for row, pieces in provenance.pieces.of_rows("train", set(order.rows_at(positions).tolist())).items():
                    rows.add(row)
                    for placed in pieces:
                        piece = placed.piece
                        documents.add(piece.document)
                        own = range(piece.length - piece.added_bos)
                        predicted = own[1:] if placed.column == 0 and not piece.added_bos else own
                        tokens |= {(piece.document, piece.offset + place) for place in predicted}
                seen = data.seen[str(run.path)]
                counts = (seen.documents[step], seen.tokens[step], seen.rows[step])
                assert counts == (len(documents), len(tokens), len(rows))


def test_a_data_set_that_has_gone_is_said_and_not_guessed(experiment, tmp_path):
    runs = [read_run(path) for path in sorted((experiment / "runs").iterdir())]
    (arm, _) = arms_of(runs)
    gone = [run.__class__(**{**vars(run), "data_dirs": (str(tmp_path / "gone"),)}) for run in arm.runs]
    found = data_of(arm.__class__(None, "stream", arm.fingerprint, "stream", tuple(gone)))
    assert found.problem.endswith("gone is not there any more")
    other = data_of(arm.__class__(None, "stream", "0" * 64, "stream", arm.runs))
    assert other.problem.endswith("holds another data set by now")
    assert not other.seen


def test_no_secret_of_the_environment_is_in_any_file_or_on_any_page(experiment, capfd):
    """Data sets, runs, checkpoints, evaluations, and pages that are made here once more."""
    runs = [str(path) for path in sorted((experiment / "runs").iterdir())]
    pages = experiment / "pages"
    assert main(["inspect", str(experiment / "crop"), "--html", f"{pages}.html"]) == 0
    assert main(["compare", *runs, "--out", str(pages)]) == 0
    assert main(["trace", str(experiment / "stream"), "--row", "1", "--text"]) == 0
    printed = capfd.readouterr()
    assert not [value for value in SECRETS.values() if value in printed.out + printed.err]
    files = [path for path in experiment.rglob("*") if path.is_file()]
    assert {"meta.json", "config.json", "report.html", "pages.html", "scalars.jsonl"} <= {path.name for path in files}
    for path in files:
        assert not [value for value in SECRETS.values() if value.encode() in path.read_bytes()], path
