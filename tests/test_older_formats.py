"""What older versions wrote goes on working: data sets are read, preparations and trainings go on to the same bytes."""

import filecmp
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub

from bosrow.cli import main

ARCHIVE = Path(__file__).parent / "older_formats" / "dd09d92.tar.xz"
PREPARED = (
    "crop_parquet",
    "crop-long-first_parquet",
    "keep_parquet",
    "stream_parquet",
    "crop_jsonl",
    "keep_jsonl",
    "keep_hub",
    "crop_default_parquet",
    "stream_no_provenance_parquet",
)
DATASET = "someone/texts"


@pytest.fixture
def older(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The archive unpacked into the present folder; the command lines that made it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    hub.add(DATASET, {f"data/{part}.parquet": Path(f"corpora/part_{part}.parquet").read_bytes() for part in range(2)})
    return json.loads(Path("commands.json").read_text())


def prepare_command(older: dict[str, Any], name: str, out_dir: str, workers: int = 0) -> list[str]:
    return ["prepare", *older[name], "--out_dir", out_dir, "--workers", str(workers)]


def data_files(folder: Path) -> list[str]:
    """Shards and provenance: all files of a data set but meta.json, which holds dates."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("meta.json", ".lock")]
    return sorted(str(path.relative_to(folder)) for path in files)


def assert_same_files(folder: str, reference: str) -> None:
    names = data_files(Path(reference))
    assert data_files(Path(folder)) == names
    different = filecmp.cmpfiles(folder, reference, names, shallow=False)[1:]
    assert different == ([], [])


@pytest.mark.parametrize("name", PREPARED)
def test_a_data_set_of_before_is_sound_and_complete_for_the_same_command(
    name: str, older: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(f"complete/{name}/meta.json").read_bytes()
    assert main(["verify", f"complete/{name}"]) == 0
    assert main(prepare_command(older, name, f"complete/{name}")) == 0
    assert "is complete" in capsys.readouterr().out
    assert Path(f"complete/{name}/meta.json").read_bytes() == before


@pytest.mark.parametrize("name", PREPARED)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_preparation_interrupted_before_goes_on_to_the_same_bytes(
    name: str, workers: int, older: dict[str, Any]
) -> None:
    assert Path(f"interrupted/{name}/state.bin").exists()
    assert main(prepare_command(older, name, f"interrupted/{name}", workers)) == 0
    assert_same_files(f"interrupted/{name}", f"complete/{name}")
    assert main(["verify", f"interrupted/{name}"]) == 0


@pytest.mark.parametrize("name", [name for name in PREPARED if "default" not in name])
def test_a_new_preparation_has_the_bytes_of_before(name: str, older: dict[str, Any]) -> None:
    assert main(prepare_command(older, name, "new")) == 0
    assert_same_files("new", f"complete/{name}")


def test_older_rows_are_traced_inspected_and_packed_anew(
    older: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", "complete/stream_parquet", "--row", "1"]) == 0
    assert "part_0.parquet" in capfd.readouterr().out
    assert main(["inspect", "complete/keep_hub", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)
    again = ["prepare", "--from", "complete/stream_parquet", "--policy", "keep", "--seq_len", "32"]
    assert main([*again, "--shard_rows", "20", "--buffer_docs", "10", "--out_dir", "again", "--workers", "0"]) == 0
    assert filecmp.cmp("again/train_000000.bin", "complete/keep_parquet/train_000000.bin", shallow=False)


def losses(run_dir: str) -> dict[int, float]:
    lines = map(json.loads, Path(run_dir, "scalars.jsonl").read_text().splitlines())
    return {line["step"]: line["train_loss_opt_step_mean"] for line in lines if line["type"] == "scalars"}


def test_a_training_interrupted_before_goes_on_from_its_checkpoint(older: dict[str, Any]) -> None:
    before = losses("finished_run")
    command = [sys.executable, "-m", "bosrow", "train", "--data_dir", "trained_on", "--run_dir", "interrupted_run"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *older["train"]], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    after = losses("interrupted_run")
    assert after.keys() == before.keys() == set(range(1, 7))
    assert [after[step] for step in (1, 2, 3)] == [before[step] for step in (1, 2, 3)]  # read, not trained again
    assert list(after.values()) == pytest.approx(list(before.values()), abs=1e-4)  # another processor rounds otherwise


def test_a_training_finished_before_is_known_as_finished_and_exported(
    older: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data_dir", "trained_on", "--run_dir", "finished_run", *older["train"]]) == 0
    assert "finished" in capfd.readouterr().out
    assert main(["export", "finished_run", "--out_dir", "model"]) == 0
    assert Path("model/model.safetensors").exists()
