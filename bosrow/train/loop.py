"""`bosrow train`: wires rows, model, optimizer, checkpoints and records together; the only module that knows them all.

Promise: what a run does follows from its options and data alone, however often it was stopped and on however
many ranks it goes on. A step k (counted from 0) reads positions k*G to (k+1)*G of the order of rows; what
is recorded as step k + 1 has seen k + 1 steps.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from bosrow.distributed.device import peak_flops
from bosrow.distributed.world import World, joined_world
from bosrow.errors import DataSetError, Interrupted, MachineError, OptionError, UserError
from bosrow.lock import Hold, folder_lock
from bosrow.model.gpt2 import GPT2
from bosrow.model.pretrained import load_weights
from bosrow.signals import Stop, Stopped, caught_signals
from bosrow.tokenizers.tokenizer import TOKENIZER_FILE
from bosrow.train import checkpoint
from bosrow.train.checkpoint import Kind, TrainingState
from bosrow.train.device_feed import fed
from bosrow.train.evaluations import Evaluations
from bosrow.train.loader import Batches, BatchLoader, BatchMeta
from bosrow.train.memory_estimate import attempt_step, fitting_plan
from bosrow.train.optimizer import StepResult, make_optimizer, optimizer_step
from bosrow.train.progress import TrainingProgress
from bosrow.train.run_folder import EXPOSURES, RUN_CONFIG, SCALARS, RunFolder
from bosrow.train.schedule import is_due
from bosrow.train.setup import Setup
from bosrow.train.trackers import Trackers
from bosrow.train.train_options import TrainOptions


def train(options: TrainOptions) -> None:
    """Train GPT-2 as `options` say, from the newest checkpoint where there is one."""
    with joined_world(options.device, options.timeout_seconds) as world:
        run = TrainingRun(options, world)
        if options.dry_run:
            if world.is_main:
                print(run.setup.summary(run.plan))
            return
        with ExitStack() as stack:
            stop = stack.enter_context(caught_signals())
            if world.is_main:
                run.folder.path.mkdir(parents=True, exist_ok=True)
                run.hold = stack.enter_context(folder_lock(run.folder.path))
            run.go(stop)


class TrainingRun:
    """One training run: everything that its steps need, made from the options."""

    def __init__(self, options: TrainOptions, world: World) -> None:
        self.setup = Setup(options, world)
        self.options = options
        self.world = world
        self.plan = self.setup.plan
        self.folder = RunFolder(self.setup.run_dir)
        self.state = TrainingState()
        self.saved_step = -1  # of the newest checkpoint
        self.hold: Hold | None = None  # the main rank's, of the folder

    def go(self, stop: Stop) -> None:
        """Train from the newest checkpoint to the last step. Raises Interrupted at a `stop`, after a checkpoint."""
        self._require_same_data()
        model = GPT2(self.setup.config, seed=self.options.seed, recompute=self.options.activation_checkpointing)
        if self.options.init_from is not None:
            load_weights(model, self.options.init_from)
        self.model = model.to(self.world.device)
        self._fit_micro_batch()
        self.optimizer = make_optimizer(self.model, self.options)
        self._resume()
        if self.state.step >= self.options.max_train_steps and self.state.evaluated:
            self._say(f"{self.folder.path} is finished: step {self.state.step:,} of {self.options.max_train_steps:,}")
            return
        if self.options.compile:
            self.model.compile()
        trained: GPT2 | DistributedDataParallel = self.model
        if self.world.size > 1:
            trained = DistributedDataParallel(self.model, gradient_as_bucket_view=True)
        self._say(self.setup.summary(self.plan))
        with ExitStack() as stack:
            self.progress = stack.enter_context(self._progress())
            if self.world.is_main:
                with self.progress.not_counted():
                    self._open_records(stack)
            self.evaluations = Evaluations(
                self.setup, self.plan, self.model, self.folder, self.progress, lambda: stop.asked
            )
            try:
                if not self.state.evaluated:
                    self._evaluate()
                    if self.setup.schedule.ends_at(self.state.step) and self.options.save_every:
                        self._save("final")
                self._train(trained, stop)
            except Stopped:
                self._interrupted()

    def _require_same_data(self) -> None:
        """All ranks must read the same data set, which may be a copy on each machine."""
        mine = int(self.setup.fingerprint[:12], 16)
        if self.world.from_main([mine]) != [mine]:
            raise DataSetError(
                f"rank {self.world.rank}: {', '.join(self.options.data_dir)} is not the data set of rank 0 "
                f"(its fingerprint here begins with {self.setup.fingerprint[:12]}); copy it again"
            )

    def _fit_micro_batch(self) -> None:
        """Where a GPU has too little memory, take smaller micro batches on all ranks."""
        if self.world.device.type != "cuda":
            return
        attempt = attempt_step(
            self.model,
            self.plan,
            vocab_size=self.setup.config.vocab_size,
            device=self.world.device,
            dtype=self.setup.dtype,
        )
        asked = self.plan
        fitting = self.world.smallest(fitting_plan(asked, attempt).micro_batch_size)
        torch.cuda.empty_cache()
        if fitting != asked.micro_batch_size:
            self.plan = replace(asked, micro_batch_size=fitting, grad_accum_steps=asked.rows_per_rank // fitting)
            self._say(
                f"micro batches of {asked.micro_batch_size} rows do not fit into memory; using {fitting} rows, "
                f"{self.plan.grad_accum_steps} times a step: the same tokens, the same result"
            )

    def _resume(self) -> None:
        """Go on from the newest valid checkpoint, which the main rank chooses; cut the records back to it."""
        path, newest = self.folder.path, None
        if self.world.is_main:
            newest = self._newest_checkpoint()
        kind, step = checkpoint.kind_and_step(newest) if newest else ("periodic", -1)
        final, step = self.world.from_main([kind == "final", step])
        recorded = self.folder.recorded_identity()
        if recorded is not None:
            checkpoint.require_same_identity(path, self.setup.identity, recorded)
        if step >= 0:
            folder = checkpoint.folder_of(path, "final" if final else "periodic", step)
            _, bound_to = checkpoint.read_state(folder, check_files=False)
            checkpoint.require_same_identity(folder, self.setup.identity, bound_to)
            self.state = checkpoint.load_checkpoint(folder, self.model, self.optimizer)
            self.saved_step = step
            self._say(f"going on from {folder}")
            if self.world.is_main:
                checkpoint.set_newer_aside(folder)
        elif recorded is not None:
            self._say(f"{path} has no checkpoint yet; starting from step 0")
        if self.world.is_main:
            self.folder.cut_back(self.state.step, evaluated=self.state.evaluated)
        self.world.wait_for_all()

    def _newest_checkpoint(self) -> Path | None:
        """The run folder's checkpoint to go on from."""
        path = self.folder.path
        found = checkpoint.checkpoints(path)
        if self.options.resume == "off" and (found or (path / SCALARS).exists()):
            raise OptionError(f"--resume off: {path} holds a run already; remove it, or choose another --run_dir")
        newest = checkpoint.newest_valid(path, lambda text: self._say(f"warning: {text}"))
        if found and newest is None:
            raise UserError(f"{path} has no checkpoint that is whole; start anew in another --run_dir")
        return newest

    def _open_records(self, stack: ExitStack) -> None:
        """config.json and, where asked for, trackers that are closed with `stack`; on the main rank."""
        config = self.setup.described(self.plan)
        self.folder.write_json(RUN_CONFIG, config)
        self.folder.trackers = Trackers(self.options, self.folder.path, self.state.step, config, self.progress.note)
        stack.callback(self.folder.trackers.close)

    def _progress(self) -> TrainingProgress:
        peak = peak_flops(self.world.device)
        return TrainingProgress(
            speaks=self.world.is_main,
            start=self.state.step,
            total=self.options.max_train_steps,
            flops_per_token=self.setup.config.flops_per_token(self.options.seq_len),
            peak_flops=peak * self.world.size if peak else None,
        )

    def _say(self, text: str) -> None:
        if self.world.is_main:
            print(text, flush=True)

    def _train(self, trained: GPT2 | DistributedDataParallel, stop: Stop) -> None:
        """The steps that are left; `state` always says what has been completed. Raises Stopped, on all ranks alike."""
        options = self.options
        loader = BatchLoader(self._batches(), self.state.step, options.num_workers)
        batches = fed(loader, self.world.device)
        while self.state.step < options.max_train_steps:
            began = time.monotonic()
            x, y, meta = next(batches)
            waited = time.monotonic() - began
            rate = self.setup.schedule.rate(self.state.step)
            result = optimizer_step(
                trained,
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
        """Whatever is due after the present step. False: nothing was."""
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
        """Step over a loss or gradient that is not finite, but not for ever."""
        count, most = self.state.skipped_steps, self.options.max_skipped_steps
        what = f"step {self.state.step}: loss {result.loss}, gradient norm {result.grad_norm}"
        if count > most:
            raise MachineError(
                f"{what}; {most} steps that were not finite are stepped over at most (--max_skipped_steps). "
                f"Weights in {self.folder.path} are finite: a new run may start from a checkpoint there, with "
                "--init_from CHECKPOINT, another --run_dir and a lower --learning_rate"
            )
        if self.world.is_main:
            self.progress.note(f"warning: {what}; no weight was changed ({count} of at most {most} such steps)")

    def _save(self, kind: Kind) -> None:
        """Write a checkpoint on the main rank; what it counts on is made durable before."""
        self.saved_step = self.state.step
        self.folder.sync()
        self.world.wait_for_all()
        if self.hold is None:
            return
        self.hold.check()
        folder = checkpoint.save_checkpoint(
            self.folder.path, kind, self.model, self.optimizer, self.state, self.setup.identity, self._tokenizer_file()
        )
        checkpoint.prune(self.folder.path, self.options.keep_checkpoints)
        self.progress.note(f"step {self.state.step:,}  saved {folder}")

    def _tokenizer_file(self) -> Path | None:
        """What a checkpoint needs to be evaluated anywhere; None for GPT-2's vocabulary, which bosrow brings."""
        return self.setup.data.data_dir / TOKENIZER_FILE if self.setup.data.manifest.has_tokenizer_file else None

    def _interrupted(self) -> None:
        """Save the last completed step. Where a checkpoint has it, evaluations after that are done again on resume."""
        if self.saved_step != self.state.step:
            self._save("periodic")
        self.world.wait_for_all()
        raise Interrupted(f"stopped after step {self.state.step:,}; the same command goes on from there")
