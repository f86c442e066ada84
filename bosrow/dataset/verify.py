"""`bosrow verify`: reads every byte of a data set and says what is wrong, and where.

`--quick` checks meta.json and the names, sizes and counts of the files, and reads no other file. `--checksums` also
checks the SHA-256 of every file, which is enough after a copy. The default checks all of that, and also that ids are in
the vocabulary, that BOS is where rows and documents begin, and that the provenance fits the rows and the ledger. Cost:
one pass at about the disk's speed, with SHA-256 computed in parallel to the other checks, then one pass over the
provenance with 16 bytes of memory a document.
"""

import hashlib
import json
import reprlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bosrow.dataset.manifest import (
    PROVENANCE_NAME,
    SHARD_NAME,
    SPLITS,
    Manifest,
    ShardInfo,
    data_fingerprint,
    read_manifest,
)
from bosrow.dataset.provenance_layout import FOLDER
from bosrow.dataset.verify_options import VerifyOptions
from bosrow.dataset.verify_provenance import provenance_damage
from bosrow.errors import BosrowError, DataSetError
from bosrow.open_files import mapped
from bosrow.report.progress import progress_bar

BLOCK_BYTES = 8 << 20
MOST_SHOWN = 20
HELD = ("tokens_held", "documents_held")

Advance = Callable[[int], object]


def verify(options: VerifyOptions) -> int:
    """Check a data set and print the findings. Returns the exit status: 0 sound, 1 damaged."""
    found: list[str] = []
    manifest = None
    try:
        manifest = read_manifest(options.data_dir)
        found = damage(options.data_dir, manifest, quick=options.quick, checksums=options.checksums)
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
        looked_at = " (names, sizes and counts alone)" if options.quick else ""
        print(f"{options.data_dir} is sound{looked_at}: {rows} rows of {manifest.row_tokens:,} tokens")
    return 1 if found else 0


def damage(data_dir: Path, manifest: Manifest, *, quick: bool = False, checksums: bool = False) -> list[str]:
    """What is wrong with a data set; an empty list if nothing is. `quick` and `checksums` are as the flags."""
    found = _disagreements(manifest) + _strays(data_dir, manifest)
    if quick:
        return found
    total = sum(shard.bytes for shard in manifest.shards) + sum(info.bytes for info in manifest.provenance)
    with (
        progress_bar("checking", "bytes") as progress,
        ThreadPoolExecutor(1) as hasher,
    ):
        task = progress.add_task("", total=total)

        def advance(size: int) -> None:
            progress.advance(task, size)

        for kept in manifest.tokenizer.kept_files:
            found += _changed(data_dir / kept.name, kept.name, kept.sha256, lambda _: None)
        for shard in manifest.shards:
            if checksums:
                found += _changed(data_dir / shard.name, shard.name, shard.sha256, advance)
            else:
                found += _shard_damage(data_dir, manifest, shard, hasher, advance)
        changed = [
            line
            for info in manifest.provenance
            for line in _changed(data_dir / FOLDER / info.name, f"{FOLDER}/{info.name}", info.sha256, advance)
        ]
        if manifest.provenance and not checksums and not changed:
            changed = provenance_damage(data_dir)
    return found + changed


def _disagreements(manifest: Manifest) -> list[str]:
    """Counts in meta.json that contradict each other."""
    rows = sum(shard.rows for shard in manifest.shards)
    pairs: list[tuple[str, Any, Any]] = [
        ("rows_written_total", manifest.meta.get("rows_written_total"), rows),
        ("tokens_written_total", manifest.meta.get("tokens_written_total"), rows * manifest.row_tokens),
        ("num_shards_total", manifest.meta.get("num_shards_total"), len(manifest.shards)),
    ]
    found = _origin_faults(manifest)
    ledgers = manifest.ledgers
    for split, ledger in ledgers.items():
        pairs.append((f"ledger.{split}.rows", ledger.rows, manifest.rows_of(split)))
        pairs += [(f"ledger.{split}.{name}", manifest.ledger[split].get(name), 0) for name in HELD]
        try:
            ledger.check(manifest.row_tokens, 0, 0)
        except BosrowError as error:
            found.append(f"meta.json, {split}: {error}")
    found += [
        f"meta.json says {name} {reprlib.repr(said)}, but its shards have {have}"
        for name, said, have in pairs
        if said != have
    ]
    if data_fingerprint(manifest.meta) != manifest.fingerprint:
        found.append("the fingerprint in meta.json is not that of its shards, ledger and tokenizer")
    return found


def _origin_faults(manifest: Manifest) -> list[str]:
    try:
        names = manifest.origin.source.files
    except DataSetError as error:
        return [str(error)]
    return [] if names else ["meta.json names no file that the data set was made from"]


def _strays(data_dir: Path, manifest: Manifest) -> list[str]:
    """Files with the name of a shard or provenance file that meta.json does not name."""
    known = {shard.name for shard in manifest.shards} | {f"{FOLDER}/{info.name}" for info in manifest.provenance}
    there = [path.name for path in data_dir.iterdir() if SHARD_NAME.fullmatch(path.name)]
    there += [f"{FOLDER}/{path.name}" for path in data_dir.glob(f"{FOLDER}/*") if PROVENANCE_NAME.fullmatch(path.name)]
    return [f"{name} is not named in meta.json; it belongs to another data set" for name in sorted(set(there) - known)]


def _changed(path: Path, name: str, sha256: str, advance: Advance) -> list[str]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            advance(len(block))
    return [] if digest.hexdigest() == sha256 else [_not_the_checksum(name)]


def _not_the_checksum(name: str) -> str:
    return f"{name}: its SHA-256 is not the one in meta.json; it was changed"


def _shard_damage(
    data_dir: Path, manifest: Manifest, shard: ShardInfo, hasher: ThreadPoolExecutor, advance: Advance
) -> list[str]:
    found: list[str] = []
    digest = hashlib.sha256()
    rows = mapped(data_dir / shard.name).view(manifest.dtype).reshape(shard.rows, manifest.row_tokens)
    step = max(1, BLOCK_BYTES // (rows.itemsize * manifest.row_tokens))
    for start in range(0, shard.rows, step):
        block = np.array(rows[start : start + step])
        hashed = hasher.submit(digest.update, block.data)  # releases the GIL, as numpy does below
        if manifest.begins_with_bos:
            wrong = np.flatnonzero(block[:, 0] != manifest.bos_token_id)
            found += [
                f"{shard.name}, row {start + row}: begins with {block[row, 0]}, not with BOS ({manifest.bos_token_id})"
                for row in wrong[:MOST_SHOWN]
            ]
        if block.max() >= manifest.vocab_size:
            for row, column in np.argwhere(block >= manifest.vocab_size)[:MOST_SHOWN]:
                found.append(
                    f"{shard.name}, row {start + row}, column {column}: id {block[row, column]} is not below the "
                    f"vocabulary's {manifest.vocab_size}"
                )
        hashed.result()
        advance(block.nbytes)
    if digest.hexdigest() != shard.sha256:
        found.append(_not_the_checksum(shard.name))
    return found
