"""A small data set that a model can learn from, written without `prepare`."""

import hashlib
from pathlib import Path

import numpy as np

from bosrow.dataset.manifest import ShardInfo, as_entries, write_manifest
from bosrow.tokenizers.token_ids import token_dtype

BOS = 0


def learnable_rows(rows: int, row_tokens: int, vocab_size: int, seed: int = 0) -> np.ndarray:
    """Rows that begin with BOS and then count upwards by a stride of their own, with another BOS somewhere."""
    random = np.random.default_rng(seed)
    columns = np.arange(row_tokens)
    first, stride = random.integers(1, vocab_size, rows), random.integers(1, 4, rows)
    tokens = 1 + (first[:, None] + stride[:, None] * columns) % (vocab_size - 1)
    tokens[:, 0] = BOS
    tokens[np.arange(rows), random.integers(1, row_tokens, rows)] = BOS
    return tokens.astype(token_dtype(vocab_size))


def write_data_set(
    folder: Path,
    *,
    train_rows: int = 64,
    val_rows: int = 10,
    seq_len: int = 16,
    vocab_size: int = 61,
    shard_rows: int = 25,
    seed: int = 0,
    policy: str = "crop",
) -> Path:
    """A complete data set in `folder` with several shards a split; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shards, ledger = [], {}
    for split, rows in (("train", train_rows), ("val", val_rows)):
        tokens = learnable_rows(rows, seq_len + 1, vocab_size, seed + (split == "val"))
        for number, start in enumerate(range(0, rows, shard_rows)):
            part = tokens[start : start + shard_rows]
            name = f"{split}_{number:06d}.bin"
            (folder / name).write_bytes(part.tobytes())
            digest = hashlib.sha256(part.tobytes()).hexdigest()
            shards.append(ShardInfo(name=name, split=split, rows=len(part), bytes=part.nbytes, sha256=digest))
        ledger[split] = {"rows": rows}
    tokenizer = {"name": "synthetic", "vocabulary_sha256": "0" * 64}
    own = {"schema": 1, "policy": policy, "tokenizer": tokenizer, "ledger": ledger}
    own |= {"shards": as_entries(shards), "provenance": []}
    meta = {"seq_len": seq_len, "row_tokens": seq_len + 1, "vocab_size": vocab_size, "bos_token_id": BOS}
    write_manifest(folder, meta | {"tokenizer": "synthetic", "dtype": tokens.dtype.name, "bosrow": own})
    return folder
