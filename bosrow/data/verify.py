"""`bosrow verify`: reads every row of a data set and says what is wrong where.

Checks meta.json (types, names, sizes, its own checksum), then each shard: BOS at the start of every row, ids
below the vocabulary, the checksum, and that rows and tokens add up to what meta.json says. Cost: one pass over
the shards at about the disk's speed, a few megabytes of memory.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from bosrow.data.manifest import SPLITS, TOKENIZER_FILE, Manifest, ShardInfo, read_manifest
from bosrow.data.options import VerifyOptions
from bosrow.errors import DataSetError
from bosrow.files import sha256_of

BLOCK_BYTES = 8 << 20
MOST_SHOWN = 20


def verify(options: VerifyOptions) -> int:
    """Check a data set and print the findings. Returns the exit status: 0 sound, 1 damaged."""
    found: list[str] = []
    manifest = None
    try:
        manifest = read_manifest(options.data_dir)
        found = damage(options.data_dir, manifest)
    except DataSetError as error:
        if not (options.data_dir / "meta.json").exists():
            raise
        found = [str(error)]
    if options.json:
        print(json.dumps({"data_dir": str(options.data_dir), "sound": not found, "damage": found}))
    elif found:
        shown = found[:MOST_SHOWN] + ([f"... and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else [])
        print(f"{options.data_dir} is damaged:\n" + "\n".join(f"  {line}" for line in shown))
    else:
        assert manifest is not None
        rows = " + ".join(f"{manifest.rows_of(split):,} {split}" for split in SPLITS)
        print(f"{options.data_dir} is sound: {rows} rows of {manifest.row_tokens:,} tokens")
    return 1 if found else 0


def damage(data_dir: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the shards of a data set; an empty list if nothing is."""
    found = _disagreements(manifest)
    columns = (TextColumn("checking"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=sum(shard.bytes for shard in manifest.shards))
        if manifest.tokenizer_file is not None:
            digest = sha256_of(data_dir / TOKENIZER_FILE).hexdigest()
            if digest != manifest.tokenizer_file.sha256:
                found.append(f"{TOKENIZER_FILE}: its SHA-256 is not the one in meta.json; some byte was changed")
        for shard in manifest.shards:
            found += _shard_damage(data_dir, manifest, shard, lambda size: progress.advance(task, size))
    return found


def _disagreements(manifest: Manifest) -> list[str]:
    """Counts in meta.json that contradict each other."""
    rows = sum(shard.rows for shard in manifest.shards)
    pairs: list[tuple[str, Any, Any]] = [
        ("rows_written_total", manifest.meta.get("rows_written_total"), rows),
        ("tokens_written_total", manifest.meta.get("tokens_written_total"), rows * manifest.row_tokens),
        ("num_shards_total", manifest.meta.get("num_shards_total"), len(manifest.shards)),
    ]
    for split in SPLITS:
        said = manifest.ledger.get(split, {}).get("rows")
        pairs.append((f"ledger.{split}.rows", said, manifest.rows_of(split)))
    return [f"meta.json says {name} {said}, its shards have {have}" for name, said, have in pairs if said != have]


def _shard_damage(data_dir: Path, manifest: Manifest, shard: ShardInfo, advance: Any) -> list[str]:
    found: list[str] = []
    digest = hashlib.sha256()
    rows = np.memmap(data_dir / shard.name, "<u2", "r", shape=(shard.rows, manifest.row_tokens))
    step = max(1, BLOCK_BYTES // (2 * manifest.row_tokens))
    for start in range(0, shard.rows, step):
        block = rows[start : start + step]
        digest.update(block.data)
        advance(block.nbytes)
        if manifest.begins_with_bos:
            wrong = np.flatnonzero(block[:, 0] != manifest.bos_token_id)
            found += [
                f"{shard.name}, row {start + row}: begins with {block[row, 0]}, not with BOS ({manifest.bos_token_id})"
                for row in wrong[:MOST_SHOWN]
            ]
        for row, column in np.argwhere(block >= manifest.vocab_size)[:MOST_SHOWN]:
            found.append(
                f"{shard.name}, row {start + row}, column {column}: id {block[row, column]} is not below the "
                f"vocabulary's {manifest.vocab_size}"
            )
    if digest.hexdigest() != shard.sha256:
        found.append(f"{shard.name}: its SHA-256 is not the one in meta.json; some byte was changed")
    return found
