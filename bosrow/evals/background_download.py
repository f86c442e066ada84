"""The items of a benchmark for a training run, downloaded once, in the background, by the main rank alone.

Promise: training begins meanwhile. A download that fails is reported in one line, and all ranks go on without the
benchmark. The other ranks get the items from the main one, as a tensor. Cost: the items twice in memory during that.
"""

import dataclasses
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bosrow.distributed.world import World
from bosrow.errors import UserError
from bosrow.evals.catalogue import load_benchmark
from bosrow.evals.eval_options import ItemOptions
from bosrow.evals.items import Item
from bosrow.signals import Stopped

LOOK_SECONDS = 0.1  # how often a rank that waits for the download looks for a signal


class BackgroundDownload:
    """The items of the benchmark `name`, made on all ranks before the first step."""

    def __init__(self, name: str, options: ItemOptions, world: World, note: Callable[[str], None]) -> None:
        self._name, self._options, self._world, self._note = name, options, world, note
        self._items: list[Item] = []
        self._thread = threading.Thread(target=self._ask, name="bosrow-hub", daemon=True)
        if world.is_main:
            self._thread.start()

    def _ask(self) -> None:
        try:
            with _silence():
                _, self._items = load_benchmark(self._name, self._options)
        except Exception as error:  # whatever the packages of the Hub raise: a benchmark is not worth a run
            text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            self._note(
                f"no {self._name} in this run: {' '.join(text.split())}; or turn it off with --{self._name}_every 0"
            )

    def wait(self, stop_asked: Callable[[], bool]) -> list[Item]:
        """The items, on every rank; none where they could not be had. Raises Stopped, on every rank, at a stop."""
        while self._thread.is_alive() and not stop_asked():
            self._thread.join(LOOK_SECONDS)
        if self._world.any(self._thread.is_alive()):
            raise Stopped
        return _items_of(self._world.bytes_from_main(json.dumps([*map(dataclasses.asdict, self._items)]).encode()))


def _items_of(data: bytes) -> list[Item]:
    return [
        Item(**{**fields, "choices": tuple((context, continuation) for context, continuation in fields["choices"])})
        for fields in json.loads(data)
    ]


@contextmanager
def _silence() -> Iterator[None]:
    """No bars and no lines about retries, which would break into the run's own line."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars = not datasets.utils.are_progress_bars_disabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        datasets.disable_progress_bars()
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
