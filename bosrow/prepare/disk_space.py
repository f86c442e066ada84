"""Checks before a preparation begins that what it will write fits on the disk.

The size is estimated from the first unit of the corpus: the bytes of its text, and the tokens in a sample of that. No
estimate is made if the disk has more room than any text of that size could take.
"""

import shutil
import sys

from bosrow.dataset.manifest import read_manifest
from bosrow.errors import MachineError
from bosrow.packing.table import LOSSLESS
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources.reading import documents_of, units_of
from bosrow.sources.source import DataSetSource, HubSource, Source
from bosrow.sources.unit import BadRow, Position
from bosrow.tokenizers.tokenizer import Tokenizer

SAMPLE_BYTES = 1 << 20
PROVENANCE = 1.05  # rows and provenance, as a multiple of rows: about 10 bytes a piece
CROPPED = 0.5  # share of the tokens of web text that the crop policies keep at the usual row lengths
HUB_TOKENS_PER_BYTE = 0.35  # of a compressed Parquet file of web text (fineweb-edu's sample-10BT)
MOST_PER_BYTE = 20  # most tokens per byte of the source: one-byte tokens, and text compressed twenty to one
MARGIN = 1.2  # warn if there is less room than this multiple of the estimate
BYTES_PER_TOKEN = 16  # no text, compressed or not, takes more bytes of the source per token
SURE = 4  # with less room than the estimate divided by this, it cannot fit


def check_space(options: PrepareOptions, source: Source, tokenizer: Tokenizer, done: float) -> None:
    """Warn if the part of the source after `done` (a share) may not fit. Raises MachineError if it cannot."""
    free = shutil.disk_usage(options.out_dir).free
    if free > MOST_PER_BYTE * tokenizer.dtype.itemsize * source.size and source.format != "rows":
        return
    needed = (1 - done) * estimated_bytes(options, source, tokenizer)
    if free >= MARGIN * needed:
        return
    numbers = (
        f"about {_amount(needed)} {'more ' if done else ''}will be written to {options.out_dir}, "
        f"{_amount(free)} are free there"
    )
    if free < needed / SURE:
        raise MachineError(f"{numbers}; make room, or choose another disk with --out_dir, or read less with --max_docs")
    print(f"warning: {numbers}", file=sys.stderr)


def warn_of_val_shards(options: PrepareOptions, source: Source, tokenizer: Tokenizer) -> None:
    """Warn if the shards that --val_shards asks for may take all rows, so that none are left for training."""
    val_rows = options.val_by_shards * options.rows_per_shard
    if not val_rows or source.size > BYTES_PER_TOKEN * val_rows * options.row_tokens:
        return
    tokens, per_document = _tokens(source, tokenizer)
    if options.max_docs and per_document:
        tokens = min(tokens, options.max_docs * per_document)
    rows = round(tokens / options.row_tokens)
    if 0 < rows <= val_rows:
        print(
            f"warning: the source holds about {rows:,} rows, and --val_shards {options.val_by_shards} takes the first "
            f"{val_rows:,} for val: none may be left for training; --val_fraction 0.005, or a smaller --shard_rows, "
            "leaves some",
            file=sys.stderr,
        )


def estimated_bytes(options: PrepareOptions, source: Source, tokenizer: Tokenizer) -> float:
    """Bytes that a whole preparation will write, estimated from its source; 0 if they cannot be estimated."""
    kept = 1.0 if options.policy in LOSSLESS else CROPPED
    tokens, per_document = _tokens(source, tokenizer)
    if options.max_docs:
        tokens = min(tokens, options.max_docs * per_document) if per_document else 0.0
    return tokens * tokenizer.dtype.itemsize * kept * (1.0 if options.no_provenance else PROVENANCE)


def _tokens(source: Source, tokenizer: Tokenizer) -> tuple[float, float]:
    """Tokens of the source, and tokens per document (0: not known)."""
    if isinstance(source, DataSetSource):
        ledgers = read_manifest(source.data_dir).ledgers.values()
        placed = sum(ledger.tokens_placed for ledger in ledgers)
        return placed, placed / max(1, sum(ledger.documents_read for ledger in ledgers))
    if source.format == "tokens":
        return source.size / tokenizer.dtype.itemsize, 0.0
    if isinstance(source, HubSource):
        return source.size * HUB_TOKENS_PER_BYTE, 0.0
    text_bytes = documents = sampled_bytes = sampled_tokens = 0
    unit = next(units_of(source, Position()), None)
    if unit is None or unit.share == 0:
        return 0.0, 0.0
    for document in documents_of(source, unit):
        if isinstance(document, BadRow):
            continue
        text_bytes, documents = text_bytes + len(document.text), documents + 1
        if sampled_bytes < SAMPLE_BYTES:
            text = bytes(document.text[:SAMPLE_BYTES]).decode(errors="replace")
            sampled_tokens += len(tokenizer.encode(text)) + 1
            sampled_bytes += len(document.text[:SAMPLE_BYTES])
    if not documents:
        return 0.0, 0.0
    tokens = text_bytes * sampled_tokens / max(1, sampled_bytes)
    return tokens / unit.share, tokens / documents


def _amount(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
