"""Benchmarks of language inside a training run, called on all ranks after a step.

Promise: a benchmark whose items the Hub does not give is reported in one line, and training goes on without it. A local
path that cannot be used ends the run before its first step. A signal on any rank breaks off an evaluation between two
batches, on all ranks, before any of it is recorded. Cost: the items in memory; ranks wait for each other only at the
sum of the scores.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from bosrow.dataset.dataset_tokenizer import dataset_tokenizer
from bosrow.dataset.manifest import Manifest
from bosrow.distributed.world import World
from bosrow.errors import DataSetError
from bosrow.evals.background_download import BackgroundDownload
from bosrow.evals.benchmark import Benchmark, Outcome, evaluate
from bosrow.evals.bits_per_byte import HeldOutDocument, bits_per_byte
from bosrow.evals.catalogue import benchmark_of, load_benchmark
from bosrow.evals.eval_options import TrainingEvaluationOptions
from bosrow.evals.heldout_documents import heldout_documents
from bosrow.evals.items import Item
from bosrow.evals.plots import Point, draw_over_steps
from bosrow.evals.results import within
from bosrow.evals.scoring import ScoringBatch, TransformerModel
from bosrow.evals.tasks import ewok
from bosrow.report.numbers import without_nan
from bosrow.signals import Stopped

HELLASWAG_METRICS = "hellaswag_metrics.jsonl"
EWOK_ITEMS = "ewok_items.jsonl"
FIGURES = ("accuracy", "accuracy_stderr", "accuracy_norm", "accuracy_norm_stderr", "chance", "norm", "rule", "bos")


class Records(Protocol):
    """The run folder, as far as evaluations write into it."""

    path: Path

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add a line to a file."""

    def scalars(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add a line of type `kind` to scalars.jsonl."""

    def read_scalars(self) -> list[dict[str, Any]]:
        """All lines of scalars.jsonl."""


class TrainingBenchmarks:
    """What is evaluated in a run, and when. Made on all ranks, after they have joined and before the first step.

    `data_dir` holds the data set that is trained on, `note` says a line to the person who watches, `stop_asked` is
    looked at before each batch.
    """

    def __init__(
        self,
        options: TrainingEvaluationOptions,
        data_dir: Path,
        manifest: Manifest,
        world: World,
        note: Callable[[str], None],
        stop_asked: Callable[[], bool],
    ) -> None:
        self.options = options
        self.note = note
        self._stop_asked = stop_asked
        self._broken_off = False
        self._world = world
        self.benchmarks: dict[str, tuple[Benchmark, list[Item]]] = {}
        self._coming: BackgroundDownload | None = None  # of HellaSwag
        self.documents: list[HeldOutDocument] = []
        asked = (options.hellaswag_data, options.ewok_data, options.heldout)
        try:
            self.tokenizer = dataset_tokenizer(data_dir, manifest)
        except DataSetError as error:
            if any(path is not None for path in asked):
                raise
            if options.hellaswag_every and world.is_main:
                note(f"no hellaswag in this run: {error}")
            return
        if options.hellaswag_every and options.hellaswag_data is None:
            self._coming = BackgroundDownload("hellaswag", options, world, note)
        elif options.hellaswag_every:
            self.benchmarks["hellaswag"] = load_benchmark("hellaswag", options)
        if options.ewok_every and options.ewok_data is not None:
            self.benchmarks["ewok"] = load_benchmark("ewok", options)
        if options.heldout_every and options.heldout is not None:
            held_out = heldout_documents(options.heldout, options.heldout_max_documents)
            self.documents = held_out.for_model(self.tokenizer)

    def wait(self, step: int, *, last: bool) -> None:
        """Return when the items for what is due after `step` are there; called on all ranks.

        Raises Stopped if a stop is asked.
        """
        if self._coming is not None and _due(self.options.hellaswag_every, step, last):
            items = self._coming.wait(self._stop_asked)
            self._coming = None
            if items:
                self.benchmarks["hellaswag"] = benchmark_of("hellaswag", self.options), items

    def run(
        self, network: Any, step: int, *, last: bool, dtype: torch.dtype, records: Records | None
    ) -> dict[str, Any]:
        """Evaluate `network` on what is due after `step`, after `wait`; on all ranks, the main one with `records`.

        Returns what step_metrics.json has of it: nothing if nothing is due. Raises Stopped if a stop is asked.
        """
        options = self.options
        model = TransformerModel(network, autocast=dtype if dtype == torch.bfloat16 else None)
        was_training = network.training
        network.eval()
        found: dict[str, Any] = {}
        if "hellaswag" in self.benchmarks and _due(options.hellaswag_every, step, last):
            found["hellaswag"] = self._hellaswag(model, step, records)
        skip_ewok = last and options.skip_final_ewok
        if "ewok" in self.benchmarks and _due(options.ewok_every, step, last) and not skip_ewok:
            found["ewok"] = self._ewok(model, step, records)
        if self.documents and _due(options.heldout_every, step, last):
            found |= self._bits_per_byte(model, step, records)
        network.train(was_training)
        return found

    def _score(self, model: TransformerModel, name: str, batch_size: int) -> Outcome:
        benchmark, items = self.benchmarks[name]
        outcome = evaluate(
            model,
            self.tokenizer,
            benchmark,
            items,
            bos=benchmark.bos,
            world=self._world,
            batch_size=batch_size,
            track=self._until_a_stop,
        )
        self._require_whole()
        return outcome

    def _until_a_stop(self, batches: list[ScoringBatch]) -> Iterator[ScoringBatch]:
        for batch in batches:
            self._broken_off |= self._stop_asked()
            if self._broken_off:
                return
            yield batch

    def _require_whole(self) -> None:
        """Raise Stopped, on every rank, if one of them has left out a batch."""
        if self._world.any(self._broken_off):
            raise Stopped

    def _hellaswag(self, model: TransformerModel, step: int, records: Records | None) -> dict[str, Any]:
        options = self.options
        outcome = self._score(model, "hellaswag", options.hellaswag_batch_size)
        local = options.hellaswag_data
        values = without_nan(
            {
                "num_examples": len(outcome.items),
                **{name: outcome.result[name] for name in FIGURES},
                "batch_size": options.hellaswag_batch_size,
                "max_seq_len": model.context_tokens,
                "truncated": outcome.result["truncated"],
                "dataset": options.hellaswag_dataset if local is None else str(local),
                "dataset_config": options.hellaswag_dataset_config,
                "split": options.hellaswag_split,
            }
        )
        if records is not None:
            records.scalars("hellaswag", step, values)
            records.append(HELLASWAG_METRICS, {"step": step, **values})
            self._say("HellaSwag", step, values, ("accuracy", "accuracy_norm"))
            figures = {"acc": "accuracy", "acc_norm": "accuracy_norm"}
            lines = _recorded(records, "hellaswag")
            panels = {"": {shown: _points(lines, name) for shown, name in figures.items()}}
            title = f"HellaSwag, rule {values['rule']}, without BOS"
            draw_over_steps(records.path / "hellaswag.png", title, "accuracy", panels, chance=values["chance"])
        return {name: values[name] for name in ("accuracy", "accuracy_norm")}

    def _ewok(self, model: TransformerModel, step: int, records: Records | None) -> dict[str, Any]:
        outcome = self._score(model, "ewok", self.options.ewok_batch_size)
        result = outcome.result
        values = without_nan(
            {
                "num_examples": len(outcome.items),
                "bos": result["bos"],
                "rule": result["rule"],
                "chance": result["chance"],
                "batch_size": self.options.ewok_batch_size,
                **{measure: result[measure] for measure in ewok.MEASURES},
            }
        )
        if records is not None:
            records.scalars("ewok", step, values)
            for line in ewok.item_lines(outcome):
                records.append(EWOK_ITEMS, {"step": step, **without_nan(line)})
            self._say("EWoK, by sum", step, values["sum"], ("accuracy", "macro_accuracy"))
            lines = _recorded(records, "ewok")
            for kind, groups in values["sum"]["groups"].items():
                panels = {name: {"": _points(lines, "accuracy", ("sum", "groups", kind, name))} for name in groups}
                path = records.path / ("ewok.png" if kind == "domain" else f"ewok_{kind}.png")
                title = f"EWoK by {kind}, sum of log-probabilities, with BOS"
                draw_over_steps(path, title, "accuracy", panels, chance=values["chance"])
        return {measure: values[measure]["accuracy"] for measure in ewok.MEASURES}

    def _bits_per_byte(self, model: TransformerModel, step: int, records: Records | None) -> dict[str, Any]:
        scores = bits_per_byte(
            model,
            self.documents,
            self.tokenizer.spec.bos_token_id,
            world=self._world,
            batch_size=self.options.hellaswag_batch_size,
            track=self._until_a_stop,
        )
        self._require_whole()
        values = without_nan(scores.result)
        if records is not None:
            records.scalars("bits_per_byte", step, values)
            self._say("held-out documents", step, values, ("bits_per_byte",))
        return {"bits_per_byte": values["bits_per_byte"]}

    def _say(self, name: str, step: int, values: dict[str, Any], figures: tuple[str, ...]) -> None:
        shown = [f"{figure} {values[figure]:.4f}" for figure in figures if values[figure] is not None]
        self.note(f"step {step:,}  {name}: {', '.join(shown) or 'not finite'}")


def _due(every: int, step: int, last: bool) -> bool:
    return every > 0 and (last or step % every == 0)


def _recorded(records: Records, kind: str) -> list[dict[str, Any]]:
    """All lines of type `kind` so far."""
    return [line for line in records.read_scalars() if line["type"] == kind]


def _points(lines: list[dict[str, Any]], name: str, keys: tuple[str, ...] = ()) -> list[Point]:
    """The figure `name` below `keys` of each line that has it, with its standard error."""
    found = [(line["step"], within(line, keys)) for line in lines]
    return [(step, part[name], part[f"{name}_stderr"] or 0.0) for step, part in found if part.get(name) is not None]
