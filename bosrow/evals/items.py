"""Items of a benchmark: read from a file or from the Hub, checked, and turned into token sequences.

Promise: whatever is wrong with a file is told as one UserError that names file and line. Files: jsonl, csv,
parquet, the first two also as .gz, or a folder of such. Hub: the user's own account, its usual cache.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bosrow.errors import UserError
from bosrow.evals.scoring import ScoredSequence, fit
from bosrow.tokenizers.tokenizer import Tokenizer

ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")

Record = dict[str, Any]


class BadItemError(Exception):
    """A record that is no item of the benchmark; the message says what was found and what was required."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question: choices of (context, continuation), the index of the right one, and the groups it belongs to.

    `number` is its line in the file (its row in the data set), from 0. A continuation that follows a
    context begins with a space.
    """

    choices: tuple[tuple[str, str], ...]
    label: int
    groups: dict[str, str] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class ItemsOnHub:
    """Where a benchmark lives on the Hugging Face Hub. `all_configs` joins all of a data set's configurations."""

    dataset: str
    config: str | None = None
    all_configs: bool = False
    split: str
    local_files_only: bool = False

    def __str__(self) -> str:
        return self.dataset


def text(record: Record, name: str) -> str:
    """The string `record[name]`. Raises BadItemError."""
    value = _value(record, name)
    if not isinstance(value, str):
        raise BadItemError(f"{name!r} is a {type(value).__name__}, a string was required")
    return value


def texts(record: Record, name: str) -> list[str]:
    """The list of at least two strings `record[name]`. Raises BadItemError."""
    value = _value(record, name)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise BadItemError(f"{name!r} is no list of strings")
    if len(value) < 2:
        raise BadItemError(f"{name!r} holds {len(value)} choices, at least 2 are required")
    return value


def label(record: Record, name: str, choices: int) -> int:
    """The index `record[name]` of one of `choices` choices; digits in a string will do. Raises BadItemError."""
    value = _value(record, name)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if type(value) is not int or not 0 <= value < choices:
        raise BadItemError(f"{name!r} is {value!r}, an index from 0 to {choices - 1} was required")
    return value


def _value(record: Record, name: str) -> Any:
    if record.get(name) is None:
        raise BadItemError(f"the field {name!r} is missing; there are: {', '.join(map(repr, record)) or 'none'}")
    return record[name]


def read_items(source: Path | ItemsOnHub, parse: Callable[[Record], Item], max_items: int = 0) -> list[Item]:
    """The first `max_items` items (0: all) of a file, folder or Hub data set.

    Raises UserError if it is not there, empty, or holds a record that `parse` refuses.
    """
    items: list[Item] = []
    for number, place, record in _records(source):
        try:
            item = parse(record)
        except BadItemError as error:
            raise UserError(f"{place}: {error}") from None
        items.append(Item(choices=item.choices, label=item.label, groups=item.groups, number=number))
        if len(items) == max_items:
            break
    if not items:
        raise UserError(f"{source} holds no items; a file with one item a line was required")
    return items


def _records(source: Path | ItemsOnHub) -> Iterator[tuple[int, str, Record]]:
    """(number, place for messages, record)."""
    if isinstance(source, ItemsOnHub):
        yield from ((number, f"{source.dataset}, row {number}", row) for number, row in enumerate(_hub_rows(source)))
        return
    first = 0  # the number of a file's first line, through all files of a folder
    for path in _files(source):
        line = -1
        for line, record in _file_records(path):
            yield first + line, f"{path}, line {line + 1}", record
        first += line + 1


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        found = sorted(path for path in source.iterdir() if path.name.endswith(ENDINGS))
        if not found:
            raise UserError(f"{source} holds no file that ends in {', '.join(ENDINGS)}")
        return found
    if not source.is_file():
        raise UserError(f"{source} is not there; a file of items or a folder of such was required")
    if not source.name.endswith(ENDINGS):
        raise UserError(f"{source} cannot be read as items; its name must end in {', '.join(ENDINGS)}")
    return [source]


def _file_records(path: Path) -> Iterator[tuple[int, Record]]:
    try:
        if path.name.endswith(".parquet"):
            import pyarrow.parquet

            yield from enumerate(pyarrow.parquet.read_table(path).to_pylist())
            return
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.name.endswith(".gz")
            else path.open(encoding="utf-8") as file
        ):
            if ".csv" in path.suffixes:
                yield from enumerate(csv.DictReader(file))
            else:
                yield from ((number, _json(path, number, line)) for number, line in enumerate(file) if line.strip())
    except (EOFError, ValueError, gzip.BadGzipFile, zlib.error, csv.Error) as error:  # pyarrow's are ValueErrors
        raise UserError(f"{path} cannot be read ({error}); it is damaged, or not what its name says") from None


def _json(path: Path, number: int, line: str) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number + 1} is not valid JSON ({error})") from None
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number + 1} holds a JSON {type(record).__name__}, an object was required")
    return record


def _hub_rows(hub: ItemsOnHub) -> Iterator[Record]:
    import datasets

    try:
        with _offline(hub.local_files_only):
            configs = datasets.get_dataset_config_names(hub.dataset) if hub.all_configs else [hub.config]
            for config in configs:
                yield from datasets.load_dataset(hub.dataset, config, split=hub.split)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        hint = (
            "without network it has to be in the cache"
            if isinstance(error, ConnectionError)
            else "if it is gated, accept its terms there and log in with 'hf auth login'"
        )
        raise UserError(f"{hub.dataset} cannot be had from the Hugging Face Hub ({reason}); {hint}") from None


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Keep `datasets` to its cache, as HF_HUB_OFFLINE=1 does for a whole process."""
    import datasets
    import huggingface_hub

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    try:
        if wanted:
            datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


@dataclass(frozen=True)
class TokenizedItems:
    """The choices of items as token sequences, item by item, already cut to the model's length.

    `truncated` counts the items of which a context was cut on the left; `clipped` those of which even a
    continuation had to be, so that only its last tokens are scored.
    """

    sequences: list[ScoredSequence]
    truncated: int
    clipped: int


def tokenize_items(items: list[Item], tokenizer: Tokenizer, *, bos: bool, context_tokens: int) -> TokenizedItems:
    """Encode each choice as [BOS] + context + continuation, of which the continuation is scored."""
    sequences: list[ScoredSequence] = []
    truncated = clipped = 0
    for item in items:
        encoded: dict[str, list[int]] = {}
        whole = []
        for context, continuation in item.choices:
            context, continuation = _split(context, continuation)
            for part in (context, continuation):
                if part not in encoded:
                    encoded[part] = tokenizer.encode(part).tolist()
            prefix = [tokenizer.spec.bos_token_id] * bos + encoded[context]
            whole.append(ScoredSequence(prefix + encoded[continuation], len(prefix)))
        fitted = [fit(sequence, context_tokens) for sequence in whole]
        truncated += any(after is not before for after, before in zip(fitted, whole, strict=True))
        clipped += any(after.scored < before.scored for after, before in zip(fitted, whole, strict=True))
        sequences += fitted
    return TokenizedItems(sequences, truncated, clipped)


def _split(context: str, continuation: str) -> tuple[str, str]:
    """Move white space at the context's end to the continuation.

    GPT-2's tokens begin with their space, and none holds the end of a word and what follows it; so the
    two parts, encoded one by one, have the ids of the whole.
    """
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
