"""Run folders as `bosrow train` and `bosrow eval` write them, with figures that a test chooses."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

DEVIATION = 0.0013  # between seeds
STEPS = 40
OPTIONS = {
    "seq_len": 64,
    "total_batch_tokens": 512,
    "micro_batch_size": 8,
    "max_train_steps": STEPS,
    "learning_rate": 6e-4,
    "warmup_iters": 4,
    "learning_rate_decay_frac": 0.0,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 1.0,
    "init_from": None,
    "eval_every": 10,
    "val_rows": 100,
    "heldout_every": 10,
    "hellaswag_every": 0,
    "ewok_every": 0,
}
MODEL = {"vocab_size": 61, "seq_len": 64, "n_embd": 16, "n_head": 2, "n_layer": 2, "parameters": 10_000}
DOCUMENTS, ITEMS, ROWS = 60, 80, 40


def write_run(
    folder: Path,
    seed: int,
    *,
    policy: str = "stream",
    effect: float = 0.0,
    arm: dict[str, str] | None = None,
    evaluated: bool = True,
    heldout: bool = True,
    options: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    fingerprint: str | None = None,
    data_dir: str = "gone",
    steps: int = STEPS,
    deviation: float = DEVIATION,
) -> Path:
    """A run whose final bits per byte are 1.2 + `effect` and the seed's own deviation; returns `folder`."""
    folder.mkdir(parents=True)
    fingerprint = fingerprint or (arm or {}).get("name", policy).encode().hex().ljust(64, "0")[:64]
    random = np.random.default_rng([seed, *fingerprint.encode()])
    final = 1.2 + effect + deviation * random.standard_normal()
    chosen = OPTIONS | {"seed": seed, "data_dir": data_dir} | (options or {})
    config = {
        "options": chosen,
        "model": MODEL | (model or {}),
        "batch": {"world_size": 1, "tokens_per_step": chosen["total_batch_tokens"]},
        "data": {"fingerprint": fingerprint, "policy": policy, "train_rows": 100, "val_rows": 100},
        "device": "cpu",
        "dtype": "float32",
        "versions": {"bosrow": "0"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = 4 * (final + math.exp(-step / 10)) + 0.02 * random.standard_normal()
        norm = 0.6 + 0.1 * random.random()
        lines.append(
            {
                "type": "scalars",
                "step": step,
                "train_loss_opt_step_mean": loss,
                "grad_norm_l2_preclip": norm,
                "tokens_per_second": 1000 + 10 * random.standard_normal(),
                "skipped": False,
            }
        )
        if step % 10 == 0:
            at = final + math.exp(-step / 10) - math.exp(-STEPS / 10)
            lines.append({"type": "val_loss", "step": step, "val_loss": 4 * at, "val_rows": 100})
            if heldout:
                lines.append({"type": "bits_per_byte", "step": step, **bits_result(at)})
    (folder / "scalars.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if arm is not None:
        (folder / "arm.json").write_text(json.dumps(arm))
    if evaluated:
        write_evaluation(folder / "evaluation", final, random)
    return folder


def bits_result(bits: float | None) -> dict[str, Any]:
    by_distance = [{"from": 2**k, "tokens": 100, "loss": (bits or 1.2) * 4 - 0.1 * k} for k in range(7)]
    return {
        "bits_per_byte": bits,
        "document_bits_per_byte": bits,  # all documents are of one length
        "documents": DOCUMENTS,
        "bytes": DOCUMENTS * 1000,
        "tokens": DOCUMENTS * 250,
        "window": 64,
        "stride": 32,
        "by_distance": by_distance,
    }


def write_evaluation(folder: Path, final: float, random: np.random.Generator) -> None:
    """summary.json and the items' files of one checkpoint."""
    documents = np.random.default_rng(5).normal(0, 0.1, DOCUMENTS)  # the same for all runs
    bits = 1000 * (final + documents - documents.mean())
    results: list[dict[str, Any]] = [{"task": "bits_per_byte", "bos": True, **bits_result(final)}]
    for name, policy, extra in (("packed_val", "crop", 0.05), ("stream_val", "stream", 0.1)):
        position = [4 * final + 1 / (1 + place) + extra for place in range(64)]
        loss = {"loss": 4 * final + extra, "loss_without_bos_targets": 4 * final, "bos_targets": 77}
        results.append(
            {"task": "rows", "rows_of": name, "policy": policy, "rows": ROWS, "by_position": position, **loss}
        )
    lines = [
        {"document": number, "logprob": -value * math.log(2), "tokens": 250, "bytes": 1000}
        for number, value in enumerate(bits.tolist())
    ]
    write_lines(folder / "items_bits_per_byte.jsonl", lines)
    for bos in (False, True):
        inside = folder / ("bos_yes" if bos else "bos_no")
        logprobs = random.normal(-20, 2, (ITEMS, 4))
        right = float((logprobs.argmax(axis=1) == 0).mean())
        items = [
            {"item": number, "logprobs": row, "tokens": [5] * 4, "label": 0}
            for number, row in enumerate(logprobs.tolist())
        ]
        write_lines(inside / "items_hellaswag.jsonl", items)
        accuracies = {"accuracy": right, "accuracy_norm": right, "norm": "token", "chance": 0.25}
        results.append({"task": "hellaswag", "bos": bos, "rule": "reference", "items": ITEMS, **accuracies})
        margins = random.normal(0.1, 1, ITEMS)
        ewok = [{"item": n, "sum": {"m": m}, "mean": {"m": m / 5}} for n, m in enumerate(margins.tolist())]
        write_lines(inside / "ewok_items.jsonl", ewok)
        share = {"accuracy": float((margins > 0).mean())}
        results.append(
            {"task": "ewok", "bos": bos, "rule": "m", "items": ITEMS, "chance": 0.5, "sum": share, "mean": share}
        )
    checkpoint = {"name": f"ckpt_final_step{STEPS:07d}", "path": "x", "step": STEPS, "results": results}
    (folder / "summary.json").write_text(json.dumps({"schema": 1, "checkpoints": [checkpoint]}))


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


ARMS = {"A": ("stream", "stream", 0.0), "B": ("crop", "crop", -0.006), "C": ("stream of B", "stream", 0.004)}
ARMS |= {"D": ("keep", "keep", -0.008)}


def write_experiment(folder: Path, seeds: int = 4, arms: str = "ABCD", noise: bool = True) -> list[Path]:
    """Runs of an experiment of `arms`, and an A/A group of A with other seeds."""
    runs = []
    for letter in arms:
        name, policy, effect = ARMS[letter]
        for seed in range(1, seeds + 1):
            arm = {"arm": letter, "name": name, "group": "main"}
            runs.append(write_run(folder / f"{letter}_{seed}", seed, policy=policy, effect=effect, arm=arm))
    for seed in range(101, 101 + seeds) if noise else ():
        arm = {"arm": "A", "name": "stream", "group": "noise_floor"}
        runs.append(write_run(folder / f"noise_{seed}", seed, arm=arm))
    return runs
