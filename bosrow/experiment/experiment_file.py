"""The TOML file of an experiment: arms, seeds, model, steps, source, evaluation.

    name = "sample"
    arms = ["A", "B", "C", "D"]      # bosrow/experiment/arms.py; these four by default
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
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bosrow.errors import OptionError
from bosrow.evals.eval_options import EvalOptions
from bosrow.experiment.arms import ARMS, BASE, DEFAULT_ARMS, with_sources
from bosrow.experiment.spec import BY_ARM, Experiment
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.strict_json import Invalid, typed
from bosrow.train.train_options import TrainOptions

LEAST_SEEDS = 3
SEEDS = (1, 2, 3, 4)
JOB = "{bosrow}"
# Published seed-to-seed deviation of the validation loss of a 124M GPT-2, 0.0013 nats a token, at ln 2 nats a bit and
# 4.5 bytes a token. Small models on little text scatter more: a pilot's own figure makes a better plan.
DEVIATION = 0.0013 / 0.6931 / 4.5

# What a table may not hold, and why.
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


@dataclass(frozen=True, kw_only=True)
class _TopOfFile:
    """The keys outside tables, and the tables as they stand."""

    name: str = ""
    out_dir: Path | None = None
    arms: tuple[str, ...] = DEFAULT_ARMS
    seeds: tuple[int, ...] = SEEDS
    noise_seeds: tuple[int, ...] | None = None
    command: str = ""
    deviation: float = DEVIATION
    data: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    arm: dict[str, Any] = field(default_factory=dict)


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
    try:
        return _experiment(path.stem, content)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None


def _experiment(default_name: str, content: dict[str, Any]) -> Experiment:
    """Everything, checked. Raises OptionError, which names table and key."""
    top = _TopOfFile(**_typed("", content, _TopOfFile))
    name = top.name if "name" in content else default_name
    beyond = max(top.seeds, default=0) + 1
    noise_seeds = top.noise_seeds
    if noise_seeds is None:
        noise_seeds = tuple(range(beyond, beyond + len(top.seeds)))
    _check_arms(top.arms)
    _check_seeds(top.seeds, noise_seeds)
    train = TRAIN_DEFAULTS | _options("train", top.train, TrainOptions, TRAIN_FIXED)
    # A run that diverges is shown in the report, so it must come to its end.
    train.setdefault("max_skipped_steps", train.get("max_train_steps", TrainOptions.max_train_steps))
    experiment = Experiment(
        name=name,
        out_dir=top.out_dir or Path("experiments") / f"ab_{name}",
        arms=top.arms,
        seeds=top.seeds,
        noise_seeds=noise_seeds,
        command=_words(top.command),
        deviation=top.deviation,
        data={"val_fraction": 0.005} | _options("data", top.data, PrepareOptions, DATA_FIXED),
        train={"seq_len": 1024} | train,
        evaluation=EVALUATION_DEFAULTS | _options("evaluation", top.evaluation, EvalOptions, EVALUATION_FIXED),
        by_arm=_by_arm(top.arm),
    )
    _check(experiment)
    return experiment


def _check(experiment: Experiment) -> None:
    """Let the options of every verb check themselves, before anything is made; then what ab itself requires."""
    run = experiment.runs()[0]
    preparations = [experiment.prepare_options(arm) for arm in with_sources(experiment.arms)]
    training = experiment.train_options(run)
    evaluation = experiment.eval_options(run, Path(), (experiment.data_dir(BASE),))
    for label, table in (("train", experiment.train), ("evaluation", experiment.evaluation)):
        for name, value in table.items():
            if isinstance(value, Path) and not value.exists():
                raise _error(label, f"{name} is {str(value)!r}, and there is no such file or folder")
    if not preparations[0].val_fraction:
        raise _error("data", "val_fraction is 0; the arms are compared on val documents, so some are required")
    if not training.save_every:
        raise _error("train", "save_every is 0; the last checkpoint of each run is evaluated, so it is needed")
    if not experiment.deviation > 0:
        raise _error("", f"deviation is {experiment.deviation}; more than 0 is required")
    if "bits_per_byte" not in evaluation.task_names:
        raise _error("evaluation", "tasks lacks bits_per_byte, the measure that the verdict is about")


def _check_arms(arms: tuple[str, ...]) -> None:
    there = ", ".join(f"{arm.letter} ({arm.name})" for arm in ARMS.values())
    for letter in arms:
        if letter not in ARMS:
            raise _error("", f"arms has {letter!r}; there are: {there}")
    if not arms or len(set(arms)) < len(arms):
        raise _error("", f"arms is {list(arms)}; one or more are required, each once. There are: {there}")
    if BASE.letter not in arms:
        raise _error("", f"arms is {list(arms)}, without A; the others are compared with it")


def _check_seeds(seeds: tuple[int, ...], noise_seeds: tuple[int, ...]) -> None:
    if len(seeds) < LEAST_SEEDS:
        raise _error(
            "",
            f"seeds has {len(seeds)}; at least {LEAST_SEEDS} an arm are required, since nothing can be said about "
            f"chance with fewer, and {len(SEEDS)} are the default",
        )
    for name, values in (("seeds", seeds), ("noise_seeds", noise_seeds)):
        if min(values, default=0) < 0 or len(set(values)) < len(values):
            raise _error("", f"{name} is {list(values)}; whole numbers from 0 on are required, each once")
    if both := set(seeds) & set(noise_seeds):
        raise _error("", f"noise_seeds has {min(both)}, which stands in seeds too; the A/A runs need others")


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise _error("", f"command cannot be split into words ({error})") from None
    if words and words.count(JOB) != 1:
        raise _error(
            "",
            f"command is {command!r}; it must hold {JOB} once, as a word of its own: it stands for '-m bosrow train "
            f"...' or '-m bosrow eval ...', as in 'torchrun --standalone --nproc_per_node=8 {JOB}'",
        )
    return words


def _by_arm(tables: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of packing that some arms have for themselves, by letter."""
    shared = {name for options in (PrepareOptions, TrainOptions, EvalOptions) for name in _names(options)}
    shared -= set(BY_ARM)
    found = {}
    for letter, table in tables.items():
        label = f"arm.{letter}"
        if letter not in ARMS:
            raise _error("", f"[{label}]: there is no arm {letter!r}; there are: {', '.join(ARMS)}")
        for name in _table(label, table):
            if name in shared:
                raise _error(
                    label,
                    f"{name} would differ between arms; only {' and '.join(BY_ARM)} may. Say it under [data], "
                    "[train] or [evaluation], for all arms",
                )
        found[letter] = _typed(label, table, PrepareOptions, without=shared)
    return found


def _table(label: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{label} is {value!r}; a table [{label}] is required")
    return value


def _options(label: str, table: dict[str, Any], options: type, fixed: dict[str, str]) -> dict[str, Any]:
    """The values of the table [label], each of the type of its option. `fixed` says what it may not hold, and why."""
    for name in table:
        if name in fixed:
            raise _error(label, f"{name} cannot be set here: {fixed[name]}")
    return _typed(label, table, options, without=fixed)


def _typed(label: str, table: dict[str, Any], fields: type, without: Iterable[str] = ()) -> dict[str, Any]:
    """The values of `table`, each of the type of the field of its name; there is no key without a field."""
    hints = get_type_hints(fields)
    allowed = [name for name in _names(fields) if name not in without]
    found = {}
    for name, value in table.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"; the nearest is {near[0]!r}" if near else f"; there are: {', '.join(allowed)}"
            raise OptionError(f"{f'[{label}]' if label else 'the top'} has no key {name!r}{hint}")
        try:
            found[name] = typed(value, hints[name], name)
        except Invalid:
            raise _error(label, f"{name} is {value!r}; {_required(name, hints[name])}") from None
    return found


def _required(name: str, hint: Any) -> str:
    """What a value of the type `hint` looks like in TOML."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        return f"there are: {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is dict:
        return f"a table [{name}] is required"
    if get_origin(hint) is tuple:
        words = {int: "whole numbers", str: "texts", Path: "paths as texts"}
        return f"a list of {words[get_args(hint)[0]]} is required"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path as text"}
    return f"{words[hint]} is required"


def _names(options: type) -> list[str]:
    """The names of the fields, in order."""
    return [one.name for one in dataclasses.fields(options)]


def _error(label: str, text: str) -> OptionError:
    return OptionError(f"[{label}] {text}" if label else text)
