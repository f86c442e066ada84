"""`bosrow train`: starts a run from its options, or resumes it from its newest checkpoint, and trains it to its end.

Promise: what cannot be trained is refused before the run folder is changed. Only one command at a time works in a run
folder. For a finished run, the command says so and changes nothing. Cost at the start: the weights are made or read
once, and on a GPU one step is tried to see if it fits into memory.
"""

from contextlib import ExitStack
from dataclasses import replace

import torch

from bosrow.dataset.batch_plan import BatchPlan
from bosrow.distributed.device import peak_flops
from bosrow.distributed.world import joined_world
from bosrow.errors import DataSetError
from bosrow.lock import Hold, folder_lock
from bosrow.model.gpt2 import GPT2
from bosrow.model.pretrained import load_weights
from bosrow.signals import Stop, caught_signals
from bosrow.train.checkpoint import TrainingState
from bosrow.train.loop import TrainingRun
from bosrow.train.memory_estimate import attempt_step, fitting_plan
from bosrow.train.optimizer import make_optimizer
from bosrow.train.progress import TrainingProgress
from bosrow.train.resume import resume
from bosrow.train.run_folder import RUN_CONFIG, RunFolder
from bosrow.train.setup import Setup
from bosrow.train.start_table import start_table
from bosrow.train.trackers import Trackers
from bosrow.train.train_options import TrainOptions


def train(options: TrainOptions) -> None:
    """Train GPT-2 as `options` say, from the newest checkpoint if there is one.

    Raises Interrupted after a signal, once a checkpoint holds the last completed step.
    """
    with joined_world(options.device, options.timeout_seconds) as world:
        setup = Setup(options, world)
        if options.dry_run:
            world.say(start_table(setup, setup.plan))
            return
        with ExitStack() as stack:
            stop = stack.enter_context(caught_signals())
            hold: Hold | None = None
            if world.is_main:
                setup.run_dir.mkdir(parents=True, exist_ok=True)
                hold = stack.enter_context(folder_lock(setup.run_dir))
            _train(setup, stop, hold)


def _train(setup: Setup, stop: Stop, hold: Hold | None) -> None:
    options, world = setup.options, setup.world
    _require_same_data(setup)
    model = _initial_model(setup)
    plan = _plan_that_fits(setup, model)
    optimizer = make_optimizer(model, options)
    folder = RunFolder(setup.run_dir)
    resumed = resume(setup, folder, model, optimizer)
    state = resumed or TrainingState()
    if state.step >= options.max_train_steps and state.evaluated:
        world.say(f"{folder.path} is finished: step {state.step:,} of {options.max_train_steps:,}")
        return
    if options.compile:
        model.compile()
    world.say(start_table(setup, plan))
    with ExitStack() as stack:
        progress = stack.enter_context(_progress(setup, state))
        if world.is_main:
            with progress.not_counted():
                _open_records(setup, plan, folder, state, progress, stack)
        run = TrainingRun(
            setup,
            plan=plan,
            model=model,
            optimizer=optimizer,
            state=state,
            saved_step=None if resumed is None else resumed.step,
            folder=folder,
            hold=hold,
            progress=progress,
            stop=stop,
        )
        run.go()


def _require_same_data(setup: Setup) -> None:
    """Raise DataSetError unless all ranks have the same data (each machine may have its own copy)."""
    mine = int(setup.fingerprint[:12], 16)
    if setup.world.from_main([mine]) != [mine]:
        raise DataSetError(
            f"rank {setup.world.rank}: {', '.join(setup.options.data_dir)} is not the data set of rank 0 "
            f"(its fingerprint here begins with {setup.fingerprint[:12]}); copy it again"
        )


def _initial_model(setup: Setup) -> GPT2:
    """The model before its first step, on its device: random weights from the seed, or those of --init_from."""
    options = setup.options
    model = GPT2(setup.config, seed=options.seed, recompute=options.activation_checkpointing)
    if options.init_from is not None:
        load_weights(model, options.init_from)
    return model.to(setup.world.device)


def _plan_that_fits(setup: Setup, model: GPT2) -> BatchPlan:
    """The plan; with smaller micro batches on all ranks if a GPU has too little memory for those asked for."""
    asked, world = setup.plan, setup.world
    if world.device.type != "cuda":
        return asked
    attempt = attempt_step(model, asked, vocab_size=setup.config.vocab_size, device=world.device, dtype=setup.dtype)
    fitting = world.smallest(fitting_plan(asked, attempt).micro_batch_size)
    torch.cuda.empty_cache()
    if fitting == asked.micro_batch_size:
        return asked
    plan = replace(asked, micro_batch_size=fitting, grad_accum_steps=asked.rows_per_rank // fitting)
    world.say(
        f"micro batches of {asked.micro_batch_size} rows do not fit into memory; using {fitting} rows, "
        f"{plan.grad_accum_steps} times a step: the same tokens, the same result"
    )
    return plan


def _progress(setup: Setup, state: TrainingState) -> TrainingProgress:
    peak = peak_flops(setup.world.device)
    return TrainingProgress(
        speaks=setup.world.is_main,
        start=state.step,
        total=setup.options.max_train_steps,
        flops_per_token=setup.config.flops_per_token(setup.options.seq_len),
        peak_flops=peak * setup.world.size if peak else None,
    )


def _open_records(
    setup: Setup, plan: BatchPlan, folder: RunFolder, state: TrainingState, progress: TrainingProgress, stack: ExitStack
) -> None:
    """On the main rank: write config.json, and open the trackers asked for; `stack` closes them."""
    config = setup.described(plan)
    folder.write_json(RUN_CONFIG, config)
    folder.trackers = Trackers(setup.options, folder.path, state.step, config, progress.note)
    stack.callback(folder.trackers.close)
