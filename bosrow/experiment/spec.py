"""An experiment as a TOML file says it: arms, seeds, model, steps, source, evaluation.

    name = "sample"
    arms = ["A", "B", "C", "D"]      # bosrow/compare/arms.py; these four by default
    seeds = [1, 2, 3, 4]             # of every arm
    noise_seeds = [5, 6, 7, 8]       # arm A once more: the A/A comparison, whose result is the noise floor
    [data]                           # flags of `bosrow prepare`
    data_files = ["data/sample.jsonl"]
    [train]                          # flags of `bosrow train`, for every run
    max_train_steps = 300
    [evaluation]                     # flags of `bosrow eval`, on the last checkpoint of every run
    [arm.B]                          # what may differ between arms: how documents become rows
    buffer_docs = 2000

Promise: every value has the type and the limits that the flag of the same name has, and is checked before anything
starts; what is no part of the data is the same in all runs, because there is one place where it can be said. Paths
count from the present directory, as on a command line.
"""

import dataclasses
import difflib
import shlex
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bosrow.errors import OptionError
from bosrow.evals.eval_options import EvalOptions
from bosrow.experiment.arms import ARMS, BASE, DEFAULT_ARMS, Arm, with_sources
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.train.train_options import TrainOptions

LEAST_SEEDS = 3
SEEDS = (1, 2, 3, 4)
NOISE_ARM = "AA"
JOB = "{bosrow}"
# Published seed-to-seed deviation of the validation loss of a 124M GPT-2, 0.0013 nats a token, at ln 2 nats a bit and
# 4.5 bytes a token. Small models on little text scatter more: a pilot's own figure makes a better plan.
DEVIATION = 0.0013 / 0.6931 / 4.5

# What a table may not hold, and why.
BY_ARM = ("buffer_docs", "buffer_tokens")
DATA_FIXED = {
    **dict.fromkeys(("out_dir", "fresh"), "ab makes a folder for each arm inside out_dir"),
    **dict.fromkeys(("policy", "from_dir", "allow_lossy"), "the arm decides it"),
    "seq_len": "say it under [train]; rows and model have one length",
    "val_shards": "the val documents must be the same in all arms; use val_fraction",
    "no_provenance": "the arms are made from each other through the provenance",
}
TRAIN_FIXED = {
    **dict.fromkeys(("data_dir", "heldout"), "each arm's data set is used, and arm A's val documents for all"),
    **dict.fromkeys(("run_dir", "experiments_dir", "resume"), "ab makes a folder for each run inside out_dir"),
    "seed": "say seeds = [...] at the top",
    "dry_run": "use bosrow ab --dry_run",
}
EVALUATION_FIXED = {
    **dict.fromkeys(("checkpoints", "out"), "the last checkpoint of each run is evaluated, into its run folder"),
    **dict.fromkeys(("heldout", "rows"), "the val documents of arm A and the val rows of two arms are used"),
    **dict.fromkeys(("json", "tokenizer"), "ab decides it"),
}
# Where ab's defaults are not the verbs' own.
TRAIN_DEFAULTS = {
    "hellaswag_every": 0,  # benchmarks belong to [evaluation]; in training, loss and held-out bits per byte are enough
    "keep_checkpoints": 1,
}
EVALUATION_DEFAULTS = {"tasks": "bits_per_byte,rows", "bos": "both"}
# What may change when an experiment goes on, since no figure depends on it.
FREE = (
    *("workers", "batch_docs", "checkpoint_seconds", "on_bad_row", "data_files"),
    *("num_workers", "timeout_seconds", "save_every", "keep_checkpoints", "tensorboard", "wandb"),
)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a TOML file says, checked. `data`, `train` and `evaluation` hold the values given and ab's defaults."""

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

    def data_dir(self, arm: Arm) -> Path:
        """Where the data set of `arm` is."""
        return self.out_dir / "data" / arm.folder

    def runs(self) -> list["PlannedRun"]:
        """All runs, seed by seed, so that an experiment cut short has every arm at the same number of seeds."""
        planned = []
        for place in range(max(len(self.seeds), len(self.noise_seeds))):
            if place < len(self.seeds):
                planned += [PlannedRun(ARMS[letter], letter, self.seeds[place]) for letter in self.arms]
            if place < len(self.noise_seeds):
                planned.append(PlannedRun(BASE, NOISE_ARM, self.noise_seeds[place]))
        return planned

    def run_dir(self, run: "PlannedRun") -> Path:
        """The run folder of `run`."""
        return self.out_dir / "runs" / f"{run.group}_seed{run.seed}"

    def prepare_options(self, arm: Arm) -> PrepareOptions:
        """The `bosrow prepare` that makes the data set of `arm`."""
        packing = {name: value for name, value in self.data.items() if name in BY_ARM}
        packing |= self.by_arm.get(arm.letter, {})
        common = {"out_dir": self.data_dir(arm), "seq_len": self.train["seq_len"], "policy": arm.policy}
        if arm.source is None:
            return PrepareOptions(**self.data, **common)
        passed = ("shard_rows", "workers", "checkpoint_seconds", "batch_docs")
        passed_on = {name: self.data[name] for name in passed if name in self.data}
        source = ARMS[arm.source]
        lossy = source.policy not in ("keep", "stream")
        return PrepareOptions(from_dir=self.data_dir(source), allow_lossy=lossy, **common, **packing, **passed_on)

    def train_options(self, run: "PlannedRun") -> TrainOptions:
        """The `bosrow train` of `run`."""
        return TrainOptions(
            data_dir=(str(self.data_dir(run.arm)),),
            run_dir=self.run_dir(run),
            seed=run.seed,
            heldout=self.data_dir(BASE),
            **self.train,
        )

    def eval_options(self, run: "PlannedRun", checkpoint: Path, rows: tuple[Path, ...]) -> EvalOptions:
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


@dataclass(frozen=True)
class PlannedRun:
    """One training run. `group` is the arm's letter, or NOISE_ARM."""

    arm: Arm
    group: str
    seed: int

    @property
    def title(self) -> str:
        """For people."""
        again = " again (A/A)" if self.group == NOISE_ARM else ""
        return f"{self.arm.letter} {self.arm.name}{again}, seed {self.seed}"


TOP = ("name", "out_dir", "arms", "seeds", "noise_seeds", "command", "deviation", "data", "train", "evaluation", "arm")


def read_experiment(path: Path) -> Experiment:
    """The experiment in the TOML file `path`. Raises OptionError, which names the key, for whatever cannot be used."""
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        raise OptionError(f"there is no file {path}; bosrow ab takes an experiment in TOML") from None
    except IsADirectoryError:
        raise OptionError(f"{path} is a folder; bosrow ab takes an experiment in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not valid TOML: {error}") from None
    return _Reader(path, content).experiment()


class _Reader:
    """Turns the parsed file into an Experiment; each message names the file and the key."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content

    def experiment(self) -> Experiment:
        """Everything, checked."""
        self._known("the top", self.content, TOP)
        name = self._typed("", "name", str, self.path.stem)
        out_dir = self._typed("", "out_dir", Path, Path("experiments") / f"ab_{name}")
        arms = self._arms()
        seeds = self._seeds("seeds", SEEDS)
        beyond = max(seeds, default=0) + 1
        noise_seeds = self._seeds("noise_seeds", tuple(range(beyond, beyond + len(seeds))))
        self._check_seeds(seeds, noise_seeds)
        train = TRAIN_DEFAULTS | self._table("train", TrainOptions, TRAIN_FIXED)
        # A run that diverges is shown in the report, so it must come to its end.
        train.setdefault("max_skipped_steps", train.get("max_train_steps", TrainOptions.max_train_steps))
        data = self._table("data", PrepareOptions, DATA_FIXED)
        experiment = Experiment(
            name=name,
            out_dir=out_dir,
            arms=arms,
            seeds=seeds,
            noise_seeds=noise_seeds,
            command=self._command(),
            deviation=self._typed("", "deviation", float, DEVIATION),
            data={"val_fraction": 0.005} | data,
            train={"seq_len": 1024} | train,
            evaluation=EVALUATION_DEFAULTS | self._table("evaluation", EvalOptions, EVALUATION_FIXED),
            by_arm=self._by_arm(),
        )
        self._check(experiment)
        return experiment

    def _check(self, experiment: Experiment) -> None:
        """Let the options of every verb check themselves, before anything is made."""
        run = experiment.runs()[0]
        rows = (experiment.data_dir(BASE),)
        try:
            for arm in with_sources(experiment.arms):
                experiment.prepare_options(arm)
            options = experiment.train_options(run)
            experiment.eval_options(run, Path(), rows)
        except OptionError as error:
            raise OptionError(f"{self.path}: {error}") from None
        for label, table in (("train", experiment.train), ("evaluation", experiment.evaluation)):
            for name, value in table.items():
                if isinstance(value, Path) and not value.exists():
                    raise self._error(label, f"{name} is {str(value)!r}, and there is no such file or folder")
        if not experiment.data.get("val_fraction"):
            raise self._error("data", "val_fraction is 0; the arms are compared on val documents, so some are required")
        if not options.save_every:
            raise self._error("train", "save_every is 0; the last checkpoint of each run is evaluated, so it is needed")
        if not experiment.deviation > 0:
            raise self._error("", f"deviation is {experiment.deviation}; more than 0 is required")
        if "bits_per_byte" not in experiment.eval_options(run, Path(), rows).task_names:
            raise self._error("evaluation", "tasks lacks bits_per_byte, the measure that the verdict is about")

    def _arms(self) -> tuple[str, ...]:
        arms = self._typed("", "arms", tuple[str, ...], DEFAULT_ARMS)
        there = ", ".join(f"{arm.letter} ({arm.name})" for arm in ARMS.values())
        for letter in arms:
            if letter not in ARMS:
                raise self._error("", f"arms has {letter!r}; there are: {there}")
        if not arms or len(set(arms)) < len(arms):
            raise self._error("", f"arms is {list(arms)}; one or more are required, each once. There are: {there}")
        if BASE.letter not in arms:
            raise self._error("", f"arms is {list(arms)}, without A; the others are compared with it")
        return arms

    def _seeds(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        return self._typed("", name, tuple[int, ...], default)

    def _check_seeds(self, seeds: tuple[int, ...], noise_seeds: tuple[int, ...]) -> None:
        if len(seeds) < LEAST_SEEDS:
            raise self._error(
                "",
                f"seeds has {len(seeds)}; at least {LEAST_SEEDS} an arm are required, since nothing can be said about "
                f"chance with fewer, and {len(SEEDS)} are the default",
            )
        for name, values in (("seeds", seeds), ("noise_seeds", noise_seeds)):
            if min(values, default=0) < 0 or len(set(values)) < len(values):
                raise self._error("", f"{name} is {list(values)}; whole numbers from 0 on are required, each once")
        if both := set(seeds) & set(noise_seeds):
            raise self._error("", f"noise_seeds has {min(both)}, which stands in seeds too; the A/A runs need others")

    def _command(self) -> tuple[str, ...]:
        text = self._typed("", "command", str, "")
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise self._error("", f"command cannot be split into words ({error})") from None
        if words and words.count(JOB) != 1:
            raise self._error(
                "",
                f"command is {text!r}; it must hold {JOB} once, as a word of its own: it stands for '-m bosrow train "
                f"...' or '-m bosrow eval ...', as in 'torchrun --standalone --nproc_per_node=8 {JOB}'",
            )
        return words

    def _by_arm(self) -> dict[str, dict[str, Any]]:
        tables = self.content.get("arm", {})
        found = {}
        for letter in tables if isinstance(tables, dict) else ():
            if letter not in ARMS:
                raise self._error("", f"[arm.{letter}]: there is no arm {letter!r}; there are: {', '.join(ARMS)}")
            table = tables[letter]
            label = f"arm.{letter}"
            for name in table if isinstance(table, dict) else ():
                if name not in BY_ARM and name in _fields(TrainOptions) | _fields(EvalOptions) | _fields(
                    PrepareOptions
                ):
                    raise self._error(
                        label,
                        f"{name} would differ between arms; only {' and '.join(BY_ARM)} may. Say it under [data], "
                        "[train] or [evaluation], for all arms",
                    )
            found[letter] = self._values(label, table, PrepareOptions, {}, BY_ARM)
        return found

    def _table(self, label: str, options: type, fixed: dict[str, str]) -> dict[str, Any]:
        allowed = [name for name in _fields(options) if name not in fixed]
        return self._values(label, self.content.get(label, {}), options, fixed, allowed)

    def _values(
        self, label: str, table: Any, options: type, fixed: dict[str, str], allowed: Iterable[str]
    ) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise OptionError(f"{self.path}: {label} is {table!r}; a table [{label}] is required")
        for name in table:
            if name in fixed:
                raise self._error(label, f"{name} cannot be set here: {fixed[name]}")
        self._known(f"[{label}]", table, allowed)
        hints = get_type_hints(options)
        return {name: self._convert(label, name, value, hints[name]) for name, value in table.items()}

    def _typed(self, label: str, name: str, hint: Any, default: Any) -> Any:
        return self._convert(label, name, self.content[name], hint) if name in self.content else default

    def _convert(self, label: str, name: str, value: Any, hint: Any) -> Any:
        """`value` as the type `hint` of an option; TOML knows text, whole numbers, numbers, booleans and lists."""
        if get_origin(hint) in (Union, UnionType):
            (hint,) = (part for part in get_args(hint) if part is not type(None))
        if get_origin(hint) is tuple and isinstance(value, list):
            return tuple(self._convert(label, name, item, get_args(hint)[0]) for item in value)
        if get_origin(hint) is Literal:
            if value in get_args(hint):
                return value
            raise self._error(label, f"{name} is {value!r}; there are: {', '.join(map(str, get_args(hint)))}")
        if hint is Path and isinstance(value, str):
            return Path(value)
        if hint is float and type(value) in (int, float):
            return float(value)
        if type(value) is hint:
            return value
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path as text"}
        raise self._error(label, f"{name} is {value!r}; {words.get(hint, 'a list')} is required")

    def _known(self, label: str, table: dict[str, Any], allowed: Iterable[str]) -> None:
        allowed = list(allowed)
        for name in table:
            if name not in allowed:
                near = difflib.get_close_matches(name, allowed, 1)
                hint = f"; the nearest is {near[0]!r}" if near else f"; there are: {', '.join(allowed)}"
                raise OptionError(f"{self.path}: {label} has no key {name!r}{hint}")

    def _error(self, label: str, text: str) -> OptionError:
        return OptionError(f"{self.path}: {f'[{label}] ' if label else ''}{text}")


def _fields(options: type) -> set[str]:
    return {field.name for field in dataclasses.fields(options)}
