"""TensorBoard and Weights & Biases beside scalars.jsonl: every number of its lines, under "type/key".

Promise: off unless asked for; a missing package is reported before anything is made; a resumed run goes on in the same
place. A tracker that fails, at the start or later, is reported in one line and left out; it never ends a run. Cost:
their packages are imported only where asked for.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from bosrow.errors import OptionError
from bosrow.train.train_options import TrainOptions

WAIT_SECONDS = 10.0  # for Weights & Biases to answer at the start; its own limit is 90
FINISH_SECONDS = 60.0  # for what it has not sent yet, at the end; its own limit is none
TENSORBOARD = "tensorboard"  # the folder of the events inside the run folder


class Tracker(Protocol):
    """Something that shows the numbers of a run."""

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Show a line of scalars.jsonl."""

    def close(self) -> None:
        """Make sure that all of it has arrived."""


def require_packages(options: TrainOptions) -> None:
    """Raise OptionError if a tracker was asked for whose package is not installed."""
    for package, asked in (("tensorboard", options.tensorboard), ("wandb", options.wandb is not None)):
        if asked and importlib.util.find_spec(package) is None:
            raise OptionError(
                f"--{package}: the package {package} is not installed; "
                f"install it with: pip install 'bosrow[{package}]', or leave the flag out"
            )


class Trackers:
    """The trackers asked for, going on after `step`; `config` is what they show of the run, `note` says a line."""

    def __init__(
        self,
        options: TrainOptions,
        run_dir: Path,
        step: int,
        config: dict[str, Any],
        note: Callable[[str], None],
    ) -> None:
        self._note = note
        self._trackers: dict[str, Tracker] = {}
        if options.tensorboard:
            self._try("tensorboard", partial(self._open, "tensorboard", TensorBoard, run_dir / TENSORBOARD, step))
        if options.wandb is not None:
            self._try("wandb", partial(self._open, "wandb", WeightsAndBiases, options.wandb, run_dir, config))

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Show a line of scalars.jsonl."""
        for name, tracker in list(self._trackers.items()):
            self._try(name, partial(tracker.log, kind, step, values))

    def close(self) -> None:
        """Make sure that all of it has arrived."""
        for name, tracker in list(self._trackers.items()):
            self._try(name, tracker.close)

    def _open(self, name: str, kind: Callable[..., Tracker], *arguments: Any) -> None:
        self._trackers[name] = kind(*arguments)

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever the tracker's package raises
            self._trackers.pop(name, None)
            text = " ".join(str(error).split()) or type(error).__name__
            self._note(f"warning: no {name} from here on: {text}; scalars.jsonl has every number")


class TensorBoard:
    """Event files; those of steps after a checkpoint are hidden when the run goes on from it."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        for name, value in numbers(kind, values).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of a project, with the same id for the same run folder. WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, project: str, run_dir: Path, config: dict[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            project=project,
            name=run_dir.name,
            id=hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:16],
            resume="allow",
            dir=run_dir,
            config=config,
            settings=wandb.Settings(
                console="off",
                silent=True,  # its many lines; `note` says what a person needs of them
                login_timeout=WAIT_SECONDS,
                init_timeout=WAIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
            ),
        )
        self._run.define_metric("*", step_metric="step")  # so that lines of steps seen before a resume are accepted

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        self._run.log({"step": step, **numbers(kind, values)})

    def close(self) -> None:
        self._run.finish()


def numbers(kind: str, values: dict[str, Any]) -> dict[str, float]:
    """The numbers among `values`, by "kind/name".

    >>> numbers("val_loss", {"val_loss": 3.5, "rule": "sum", "skipped": False})
    {'val_loss/val_loss': 3.5}
    """
    return {
        f"{kind}/{name}": float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
