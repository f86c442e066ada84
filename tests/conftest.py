"""Every test, and every process that it starts, sees the loopback Hub and an empty cache; none reaches the real one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_server import Hub

pytest_plugins = ["whole_run"]

_hub: Hub
_home: tempfile.TemporaryDirectory


def pytest_configure() -> None:
    """huggingface_hub reads HF_ENDPOINT when it is imported, so the server starts before any test module is."""
    global _hub, _home
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest runs a process on each core (-n auto)
    _hub = Hub()
    _home = tempfile.TemporaryDirectory(prefix="bosrow-hub-")
    for name in (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_HUB_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "HF_HOME",
        "HF_HUB_CACHE",
    ):
        os.environ.pop(name, None)
    os.environ |= {"HF_ENDPOINT": _hub.url, "HF_HOME": _home.name, "HF_UPDATE_DOWNLOAD_COUNTS": "0", "NO_PROXY": "*"}


def pytest_unconfigure() -> None:
    """Stop the server and drop the cache."""
    _hub.close()
    _home.cleanup()


def pytest_make_parametrize_id(val: Any, argname: str) -> str | None:
    """Bytes, which may hold the time, and long texts are not written out in the names of tests."""
    return argname if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 80) else None


@pytest.fixture(scope="session", autouse=True)
def savefig() -> Iterator[Any]:
    """Rendering by matplotlib, left out where a test does not ask for it: it takes longer than a tiny training."""
    from matplotlib.figure import Figure

    original = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, file, **_: file.write(b"a picture"))
        yield original


@pytest.fixture
def rendered(savefig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures as they are. Programs of their own always draw them."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The loopback Hub, empty at the start of each test."""
    _hub.reset()
    yield _hub
    _hub.reset()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of no length, in bosrow and in huggingface_hub (whose shortest is a second)."""
    from huggingface_hub.utils import _http

    import bosrow.hub.retries

    monkeypatch.setattr(bosrow.hub.retries, "RETRY_WAITS_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One small corpus prepared by every policy: a folder for each, and the corpus as "source"."""
    from made_data_sets import make_data_sets

    return make_data_sets(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of random tokens, 100 rows to train on and 21 of val, for whatever reads rows."""
    from synthetic import write_data_set

    return write_data_set(tmp_path_factory.mktemp("data"), train_rows=100, val_rows=21, seq_len=16, vocab_size=61)
