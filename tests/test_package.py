"""The package as a user gets it: a wheel, installed into a fresh environment, used from another folder."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pyarrow
import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=SETTINGS, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built by pip as for a user, from a copy of the files that git knows (a build leaves a folder behind)."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked("bosrow", "pyproject.toml", "LICENSE", "README.md"):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--retries",
        "0",
        "-w",
        folder,
        folder / "source",
    ]
    done = subprocess.run(list(map(str, command)), env=SETTINGS, capture_output=True, text=True, timeout=300)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("the package registry, from which pip takes setuptools to build a wheel, cannot be reached")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def tracked(*paths: str) -> list[str]:
    """The files below `paths` that git knows and that are there."""
    return [name for name in run("git", "ls-files", *paths, cwd=ROOT).splitlines() if (ROOT / name).exists()]


def test_the_wheel_holds_every_module_and_the_vocabulary_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == set(tracked("bosrow"))
    assert "bosrow/tokenizers/vocabulary/r50k_base.tiktoken.xz" in names


def test_the_wheel_works_in_a_fresh_environment_from_another_folder(wheel, tmp_path):
    """What bosrow depends on comes from this environment; bosrow itself comes from the wheel alone."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "dependencies.pth").write_text(str(Path(pyarrow.__file__).parents[1]) + "\n")
    (tmp_path / "work").mkdir()
    lines = [json.dumps({"text": f"document {number} " * 30}) for number in range(40)]
    (tmp_path / "work" / "a.jsonl").write_text("\n".join(lines))
    flags = ["--data_files", "a.jsonl", "--out_dir", "out", "--seq_len", 32, "--policy", "keep", "--workers", 1]
    run(python, "-m", "bosrow", "prepare", *flags, cwd=tmp_path / "work")
    assert "is sound" in run(python, "-m", "bosrow", "verify", "out", cwd=tmp_path / "work")
    program = "import bosrow; print(bosrow.__file__, bosrow.open_rows('out')[0][0])"
    assert run(python, "-c", program, cwd=tmp_path / "work").split() == [str(packages / "bosrow/__init__.py"), "50256"]


def test_importing_bosrow_imports_nothing_heavy():
    program = "import sys, bosrow; print([name for name in sys.argv[1:] if name in sys.modules])"
    heavy = ["torch", "datasets", "pyarrow", "numpy", "tiktoken", "huggingface_hub", "rich"]
    assert run(sys.executable, "-c", program, *heavy, cwd=ROOT).strip() == "[]"


def test_preparing_and_reading_rows_never_import_torch():
    program = (
        "import sys, bosrow.prepare.command, bosrow.dataset.rows, bosrow.dataset.verify, bosrow.sources.token_files, "
        "bosrow.inspect.policies, bosrow.sources.hub_repository; print('torch' in sys.modules)"
    )
    assert run(sys.executable, "-c", program, cwd=ROOT).strip() == "False"
