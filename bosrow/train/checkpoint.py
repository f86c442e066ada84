"""Checkpoints: folders that appear complete or not at all, and are used only after every byte was checked.

    ckpt_periodic_step0002000/
        config.json, model.safetensors    loads in transformers as it is
        optimizer.safetensors             AdamW's two moments of each parameter
        state.json                        step, identity of the run, sizes and SHA-256 of the other files, a seal

The seal is the SHA-256 of the rest of state.json.

Promise: if the process is killed at any moment, the newest complete checkpoint is still there. A resumed run has the
same weights, moments and position, bit for bit. No state of random generators is stored: the initial weights and the
order of rows follow from the seed, samples of text from seed and step, and nothing else is random.
Cost: 12 bytes a parameter on disk, written and read back once.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bosrow.errors import DataSetError, MachineError, UserError
from bosrow.files import read_untrusted, replace_file, sha256_of, sync_folder
from bosrow.model.gpt2 import GPT2
from bosrow.model.pretrained import CONFIG, WEIGHTS, config_json, load_weights
from bosrow.strict_json import Count, Invalid, Record, Sha256, parse_json, typed

SCHEMA = 1
STATE = "state.json"
OPTIMIZER = "optimizer.safetensors"
NAME = re.compile(r"ckpt_(periodic|final)_step(\d{7,})")
UNFINISHED, DOOMED, DAMAGED = ".unfinished_", ".doomed_", "damaged_"
MOMENTS = ("exp_avg", "exp_avg_sq")

Kind = Literal["periodic", "final"]
FileName = Annotated[str, msgspec.Meta(pattern=r"\A[\w-][\w.-]*\Z")]  # in the checkpoint's folder


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How far a run has come, without its weights and moments. `step` counts completed optimizer steps."""

    step: Count = 0
    skipped_steps: Count = 0  # of these, steps that changed no weight, since loss or gradient was not finite
    tokens_per_rank: Count = 0  # that each rank has read since step 0
    evaluated: bool = True  # False: the evaluations due at `step` are not done; a resumed run does them first


class CheckpointFile(Record):
    """The size and checksum that a file of a checkpoint must have."""

    bytes: Count
    sha256: Sha256


class CheckpointContent(Record):
    """state.json without its seal."""

    schema: int
    run: TrainingState
    identity: dict[str, Any]  # a run must have the same to go on from the checkpoint
    files: dict[FileName, CheckpointFile]


def save_checkpoint(
    run_dir: Path,
    kind: Kind,
    model: GPT2,
    optimizer: torch.optim.AdamW,
    state: TrainingState,
    identity: dict[str, Any],
    tokenizer_files: Iterable[Path] = (),
) -> Path:
    """Write a checkpoint of `model` and `optimizer` to `run_dir`, with copies of `tokenizer_files`.

    A run must have the same `identity` to go on from it. Raises MachineError if the disk is full; then no part of the
    checkpoint is left.
    """
    folder = folder_of(run_dir, kind, state.step)
    unfinished = run_dir / f"{UNFINISHED}{folder.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        replace_file(unfinished / CONFIG, config_json(model.config))
        _save_tensors(unfinished / WEIGHTS, model.stored(lambda parameter: parameter.detach()))
        _save_tensors(unfinished / OPTIMIZER, _moments(model, optimizer))
        for file in tokenizer_files:
            replace_file(unfinished / file.name, file.read_bytes())
        files = {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path).hexdigest()}
            for path in sorted(unfinished.iterdir())
        }
        content = {"schema": SCHEMA, "run": asdict(state), "identity": identity, "files": files}
        replace_file(unfinished / STATE, json.dumps(content | {"seal": _seal(content)}, indent=2).encode() + b"\n")
        sync_folder(unfinished)
    except (SafetensorError, MachineError, OSError) as error:
        shutil.rmtree(unfinished)
        raise MachineError(
            f"{folder} cannot be written ({error}); make room and give the same command again, "
            "which goes on from the checkpoint before"
        ) from error
    os.rename(unfinished, folder)
    sync_folder(run_dir)
    return folder


def _moments(model: GPT2, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
    """Both moments by parameter name; empty before the first update."""
    tensors: dict[str, torch.Tensor] = {}
    for moment in MOMENTS if optimizer.state else ():
        kept = {parameter: state[moment] for parameter, state in optimizer.state.items()}
        tensors |= {f"{moment}.{name}": tensor for name, tensor in model.stored(kept.__getitem__).items()}
    return tensors


def _save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"})
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _remove(folder: Path) -> None:
    """Delete a checkpoint. It is renamed first, so that a half-deleted folder is not taken for a checkpoint."""
    doomed = folder.with_name(DOOMED + folder.name)
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def folder_of(run_dir: Path, kind: Kind, step: int) -> Path:
    """The folder of the checkpoint at `step`."""
    return run_dir / f"ckpt_{kind}_step{step:07d}"


def kind_and_step(folder: Path) -> tuple[Kind, int]:
    """The inverse of `folder_of`."""
    match = NAME.fullmatch(folder.name)
    assert match is not None
    return ("final" if match[1] == "final" else "periodic"), int(match[2])


def checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoint folders of a run, newest first; at the same step, the final one first."""
    found = [folder for folder in run_dir.iterdir() if NAME.fullmatch(folder.name)]
    return sorted(found, key=lambda folder: (kind_and_step(folder)[1], kind_and_step(folder)[0] == "final"))[::-1]


def newest_valid(run_dir: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is not damaged, or None. `warn` is called for each damaged one that is passed over.

    Raises UserError if it was written by another version of bosrow.
    """
    for folder in checkpoints(run_dir):
        try:
            read_state(folder, check_files=True)
        except (DataSetError, OSError) as error:
            warn(f"passing over a damaged checkpoint: {error}")
        else:
            return folder
    return None


def set_newer_aside(folder: Path) -> None:
    """Rename the damaged checkpoints that are newer than `folder`, so that they do not mix with those still to come."""
    found = checkpoints(folder.parent)
    for damaged in found[: found.index(folder)]:
        aside = damaged.with_name(DAMAGED + damaged.name)
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(damaged, aside)


def read_state(folder: Path, *, check_files: bool) -> tuple[TrainingState, dict[str, Any]]:
    """The state and the identity of the run, from a checkpoint.

    Raises DataSetError if the checkpoint is damaged (with `check_files`, any file of it), UserError if another version
    of bosrow wrote it.
    """
    path = folder / STATE
    content = parse_json(read_untrusted(path), str(path))
    seal = content.pop("seal", None)
    if seal != _seal(content):
        raise DataSetError(f"{path} does not match its own checksum; it was damaged or edited")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {content.get('schema')}; this bosrow reads schema {SCHEMA}")
    try:
        stored = typed(content, CheckpointContent)
    except Invalid as error:
        raise DataSetError(f"{path} is not as bosrow writes it: {error}") from None
    for name, file in stored.files.items() if check_files else ():
        if not (folder / name).is_file() or (folder / name).stat().st_size != file.bytes:
            raise DataSetError(f"{folder / name} is missing or does not have its {file.bytes:,} bytes")
        if sha256_of(folder / name).hexdigest() != file.sha256:
            raise DataSetError(f"{folder / name} does not match its checksum")
    return stored.run, stored.identity


def load_checkpoint(folder: Path, model: GPT2, optimizer: torch.optim.AdamW) -> TrainingState:
    """Fill `model` and `optimizer` from `folder`, which `newest_valid` has checked."""
    state, _ = read_state(folder, check_files=False)
    load_weights(model, folder)
    moments = load_file(folder / OPTIMIZER)
    updates = float(state.step - state.skipped_steps)
    for name, parameter in model.named_parameters():
        if moments:
            kept = {moment: model.padded(name, moments[f"{moment}.{name}"]).to(parameter.device) for moment in MOMENTS}
            optimizer.state[parameter] = {"step": torch.tensor(updates, device=parameter.device), **kept}
    return state


def prune(run_dir: Path, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints (0: keep all), and what an interrupted save has left behind.

    Final checkpoints are always kept: an extended run has several.
    """
    for folder in [*run_dir.glob(f"{UNFINISHED}*"), *run_dir.glob(f"{DOOMED}*")]:
        shutil.rmtree(folder)
    for folder in checkpoints(run_dir)[keep:] if keep else ():
        if kind_and_step(folder)[0] != "final":
            _remove(folder)
