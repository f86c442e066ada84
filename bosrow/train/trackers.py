"""Sends the numbers of scalars.jsonl to TensorBoard and Weights & Biases, under "type/key".

Promise: trackers are off unless asked for. A missing package is reported before anything is made. A resumed run goes on
in the same place. A tracker that fails, at the start or later, is reported in one line and turned off; it never ends a
run. Cost: a tracker's package is imported only if it is asked for.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from bosrow.errors import OptionError
from bosrow.train.train_options import TrainOptions

WAIT_SECONDS = 10.0  # for Weights & Biases to answer at the start; its own default is 90
FINISH_SECONDS = 60.0  # for Weights & Biases to send the rest at the end; by default it has no limit
TENSORBOARD = "tensorboard"  # the folder of the events inside the run folder


class Tracker(Protocol):
    """Shows the numbers of a run."""

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Show a line of scalars.jsonl."""

    def close(self) -> None:
        """Make sure that all of it has arrived."""


def require_packages(options: TrainOptions) -> None:
    """Raise OptionError if the package of a tracker that was asked for is not installed."""
    for package, asked in (("tensorboard", options.tensorboard), ("wandb", options.wandb is not None)):
        if asked and importlib.util.find_spec(package) is None:
            raise OptionError(
                f"--{package}: the package {package} is not installed; "
                f"install it with: pip install 'bosrow[{package}]', or leave the flag out"
            )


class Trackers:
    """The trackers asked for, from `step` on. `config` describes the run to them; `note` prints a line."""

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
    """Event files. When a run resumes, TensorBoard hides the events after the checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        for name, value in numbers(kind, values).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run in a project; the same run folder has the same id. WANDB_MODE=offline keeps it on this machine."""

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
                silent=True,  # it prints many lines; `note` prints what matters
                login_timeout=WAIT_SECONDS,
                init_timeout=WAIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
            ),
        )
        self._run.define_metric("*", step_metric="step")  # else it refuses steps that it saw before a resume

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
