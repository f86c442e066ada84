"""The plan of an experiment, shown before it starts: runs, steps, tokens, what difference it could find, disk.

Promise: nothing is made or changed. What is not known before the data are prepared is said to be unknown.
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from bosrow.compare.statistics import detectable_difference
from bosrow.dataset.batch_plan import plan_batch
from bosrow.dataset.manifest import META, Manifest, read_manifest
from bosrow.experiment.arms import ARMS, BASE, with_sources
from bosrow.experiment.spec import Experiment
from bosrow.model.gpt2 import ModelConfig
from bosrow.tokenizers.by_name import open_tokenizer

STORED_BYTES_A_PARAMETER = 12  # float32 weights and AdamW's two moments


def print_plan(experiment: Experiment, console: Console) -> None:
    """Print the plan."""
    run = experiment.runs()[0]
    options = experiment.train_options(run)
    model = ModelConfig(
        vocab_size=options.vocab_size or open_tokenizer(experiment.data.get("tokenizer", "gpt2")).vocab_size,
        seq_len=options.seq_len,
        n_embd=options.n_embd,
        n_head=options.n_head,
        n_layer=options.n_layer,
    )
    step = plan_batch(
        total_batch_tokens=options.total_batch_tokens,
        micro_batch_size=options.micro_batch_size,
        seq_len=options.seq_len,
        world_size=1,
    )
    tokens = options.max_train_steps * options.total_batch_tokens
    runs, seeds = experiment.runs(), experiment.seeds
    console.print(f"experiment {experiment.name}, in {experiment.out_dir}", markup=False)
    console.print(arms_table(experiment))
    deviation = experiment.deviation
    detectable = detectable_difference(deviation, len(seeds))
    checkpoints = len(runs) * max(1, options.keep_checkpoints) * STORED_BYTES_A_PARAMETER * model.parameters
    facts = {
        "runs": f"{len(runs)} = {len(experiment.arms)} arms x {len(seeds)} seeds, and {len(experiment.noise_seeds)} of "
        "A again with other seeds (A/A)",
        "model": f"GPT-2, {model.n_layer} layers, {model.n_head} heads, {model.n_embd} wide, {model.seq_len} "
        f"positions, {model.vocab_size:,} words, {model.parameters:,} parameters",
        "each run": f"{options.max_train_steps:,} steps x {options.total_batch_tokens:,} tokens = {tokens:,} tokens; "
        f"in all {len(runs) * tokens:,}",
        "each step": f"{step.grad_accum_steps:,} micro batches of {step.micro_batch_size:,} rows, on one GPU",
        "detectable": f"{detectable:.5f} bits per byte between two arms (80% power, 5% level), if seeds scatter by "
        f"{deviation:.5f}",
        "evaluated": f"{experiment.evaluation['tasks']} on the last checkpoint of each run",
        "disk": f"checkpoints {_size(checkpoints)}, {_data_size(experiment)}",
        "runs by": " ".join(experiment.command) or "this process, one after the other",
    }
    for name, text in facts.items():
        console.print(f"  {name:<11}{text}", markup=False, soft_wrap=True)
    if len(seeds) < 4:
        console.print(f"  warning: {len(seeds)} seeds an arm; 4 or more are advisable", markup=False)


def arms_table(experiment: Experiment) -> Table:
    """The arms; of prepared data also how many tokens they hold and how often a run reads them."""
    options = experiment.train_options(experiment.runs()[0])
    tokens = options.max_train_steps * options.total_batch_tokens
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for column in ("arm", "rows are", "made from", "seeds", "tokens in rows", "epochs in a run"):
        table.add_column(column)
    for arm in with_sources(experiment.arms):
        manifest = _manifest(experiment.data_dir(arm))
        used = arm.letter in experiment.arms
        placed = manifest.rows_of("train") * manifest.seq_len if manifest else 0
        table.add_row(
            arm.letter,
            arm.name,
            "the corpus" if arm.source is None else f"{arm.source} ({ARMS[arm.source].name})",
            " ".join(map(str, experiment.seeds)) if used else "none, only data",
            f"{placed:,}" if manifest else "not prepared yet",
            f"{tokens / placed:.2f}" if placed and used else "",
        )
    if experiment.noise_seeds:
        table.add_row("A/A", BASE.name, "", " ".join(map(str, experiment.noise_seeds)), "", "")
    return table


def _manifest(folder: Path) -> Manifest | None:
    return read_manifest(folder) if (folder / META).exists() else None


def _data_size(experiment: Experiment) -> str:
    base = _manifest(experiment.data_dir(BASE))
    if base is None:
        return "data 2 bytes a token and arm"
    made = [_manifest(experiment.data_dir(arm)) for arm in with_sources(experiment.arms)]
    # An arm that is not there yet takes no more than A does.
    return f"data {_size(sum(sum(shard.bytes for shard in (one or base).shards) for one in made))}"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
