"""`bosrow eval`: checkpoints on benchmarks, side by side; the only module of evaluations that loads models.

Under torchrun the items are spread over the ranks, with the same results; the main rank talks and writes.
Without --out nothing is written. For one checkpoint and one BOS setting items_TASK.jsonl lies in --out
itself; several checkpoints, and --bos both, each add a level of folders.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from bosrow import __version__
from bosrow.dataset.rows import Rows, open_rows
from bosrow.distributed.device import choose_dtype
from bosrow.distributed.world import World, joined_world
from bosrow.errors import Interrupted, UserError
from bosrow.evals.benchmark import Benchmark, Result, evaluate
from bosrow.evals.bits_per_byte import bits_per_byte
from bosrow.evals.catalogue import load_benchmark
from bosrow.evals.eval_options import EvalOptions
from bosrow.evals.heldout_documents import HeldOut, heldout_documents
from bosrow.evals.items import Item
from bosrow.evals.results import (
    Evaluated,
    distinct_names,
    draw_plots,
    print_table,
    step_of,
    summary,
    write_json,
    write_lines,
)
from bosrow.evals.row_losses import row_losses
from bosrow.evals.scoring import ScoringBatch, Track, TransformerModel
from bosrow.evals.tasks import ewok
from bosrow.model.pretrained import load_model, read_config
from bosrow.model.pretrained_tokenizer import tokenizer_of
from bosrow.report.progress import progress_bar
from bosrow.signals import Stopped, caught_signals
from bosrow.tokenizers.tokenizer import Tokenizer

Lines = list[dict[str, Any]]
TIMEOUT_SECONDS = 1800.0  # a rank waits so long for another one


@dataclasses.dataclass(frozen=True)
class Material:
    """Everything that models are scored on, read before the first of them is loaded."""

    benchmarks: dict[str, tuple[Benchmark, list[Item]]]
    held_out: HeldOut | None
    rows: dict[str, Rows]


def evaluate_checkpoints(options: EvalOptions) -> None:
    """Score every checkpoint on every task; print and write the results. Raises Interrupted after a signal."""
    try:
        with caught_signals() as stop, stop.at_once():
            _evaluate_all(options)
    except Stopped:
        raise Interrupted("stopped; the same command starts again from the first checkpoint") from None


def _evaluate_all(options: EvalOptions) -> None:
    with joined_world(options.device, TIMEOUT_SECONDS) as world:
        tokenizers = [tokenizer_of(path, read_config(path), options.tokenizer) for path in options.checkpoints]
        material = read_material(options)
        names = distinct_names(options.checkpoints)
        evaluated = []
        for path, name, tokenizer in zip(options.checkpoints, names, tokenizers, strict=True):
            evaluated.append(_evaluate(options, material, world, path, name, tokenizer))
        if world.is_main:
            _report(options, evaluated)


def read_material(options: EvalOptions) -> Material:
    """Items, documents and rows of all tasks. Raises UserError if some are not there, or unusable."""
    items = [name for name in options.task_names if name not in ("bits_per_byte", "rows")]
    benchmarks = {name: load_benchmark(name, options) for name in items}
    held_out: HeldOut | None = None
    if "bits_per_byte" in options.task_names and options.heldout is not None:
        held_out = heldout_documents(options.heldout, options.heldout_max_documents)
    rows: dict[str, Rows] = {}
    if "rows" in options.task_names:
        rows = {
            name: open_rows(path, "val") for name, path in zip(distinct_names(options.rows), options.rows, strict=True)
        }
    return Material(benchmarks, held_out, rows)


def _evaluate(
    options: EvalOptions, material: Material, world: World, path: Path, name: str, tokenizer: Tokenizer
) -> Evaluated:
    network, config = load_model(path, world.device, choose_dtype(options.dtype, world.device))
    model = TransformerModel(network)
    results: list[Result] = []
    for result, lines in _results(options, material, world, model, tokenizer, name):
        results.append(result)
        if options.out is not None and world.is_main:
            folder = options.out / name if len(options.checkpoints) > 1 else options.out
            if options.bos == "both" and result["task"] in material.benchmarks:
                folder /= "bos_yes" if result["bos"] else "bos_no"
            for file, content in lines.items():
                write_lines(folder / file, content)
    return Evaluated(
        name=name,
        path=path,
        step=step_of(path),
        parameters=config.parameters,
        vocab_size=config.vocab_size,
        context_tokens=config.seq_len,
        results=results,
    )


def _results(
    options: EvalOptions, material: Material, world: World, model: TransformerModel, tokenizer: Tokenizer, name: str
) -> Iterator[tuple[Result, dict[str, Lines]]]:
    """Each result with the files of its items, in the order of --tasks."""
    for task in options.task_names:
        track = _track(f"{name}: {task}") if world.is_main else None
        if task == "bits_per_byte":
            assert material.held_out is not None  # EvalOptions require it
            found = bits_per_byte(
                model,
                material.held_out.for_model(tokenizer),
                tokenizer.spec.bos_token_id,
                stride=options.stride,
                world=world,
                batch_size=options.batch_size,
                track=track,
            )
            yield found.result, {"items_bits_per_byte.jsonl": found.lines()}
        elif task == "rows":
            for rows_name, rows in material.rows.items():
                _check_rows(model, tokenizer, rows)
                scores = row_losses(
                    model,
                    rows,
                    rows_name,
                    max_rows=options.max_rows,
                    world=world,
                    batch_size=options.batch_size,
                    track=track,
                )
                yield scores.result, {f"items_rows_{rows_name}.jsonl": scores.lines()}
        else:
            benchmark, items = material.benchmarks[task]
            settings = {"yes": [True], "no": [False], "both": [False, True], None: [benchmark.bos]}[options.bos]
            for bos in settings:
                outcome = evaluate(
                    model, tokenizer, benchmark, items, bos=bos, world=world, batch_size=options.batch_size, track=track
                )
                files = {f"items_{task}.jsonl": outcome.lines()}
                if task == "ewok":
                    files["ewok_items.jsonl"] = ewok.item_lines(outcome)
                yield outcome.result, files


def _check_rows(model: TransformerModel, tokenizer: Tokenizer, rows: Rows) -> None:
    """Raises UserError if `model`, which goes with `tokenizer`, cannot read `rows`."""
    if rows.row_tokens - 1 > model.context_tokens:
        raise UserError(
            f"{rows.data_dir} has rows of seq_len {rows.row_tokens - 1}, "
            f"the model knows {model.context_tokens} positions"
        )
    if rows.manifest.vocab_size != tokenizer.vocab_size:
        raise UserError(
            f"{rows.data_dir} was made with a vocabulary of {rows.manifest.vocab_size:,}, the model's tokenizer has "
            f"{tokenizer.vocab_size:,}; rows serve models of their own vocabulary alone"
        )


def _track(description: str) -> Track:
    """A bar with the time left on a terminal, silence elsewhere."""

    def track(batches: list[ScoringBatch]) -> Iterator[ScoringBatch]:
        with progress_bar(description) as bar:
            yield from bar.track(batches)

    return track


def _report(options: EvalOptions, evaluated: list[Evaluated]) -> None:
    content = summary(evaluated, __version__)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "summary.json", content)
        draw_plots(evaluated, options.out)
    if options.json:
        print(json.dumps(content, indent=1, allow_nan=False))
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    print_table(evaluated, console)
    if options.out is not None:
        console.print(f"Scores of each item, summary.json and plots: {options.out}", highlight=False, markup=False)
