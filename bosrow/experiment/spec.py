"""An experiment: its arms, seeds and settings, and the commands of the other verbs that it is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bosrow.evals.eval_options import EvalOptions
from bosrow.experiment.arms import ARMS, BASE, PlannedArm
from bosrow.packing.table import LOSSLESS
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.train.train_options import TrainOptions

NOISE_ARM = "AA"
BY_ARM = ("buffer_docs", "buffer_tokens")  # options of packing, which arms may have each for itself
PASSED_ON = ("shard_rows", "workers", "checkpoint_seconds", "batch_docs")  # to arms made from another arm
# What may change when an experiment goes on, since no figure depends on it.
FREE = (
    *("workers", "batch_docs", "checkpoint_seconds", "on_bad_row", "data_files"),
    *("num_workers", "timeout_seconds", "save_every", "keep_checkpoints", "tensorboard", "wandb"),
)


@dataclass(frozen=True)
class PlannedRun:
    """One training run. `group` is the arm's letter, or NOISE_ARM."""

    arm: PlannedArm
    group: str
    seed: int

    @property
    def title(self) -> str:
        """The run's name for people."""
        again = " again (A/A)" if self.group == NOISE_ARM else ""
        return f"{self.arm.letter} {self.arm.name}{again}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment, checked. `data`, `train` and `evaluation` hold the options given and ab's defaults."""

    name: str
    out_dir: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    noise_seeds: tuple[int, ...]
    command: tuple[str, ...]
    deviation: float
    data: dict[str, Any]
    train: dict[str, Any]
    evaluation: dict[str, Any]
    by_arm: dict[str, dict[str, Any]]

    def data_dir(self, arm: PlannedArm) -> Path:
        """Where the data set of `arm` is."""
        return self.out_dir / "data" / arm.folder

    def runs(self) -> list[PlannedRun]:
        """All runs, seed by seed, so that an experiment cut short has every arm at the same number of seeds."""
        planned = []
        for place in range(max(len(self.seeds), len(self.noise_seeds))):
            if place < len(self.seeds):
                planned += [PlannedRun(ARMS[letter], letter, self.seeds[place]) for letter in self.arms]
            if place < len(self.noise_seeds):
                planned.append(PlannedRun(BASE, NOISE_ARM, self.noise_seeds[place]))
        return planned

    def run_dir(self, run: PlannedRun) -> Path:
        """The run folder of `run`."""
        return self.out_dir / "runs" / f"{run.group}_seed{run.seed}"

    def prepare_options(self, arm: PlannedArm) -> PrepareOptions:
        """The `bosrow prepare` that makes the data set of `arm`."""
        packing = {name: value for name, value in self.data.items() if name in BY_ARM}
        packing |= self.by_arm.get(arm.letter, {})
        common = {"out_dir": self.data_dir(arm), "seq_len": self.train["seq_len"], "policy": arm.policy}
        if arm.source is None:
            return PrepareOptions(**self.data, **common)
        passed_on = {name: self.data[name] for name in PASSED_ON if name in self.data}
        source = ARMS[arm.source]
        lossy = source.policy not in LOSSLESS
        return PrepareOptions(from_dir=self.data_dir(source), allow_lossy=lossy, **common, **packing, **passed_on)

    def train_options(self, run: PlannedRun) -> TrainOptions:
        """The `bosrow train` of `run`."""
        return TrainOptions(
            data_dir=(str(self.data_dir(run.arm)),),
            run_dir=self.run_dir(run),
            seed=run.seed,
            heldout=self.data_dir(BASE),
            **self.train,
        )

    def eval_options(self, run: PlannedRun, checkpoint: Path, rows: tuple[Path, ...]) -> EvalOptions:
        """The `bosrow eval` of `run`'s last checkpoint; `rows` are the data sets of packed and of stream rows."""
        return EvalOptions(
            checkpoints=(checkpoint,),
            out=self.run_dir(run) / "evaluation",
            heldout=self.data_dir(BASE),
            rows=rows,
            **self.evaluation,
        )

    def matched(self) -> dict[str, Any]:
        """What must stay the same while the experiment goes on: everything that a figure can depend on."""
        tables = {"data": self.data, "train": self.train, "evaluation": self.evaluation}
        tables |= {f"arm.{letter}": values for letter, values in self.by_arm.items()}
        return {
            f"[{table}] {name}": str(value)
            for table, values in tables.items()
            for name, value in sorted(values.items())
            if name not in FREE
        }
