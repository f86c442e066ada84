"""The steps of a training run: rows in, updates, and what is recorded, evaluated and saved after each.

Promise: what a run does follows from its options and data alone, however often it is stopped, and on any number of
ranks. With G rows a step, step k (counted from 0) reads positions k*G to (k+1)*G - 1 of the order of rows. What is
recorded for step k + 1 is the state after k + 1 steps.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from bosrow.dataset.batch_plan import BatchPlan
from bosrow.errors import Interrupted, MachineError
from bosrow.lock import Hold
from bosrow.model.gpt2 import GPT2
from bosrow.signals import Stop, Stopped
from bosrow.train import checkpoint
from bosrow.train.checkpoint import Kind, TrainingState
from bosrow.train.device_prefetch import prefetched
from bosrow.train.evaluations import Evaluations
from bosrow.train.loader import Batches, BatchLoader, BatchMeta
from bosrow.train.optimizer import StepResult, optimizer_step
from bosrow.train.progress import TrainingProgress
from bosrow.train.run_folder import EXPOSURES, RunFolder
from bosrow.train.schedule import is_due
from bosrow.train.setup import Setup


class TrainingRun:
    """A run from the step in `state` to its last one. Each rank has one; only the main rank's has a `hold`."""

    def __init__(
        self,
        setup: Setup,
        *,
        plan: BatchPlan,
        model: GPT2,
        optimizer: torch.optim.AdamW,
        state: TrainingState,
        saved_step: int | None,  # of the newest checkpoint
        folder: RunFolder,
        hold: Hold | None,
        progress: TrainingProgress,
        stop: Stop,
    ) -> None:
        self.setup, self.options, self.world = setup, setup.options, setup.world
        self.plan = plan
        self.model = model
        self.optimizer = optimizer
        self.state = state  # after the last completed step
        self.saved_step = saved_step
        self.folder = folder
        self.hold = hold
        self.progress = progress
        self.stop = stop
        self.trained: GPT2 | DistributedDataParallel = model
        if self.world.size > 1:
            self.trained = DistributedDataParallel(model, gradient_as_bucket_view=True)
        self.evaluations = Evaluations(setup, plan, model, folder, progress, lambda: stop.asked)

    def go(self) -> None:
        """Train to the last step. Raises Interrupted after a signal, once a checkpoint holds the completed steps."""
        try:
            if not self.state.evaluated:
                self._evaluate()
                if self.setup.schedule.ends_at(self.state.step) and self.options.save_every:
                    self._save("final")
            self._take_steps()
        except Stopped:
            self._interrupted()

    def _take_steps(self) -> None:
        """Take the remaining steps. Raises Stopped on all ranks after a signal on any."""
        options, stop = self.options, self.stop
        loader = BatchLoader(self._batches(), self.state.step, options.num_workers)
        batches = prefetched(loader, self.world.device)
        while self.state.step < options.max_train_steps:
            began = time.monotonic()
            x, y, meta = next(batches)
            waited = time.monotonic() - began
            rate = self.setup.schedule.rate(self.state.step)
            result = optimizer_step(
                self.trained,
                self.optimizer,
                (x, y),
                micro_batch_size=self.plan.micro_batch_size,
                learning_rate=rate,
                grad_clip=options.grad_clip,
                dtype=self.setup.dtype,
                world=self.world,
                stop_asked=lambda: stop.asked,
            )
            self.state = replace(
                self.state,
                step=self.state.step + 1,
                skipped_steps=self.state.skipped_steps + (not result.finite),
                tokens_per_rank=self.state.tokens_per_rank + self.plan.rows_per_rank * self.plan.seq_len,
                evaluated=False,
            )
            self._record(result, rate, waited, time.monotonic() - began, meta)
            if not result.finite:
                self._skipped(result)
            if result.stop_asked or (self.world.size == 1 and stop.asked):
                raise Stopped
            ended = self.setup.schedule.ends_at(self.state.step)
            if self._evaluate() and not ended and self.world.any(stop.asked):
                raise Stopped
            if is_due(options.save_every, self.state.step, ended):
                self._save("final" if ended else "periodic")

    def _evaluate(self) -> bool:
        """Do what is due after the present step; False if nothing was."""
        anything = self.evaluations.run(self.state.step)
        self.state = replace(self.state, evaluated=True)
        return anything

    def _batches(self) -> Batches:
        return Batches(
            rows=self.setup.data.rows,
            order=self.setup.data.order(self.options.seed),
            batch_size=self.plan.rows_per_rank,
            rank=self.world.rank,
            world_size=self.world.size,
            end=None,
            with_meta=self.options.exposure_every > 0,
        )

    def _record(self, result: StepResult, rate: float, waited: float, seconds: float, meta: BatchMeta | None) -> None:
        plan, step = self.plan, self.state.step
        seen = {
            "tokens_seen_global_approx": step * plan.tokens_per_step,
            "tokens_per_opt_step_global": plan.tokens_per_step,
            "world_size": plan.world_size,
        }
        speed = plan.tokens_per_step / seconds
        if self.world.is_main:
            self.folder.scalars(
                "scalars",
                step,
                {
                    "lr_before_step": rate,
                    "lr_after_step": self.setup.schedule.rate(step),
                    "train_loss_raw_last": result.last_micro_batch_loss,
                    "train_loss_opt_step_mean": result.loss,
                    "grad_norm_l2_preclip": result.grad_norm,
                    "grad_norm_l2_postclip": result.clipped_grad_norm(self.options.grad_clip),
                    "param_norm_l2": result.param_norm,
                    **seen,
                    "grad_accum_steps": plan.grad_accum_steps,
                    "micro_batch_size": plan.micro_batch_size,
                    "seq_len": plan.seq_len,
                    "tokens_per_second": speed,
                    "data_wait_seconds": waited,
                    "epoch": int(max(self.setup.data.epochs(step * plan.rows_per_step - 1))),
                    "skipped": not result.finite,
                },
            )
            self.progress.step(step, result.loss, speed)
        if meta is not None and is_due(self.options.exposure_every, step, self.setup.schedule.ends_at(step)):
            local = {"tokens_seen_local_total": self.state.tokens_per_rank}
            self.folder.append(
                f"{EXPOSURES}/exposures_rank{self.world.rank:04d}.jsonl",
                {"step": step, "rank": self.world.rank, **seen, **local, "micro_batches": self._exposure(meta)},
            )

    def _exposure(self, meta: BatchMeta) -> list[dict[str, Any]]:
        size = self.plan.micro_batch_size
        return [
            {"positions": meta.positions[start : start + size].tolist(), "rows": meta.places[start : start + size]}
            for start in range(0, len(meta.places), size)
        ]

    def _skipped(self, result: StepResult) -> None:
        """Report a step that was skipped. Raises MachineError after more than --max_skipped_steps of them."""
        count, most = self.state.skipped_steps, self.options.max_skipped_steps
        what = f"step {self.state.step}: loss {result.loss}, gradient norm {result.grad_norm}"
        if count > most:
            raise MachineError(
                f"{what}; at most {most} steps that are not finite are skipped (--max_skipped_steps). "
                f"Weights in {self.folder.path} are finite: a new run may start from a checkpoint there, with "
                "--init_from CHECKPOINT, another --run_dir and a lower --learning_rate"
            )
        if self.world.is_main:
            self.progress.note(f"warning: {what}; no weight was changed ({count} of at most {most} such steps)")

    def _save(self, kind: Kind) -> None:
        """Write a checkpoint on the main rank, after all ranks have made their records durable."""
        self.saved_step = self.state.step
        self.folder.sync()
        self.world.wait_for_all()
        if self.hold is None:
            return
        self.hold.check()
        folder = checkpoint.save_checkpoint(
            self.folder.path, kind, self.model, self.optimizer, self.state, self.setup.identity, self._tokenizer_files()
        )
        checkpoint.prune(self.folder.path, self.options.keep_checkpoints)
        self.progress.note(f"step {self.state.step:,}  saved {folder}")

    def _tokenizer_files(self) -> list[Path]:
        """The files of the tokenizer, which a checkpoint carries with it; none for GPT-2's, which is part of bosrow."""
        data = self.setup.data
        return [data.data_dir / kept.name for kept in data.manifest.tokenizer.kept_files]

    def _interrupted(self) -> None:
        """Save the last completed step, if no checkpoint has it, and raise Interrupted.

        Evaluations that are not in the checkpoint are done again when the run resumes.
        """
        if self.saved_step != self.state.step:
            self._save("periodic")
        self.world.wait_for_all()
        raise Interrupted(f"stopped after step {self.state.step:,}; the same command goes on from there")
