"""Whether runs differ in their data and seeds alone, as a fair comparison requires.

A difference in what is trained (model, tokens a step, steps, schedule, optimizer) makes any verdict inconclusive;
one in how it is run or evaluated (micro batch, evaluations, device) is shown beside it.
"""

import json
from typing import Any

from bosrow.compare.grouping import Arm
from bosrow.compare.result import DifferingSetting, SettingsOfRuns
from bosrow.compare.runs import TrainedRun
from bosrow.errors import UserError

DECISIVE = (
    *("seq_len", "total_batch_tokens", "max_train_steps", "learning_rate", "warmup_iters"),
    *("learning_rate_decay_frac", "weight_decay", "beta1", "beta2", "grad_clip", "init_from"),
)
SHOWN = (
    *("micro_batch_size", "eval_every", "val_rows", "heldout_every", "heldout_max_documents", "hellaswag_every"),
    *("hellaswag_max_examples", "hellaswag_rule", "ewok_every", "compile"),
)
MACHINE = ("device", "dtype", "world_size", "versions")


def differing_settings(arms: list[Arm]) -> list[DifferingSetting]:
    """Every setting in which the runs of `arms` differ, the decisive ones first."""
    runs = [run for arm in arms for run in (*arm.runs, *arm.noise)]
    model = sorted({name for run in runs for name in run.model})
    found = [
        *(_differing(f"model.{name}", True, [(run.name, run.model.get(name)) for run in runs]) for name in model),
        *(_differing(name, True, [(run.name, run.options.get(name)) for run in runs]) for name in DECISIVE),
        _differing("seeds", False, [(arm.label, arm.seeds) for arm in arms]),
        *(_differing(name, False, [(run.name, run.options.get(name)) for run in runs]) for name in SHOWN),
        *(_differing(name, False, [(run.name, run.machine.get(name)) for run in runs]) for name in MACHINE),
    ]
    return [one for one in found if one is not None]


def _differing(name: str, decisive: bool, values: list[tuple[str, Any]]) -> DifferingSetting | None:
    who: dict[str, list[str]] = {}
    for run, value in values:
        who.setdefault(json.dumps(value), []).append(run)
    return DifferingSetting(name=name, decisive=decisive, values=who) if len(who) > 1 else None


def settings_of(runs: list[TrainedRun], different: list[DifferingSetting]) -> SettingsOfRuns:
    """What was held equal, as the first run has it, and what was not."""
    names = {one.name for one in different}
    same = {name: value for name, value in _settings(runs[0]).items() if name not in names}
    return SettingsOfRuns(same=same, different=different)


def _settings(run: TrainedRun) -> dict[str, Any]:
    named = {name: run.options.get(name) for name in (*DECISIVE, *SHOWN)}
    return {**{f"model.{name}": value for name, value in run.model.items()}, **named, **run.machine}


def refuse(different: list[DifferingSetting]) -> None:
    """Raises UserError that names every difference, if there is one."""
    if different:
        lines = "\n".join(f"  {one}" for one in different)
        raise UserError(
            f"the runs differ in more than their data:\n{lines}\nmake them alike, or compare them without --strict"
        )
