"""Resumes a run from its newest undamaged checkpoint, and cuts its records back to that step.

Promise: all ranks take the checkpoint that the main rank has chosen. A checkpoint of another run is refused with what
differs; a damaged one is passed over with a warning. Cost: every file of the chosen checkpoint is read twice, once for
its checksum.
"""

from pathlib import Path

import torch

from bosrow.errors import OptionError, UserError
from bosrow.model.gpt2 import GPT2
from bosrow.train import checkpoint
from bosrow.train.checkpoint import TrainingState
from bosrow.train.run_folder import SCALARS, RunFolder
from bosrow.train.run_identity import require_same_identity
from bosrow.train.setup import Setup


def resume(setup: Setup, folder: RunFolder, model: GPT2, optimizer: torch.optim.AdamW) -> TrainingState | None:
    """Fill `model` and `optimizer` from the newest undamaged checkpoint, and cut the records back to it; on all ranks.

    Returns None if there is no checkpoint, so that the run starts from step 0. Raises UserError if the folder belongs
    to another run, or has only damaged checkpoints.
    """
    path, world = folder.path, setup.world
    newest = _newest_checkpoint(setup, path) if world.is_main else None
    kind, step = checkpoint.kind_and_step(newest) if newest else ("periodic", -1)
    final, step = world.from_main([kind == "final", step])
    recorded = folder.recorded_identity()
    if recorded is not None:
        require_same_identity(path, then=recorded, now=setup.identity)
    state: TrainingState | None = None
    if step >= 0:
        chosen = checkpoint.folder_of(path, "final" if final else "periodic", step)
        _, bound_to = checkpoint.read_state(chosen, check_files=False)
        require_same_identity(chosen, then=bound_to, now=setup.identity)
        state = checkpoint.load_checkpoint(chosen, model, optimizer)
        world.say(f"going on from {chosen}")
        if world.is_main:
            checkpoint.set_newer_aside(chosen)
    elif recorded is not None:
        world.say(f"{path} has no checkpoint yet; starting from step 0")
    if world.is_main:
        at = state or TrainingState()
        folder.cut_back(at.step, evaluated=at.evaluated)
    world.wait_for_all()
    return state


def _newest_checkpoint(setup: Setup, path: Path) -> Path | None:
    """The newest undamaged checkpoint of the run folder `path`; None if it has no checkpoint at all."""
    found = checkpoint.checkpoints(path)
    if setup.options.resume == "off" and (found or (path / SCALARS).exists()):
        raise OptionError(f"--resume off: {path} holds a run already; remove it, or choose another --run_dir")
    newest = checkpoint.newest_valid(path, lambda text: setup.world.say(f"warning: {text}"))
    if found and newest is None:
        raise UserError(f"{path} has no undamaged checkpoint; start again in another --run_dir")
    return newest
