"""A run as a table for people, printed at its start and by --dry_run."""

from collections.abc import Iterator
from dataclasses import asdict

from bosrow.dataset.batch_plan import BatchPlan
from bosrow.dataset.mixture import MixedRows, Mixture
from bosrow.dataset.rows import Rows
from bosrow.train.memory_estimate import estimate_memory
from bosrow.train.setup import Setup
from bosrow.train.train_options import TrainOptions


def start_table(setup: Setup, plan: BatchPlan) -> str:
    """What will run: model, data, batch arithmetic with the micro batches of `plan`, memory."""
    options, config, world = setup.options, setup.config, setup.world
    memory = estimate_memory(
        config,
        micro_batch_size=plan.micro_batch_size,
        seq_len=options.seq_len,
        dtype=setup.dtype,
        recompute=options.activation_checkpointing,
        cuda=world.device.type == "cuda",
    )
    micro = f"{plan.micro_batch_size} rows"
    if plan.micro_batch_size < min(options.micro_batch_size, plan.rows_per_rank):
        micro += f" (the largest up to {options.micro_batch_size} that divides {plan.rows_per_rank})"
    shape = f"{config.n_layer} layers, {config.n_head} heads, {config.n_embd} wide"
    ranks = f"{world.size} rank{'s' * (world.size > 1)}"
    parts = ", ".join(f"{name.replace('_', ' ')} {size / 2**20:,.0f}" for name, size in asdict(memory).items() if size)
    width = len("micro batch")
    lines = {
        "run folder": setup.run_dir,
        "model": f"GPT-2, {shape}, {config.parameters:,} parameters",
        "device": f"{world.device.type}, {ranks}, {str(setup.dtype).removeprefix('torch.')}",
        "data": f"\n  {'':<{width}}  ".join(_data_sets(setup.data, plan, options.max_train_steps)),
        "a step": f"{plan.tokens_per_step:,} tokens = {plan.rows_per_step:,} rows, {plan.rows_per_rank:,} on each rank",
        "micro batch": f"{micro}, accumulated {plan.grad_accum_steps} times",
        "training": f"{options.max_train_steps:,} steps = {options.max_train_steps * plan.tokens_per_step:,} tokens",
        "schedule": setup.schedule,
        "validation": _validation(options, setup.val_rows),
        "memory": f"about {memory.total / 2**30:.1f} GiB a device (MiB: {parts})",
    }
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in lines.items())


def _data_sets(data: Mixture, plan: BatchPlan, steps: int) -> Iterator[str]:
    epochs_a_step = data.epochs(plan.rows_per_step)
    for part, share, epochs in zip(data.parts, data.shares, epochs_a_step, strict=True):
        mixed = f"{share / sum(data.shares):.2%} of each step, " if len(data.parts) > 1 else ""
        yield (
            f"{part.data_dir}, policy {part.manifest.policy}, {len(part):,} rows of {plan.seq_len:,} tokens, {mixed}"
            f"an epoch every {float(1 / epochs):,.1f} steps, {float(epochs * steps):,.2f} in this run"
        )


def _validation(options: TrainOptions, val_rows: Rows | MixedRows | None) -> str:
    if not options.eval_every:
        return "none (--eval_every 0)"
    if val_rows is None:
        return "none, since the data set has no val split"
    count = min(options.val_rows, len(val_rows)) if options.val_rows else len(val_rows)
    return f"{count:,} of {len(val_rows):,} rows every {options.eval_every:,} steps"
