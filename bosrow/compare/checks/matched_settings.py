"""Whether runs differ in their data and seeds alone, as a fair comparison requires.

A difference in what is trained (model, tokens a step, steps, schedule, optimizer) makes any verdict inconclusive;
one in how it is run or evaluated (micro batch, evaluations, device) is shown beside it.
"""

import json
from dataclasses import dataclass
from typing import Any

from bosrow.compare.grouping import Arm
from bosrow.compare.runs import Run
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


@dataclass(frozen=True)
class Mismatch:
    """A knob that is not the same everywhere: each value, as text, with who has it."""

    knob: str
    decisive: bool
    values: dict[str, list[str]]

    def __str__(self) -> str:
        return f"{self.knob}: " + "; ".join(f"{value} in {', '.join(who)}" for value, who in self.values.items())


def mismatches(arms: list[Arm]) -> list[Mismatch]:
    """Every knob in which the runs of `arms` differ, the decisive ones first."""
    runs = [run for arm in arms for run in (*arm.runs, *arm.noise)]
    model = sorted({name for run in runs for name in run.model})
    found = [
        *(_differing(f"model.{name}", True, [(run.name, run.model.get(name)) for run in runs]) for name in model),
        *(_differing(name, True, [(run.name, run.options.get(name)) for run in runs]) for name in DECISIVE),
        _differing("seeds", False, [(arm.label, arm.seeds) for arm in arms]),
        *(_differing(name, False, [(run.name, run.options.get(name)) for run in runs]) for name in SHOWN),
        *(_differing(name, False, [(run.name, run.machine.get(name)) for run in runs]) for name in MACHINE),
    ]
    return [mismatch for mismatch in found if mismatch is not None]


def _differing(knob: str, decisive: bool, values: list[tuple[str, Any]]) -> Mismatch | None:
    who: dict[str, list[str]] = {}
    for name, value in values:
        who.setdefault(json.dumps(value), []).append(name)
    return Mismatch(knob, decisive, who) if len(who) > 1 else None


def matched(runs: list[Run]) -> dict[str, Any]:
    """The knobs as the first run has them: what was held equal."""
    first = runs[0]
    named = {name: first.options.get(name) for name in (*DECISIVE, *SHOWN)}
    return {**{f"model.{name}": value for name, value in first.model.items()}, **named, **first.machine}


def refuse(found: list[Mismatch]) -> None:
    """Raises UserError that names every difference, if there is one."""
    if found:
        lines = "\n".join(f"  {mismatch}" for mismatch in found)
        raise UserError(
            f"the runs differ in more than their data:\n{lines}\nmake them alike, or compare them without --strict"
        )
