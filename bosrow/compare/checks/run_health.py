"""Whether a run ended, and whether it went astray. Such runs are shown and counted, never dropped."""

import math

import numpy as np

from bosrow.compare.metrics.metric import Metric
from bosrow.compare.runs import TrainedRun

RISE_NATS = 0.5  # a smoothed training loss that ends so far above its lowest has gone astray
FAR_OFF = 0.05  # as has a primary metric so far, as a share, from the median of the arm's other seeds
SMOOTH_SHARE = 0.05  # of the steps; over 2%, of 400 small steps, documents that are hard to learn pass for a divergence


def ailments(run: TrainedRun, arm: tuple[TrainedRun, ...], primary: Metric) -> list[str]:
    """What is wrong with a run, in words; none for a healthy one."""
    found = []
    if not run.finished:
        found.append(f"has not ended: step {run.last_step:,} of {run.options['max_train_steps']:,}")
    loss = run.steps.train_loss
    if not np.isfinite(loss[-1]):
        found.append("diverged: its last training loss is not finite")
    elif rise(loss) > RISE_NATS:
        found.append(f"diverged: its training loss ends {rise(loss):.2f} nats above its lowest")
    if run.steps.skipped.any():
        found.append(f"{int(run.steps.skipped.sum())} steps were not finite and changed no weight")
    value = primary.values.get(str(run.path))
    if value is not None and not math.isfinite(value):
        found.append("diverged: its primary figure is not finite")
    others = primary.of(other for other in arm if other is not run)
    if value is not None and math.isfinite(value) and len(others) >= 2:
        away = value / float(np.median(others)) - 1
        if abs(away) > FAR_OFF:
            found.append(f"far off: {away:+.1%} from the median of the arm's other seeds")
    return found


def rise(loss: np.ndarray) -> float:
    """How far the smoothed loss ends above its lowest point, in nats, over the finite steps."""
    finite = loss[np.isfinite(loss)]
    width = max(5, round(SMOOTH_SHARE * len(finite)))
    if len(finite) < 2 * width:
        return 0.0
    smooth = np.convolve(finite, np.ones(width) / width, mode="valid")
    return float(smooth[-1] - smooth.min())
