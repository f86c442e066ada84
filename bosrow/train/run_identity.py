"""The identity of a run (data, model, training options, stages), and whether a command may go on with the run.

Promise: a command that would train anything else than the run in the folder is refused, and all differences are shown.
"""

from pathlib import Path
from typing import Any, get_type_hints

from bosrow.errors import DataSetError, UserError
from bosrow.report.then_and_now import Change, then_and_now
from bosrow.train.schedule import Stage

# Options that must be the same to go on from a checkpoint: with another value, it would be another run.
IDENTITY = (
    *("seed", "seq_len", "total_batch_tokens", "max_train_steps", "learning_rate", "warmup_iters"),
    *("learning_rate_decay_frac", "weight_decay", "beta1", "beta2", "grad_clip"),
)  # --extend adds "earlier_stages", see `stages_of`
STAGE: dict[str, type] = get_type_hints(Stage)  # the options that --extend may change


def stages_of(identity: dict[str, Any]) -> tuple[Stage, ...]:
    """The stages of the schedule in a run's identity: those before --extend, and its own.

    Raises DataSetError if the identity does not hold them.
    """
    try:
        found = [*identity.get("earlier_stages", []), {name: identity[name] for name in STAGE}]
        return tuple(Stage(**{name: kind(stage[name]) for name, kind in STAGE.items()}) for stage in found)
    except (KeyError, TypeError, ValueError):
        raise DataSetError("the run's identity in config.json was damaged or edited; it holds no schedule") from None


def require_same_identity(folder: Path, *, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise UserError with the differences if `folder` belongs to a run of other data, model or training options.

    With --extend, the run in the folder may lack the last stages that this command asks for.
    """
    names = [name for name in now | then if now.get(name) != then.get(name)]
    if now.get("earlier_stages") and stages_of(now)[: len(stages_of(then))] == stages_of(then):
        names = [name for name in names if name not in (*STAGE, "earlier_stages")]
    if not names:
        return
    hint = "\nTo train more steps, with the same moments and a new warm-up of the learning rate, add --extend."
    longer = now.get("max_train_steps", 0) > then.get("max_train_steps", 0)
    raise UserError(
        f"{folder} belongs to another run; give the options it was made with, or another --run_dir. They differ in "
        "(that run -> this command):\n"
        + then_and_now(Change(name, then.get(name), now.get(name)) for name in names)
        + (hint if longer or "earlier_stages" in names else "")
    )
