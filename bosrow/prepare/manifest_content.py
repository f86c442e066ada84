"""What a run records of itself: its identity (all that decides the bytes) and the contents of meta.json."""

from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

import bosrow
from bosrow.dataset.ledger import Ledger
from bosrow.dataset.manifest import SCHEMA, ProvenanceInfo, ShardInfo, as_entries
from bosrow.packing.table import POLICIES
from bosrow.prepare.prepare_options import FREE, PrepareOptions
from bosrow.sources.source import Source
from bosrow.tokenizers.tokenizer import Tokenizer


def identity(options: PrepareOptions, source: Source | None, tokenizer: Tokenizer) -> dict[str, Any]:
    """Everything that decides the bytes, by name. Without `source` (if it was not looked up), its entry is left out."""
    values = {name: value for name, value in asdict(options).items() if name not in FREE}
    values["val_fraction"] = options.val_by_hash
    if source is not None:
        values["source"] = source.fingerprint
    spec = tokenizer.spec
    made_with = {
        "tokenizer": spec.name,
        "tokenizer_revision": spec.revision,
        "vocabulary": tokenizer.vocabulary_sha256,
        "bos": spec.bos_token_id,
        "appended_eos": spec.eos_token_id if spec.append_eos else None,
    }
    return values | made_with | {"schema": SCHEMA}


def describe(
    *,
    options: PrepareOptions,
    tokenizer: Tokenizer,
    source: Source,
    ledgers: dict[str, Ledger],
    shards: list[ShardInfo],
    provenance: list[ProvenanceInfo],
    documents: int,
    text_bytes: int,
    empty_texts: int,
    seconds: float,
    engines: dict[str, str],
) -> dict[str, Any]:
    """The contents of meta.json: the fields that existing tools read, and all others below `bosrow`."""
    rows = sum(ledger.rows for ledger in ledgers.values())
    written = rows * options.row_tokens
    cropped = sum(ledger.tokens_cropped for ledger in ledgers.values())
    read = sum(ledger.tokens_read for ledger in ledgers.values())
    spec = tokenizer.spec
    return {
        "created_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "dataset": options.dataset,
        "config": options.config,
        "data_files": list(options.data_files) or None,
        "split": options.split,
        "text_field": options.text_field,
        "tokenizer": spec.name,
        "use_fast": True,
        "vocab_size": tokenizer.vocab_size,
        "dtype": tokenizer.dtype.name,
        "format": "stream_rows" if options.policy == "stream" else "bos_row_packed_bestfit",
        "seq_len": options.seq_len,
        "row_tokens": options.row_tokens,
        "packing_algo": POLICIES[options.policy].algorithm,
        "batch_docs": options.batch_docs,
        "buffer_docs": options.buffer_docs,
        "bos_token_id": spec.bos_token_id,
        "eos_token_id": spec.eos_token_id,
        "bos_is_eos": spec.bos_token_id == spec.eos_token_id,
        "doc_format": f"[BOS] + {'gpt2_bpe' if spec.kind == 'gpt2' else 'tokenizer'}(text)"
        + (" + [EOS]" if spec.append_eos else ""),
        "shard_rows": options.rows_per_shard,
        "shard_tokens": options.rows_per_shard * options.row_tokens,
        "val_shards": sum(shard.split == "val" for shard in shards),
        "num_shards_total": len(shards),
        "rows_written_total": rows,
        "tokens_written_total": written,
        "tokens_cropped_total": cropped,
        "crop_fraction": cropped / max(1, cropped + written),
        "docs_processed": documents,
        "elapsed_seconds": round(seconds, 3),
        "throughput_tokens_per_sec": round(read / max(seconds, 1e-9)),
        "notes": "rows of seq_len + 1 tokens; x = row[:-1], y = row[1:]",
        "bosrow": {
            "schema": SCHEMA,
            "version": bosrow.__version__,
            "policy": options.policy,
            "identity": identity(options, source, tokenizer),
            "source": {
                "dataset": source.origin["dataset"],
                "revision": source.origin["revision"],
                "fingerprint": source.fingerprint,
                "files": [file.name for file in source.files],
                "text_bytes": text_bytes,
                "empty_texts": empty_texts,
            },
            "tokenizer": {
                "name": spec.name,
                "revision": spec.revision,
                "append_eos": spec.append_eos,
                "engine": ", ".join(engines),
                "engine_version": ", ".join(engines.values()),
                "vocabulary_sha256": tokenizer.vocabulary_sha256,
                "files": [
                    {"name": name, "bytes": len(content), "sha256": sha256(content).hexdigest()}
                    for name, content in spec.files
                ],
            },
            "ledger": {split: msgspec.to_builtins(ledger.record()) for split, ledger in ledgers.items()},
            "shards": as_entries(shards),
            "provenance": as_entries(provenance),
        },
    }
