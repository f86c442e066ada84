"""Draws loss_curve.png: training loss (raw and smoothed), validation loss, and below them the learning rate."""

from pathlib import Path
from typing import Any

import numpy as np

from bosrow.report.plot_file import plot_file

BLUE, ORANGE, GREY = "#2f6fb0", "#d9662b", "#555555"


def smoothed(values: np.ndarray, span: int) -> np.ndarray:
    """The mean of the `span` values around each value (fewer at the ends), so that the line does not lag behind."""
    window = np.ones(min(span, len(values)))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def draw_curve(records: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the records of scalars.jsonl to `path`, atomically. Steps whose loss was not finite are left out."""
    steps = [
        record for record in records if record["type"] == "scalars" and record["train_loss_opt_step_mean"] is not None
    ]
    validations = [record for record in records if record["type"] == "val_loss" and record["val_loss"] is not None]
    if not steps:
        return
    x = np.array([record["step"] for record in steps])
    loss = np.array([record["train_loss_opt_step_mean"] for record in steps])
    rate = np.array([record["lr_before_step"] for record in steps])
    with plot_file(path, (9, 6)) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        above.plot(x, loss, color=BLUE, alpha=0.25, linewidth=0.8, label="train")
        above.plot(x, smoothed(loss, max(5, len(loss) // 50)), color=BLUE, linewidth=1.8, label="train, smoothed")
        if validations:
            at = [record["step"] for record in validations]
            losses = [record["val_loss"] for record in validations]
            above.plot(at, losses, color=ORANGE, linewidth=1.5, marker="o", markersize=3.5, label="validation")
            above.annotate(f"{losses[-1]:.3f}", (at[-1], losses[-1]), (4, 6), textcoords="offset points", color=ORANGE)
        above.set_ylabel("loss (nats a token)")
        above.set_title(title, fontsize=10, color=GREY, loc="left", wrap=True)
        above.legend(frameon=False)
        above.grid(alpha=0.25, linewidth=0.6)
        below.plot(x, rate, color=GREY, linewidth=1.5)
        below.set_ylabel("learning rate")
        below.set_xlabel("optimizer step")
        below.set_ylim(bottom=0)
        below.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        below.grid(alpha=0.25, linewidth=0.6)
