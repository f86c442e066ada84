"""What is done between training steps, on all ranks: validation, benchmarks, a sample of text, the loss curve.

Promise: either everything that is due at a step is recorded, or Stopped is raised on every rank and a resumed run does
all of it again. No global random generator is used. A sample of text that fails is reported in one line and never ends
a run. Cost: a forward pass over the validation rows and the benchmark items that are due.
"""

from collections.abc import Callable
from typing import Any

from bosrow.dataset.batch_plan import BatchPlan
from bosrow.evals.training_benchmarks import TrainingBenchmarks
from bosrow.inspect.row_text import printable
from bosrow.model.gpt2 import GPT2
from bosrow.train.loss_curve import draw_curve
from bosrow.train.progress import TrainingProgress
from bosrow.train.run_folder import SAMPLES, RunFolder
from bosrow.train.schedule import is_due
from bosrow.train.setup import Setup
from bosrow.train.text_samples import sample_text
from bosrow.train.validation import validation_loss

# Entries of step_metrics.json and the fields of scalars.jsonl that they repeat.
STEP_METRICS = {
    "train_loss_last": "train_loss_raw_last",
    "lr": "lr_before_step",
    "grad_norm_l2": "grad_norm_l2_preclip",
    "param_norm_l2": "param_norm_l2",
    "tokens_seen_global_approx": "tokens_seen_global_approx",
}


class Evaluations:
    """The evaluations of one run. Made on all ranks, after they have joined and before the first step."""

    def __init__(
        self,
        setup: Setup,
        plan: BatchPlan,
        model: GPT2,
        folder: RunFolder,
        progress: TrainingProgress,
        stop_asked: Callable[[], bool],
    ) -> None:
        self.setup, self.plan, self.model, self.folder, self.progress = setup, plan, model, folder, progress
        self.options, self.world = setup.options, setup.world
        self.stop_asked = stop_asked
        self.benchmarks = TrainingBenchmarks(
            self.options, setup.data.data_dir, setup.data.manifest, self.world, progress.note, stop_asked
        )

    def run(self, step: int) -> bool:
        """Do what is due after `step`; False if nothing was. Raises Stopped on all ranks if one was asked to stop."""
        ended = self.setup.schedule.ends_at(step)
        validates = is_due(self.options.eval_every, step, ended)
        with self.progress.not_counted():
            self.benchmarks.wait(step, last=ended)
        found: dict[str, Any] = {}
        if validates and self.setup.val_rows is not None:
            found |= self._validate(step)
        found |= self.benchmarks.run(
            self.model,
            step,
            last=ended,
            dtype=self.setup.dtype,
            records=self.folder if self.world.is_main else None,
        )
        samples, draws = is_due(self.options.sample_every, step, ended), bool(found) or validates
        if self.world.is_main:
            if samples:
                self._sample(step)
            if draws:
                self._draw(step, found)
        return samples or draws

    def _validate(self, step: int) -> dict[str, Any]:
        assert self.setup.val_rows is not None
        validation = validation_loss(
            self.model,
            self.setup.val_rows,
            self.options.val_rows,
            batch_size=self.plan.micro_batch_size,
            dtype=self.setup.dtype,
            world=self.world,
            stop_asked=self.stop_asked,
        )
        if self.world.is_main:
            counts = {"val_batches": validation.batches, "val_rows": validation.rows}
            self.folder.scalars("val_loss", step, {"val_loss": validation.loss, **counts})
            self.progress.note(f"step {step:,}  validation loss {validation.loss:.4f}")
        return {"val_loss": validation.loss}

    def _sample(self, step: int) -> None:
        try:
            text = sample_text(self.model, self.setup.data.data_dir, self.setup.data.manifest, self.options.seed + step)
        except Exception as error:  # of the tokenizer's package or the device: it must not end the run
            self.progress.note(f"warning: step {step:,}: no sample of text ({type(error).__name__}: {error})")
            return
        if text is not None:
            self.folder.append(SAMPLES, {"step": step, "text": text})
            self.progress.note(f"step {step:,}  the model writes: {printable(text)}")

    def _draw(self, step: int, found: dict[str, Any]) -> None:
        """Add the results of the evaluations to step_metrics.json, and draw the loss curve."""
        records = self.folder.read_scalars()
        last = [record for record in records if record["type"] == "scalars"][-1]
        self.folder.step_metrics(
            {"step": step, **{ours: last[theirs] for ours, theirs in STEP_METRICS.items()}, **found}
        )
        draw_curve(records, self.folder.path / "loss_curve.png", self.folder.path.name)
