"""The options of the data verbs. Each checks itself when made and raises OptionError."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bosrow.data.packing import POLICIES
from bosrow.errors import OptionError
from bosrow.options import option, require_finite

LOSSLESS = tuple(name for name, policy in POLICIES.items() if not policy.lossy)
SHARD_TOKENS = 100_000_000  # the usual shard of llm.c's recipes; --shard_rows 0 means as many rows as this holds
MAX_SEQ_LEN = (1 << 16) - 2  # a piece's length, up to seq_len + 1, is stored as uint16


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Options of `bosrow prepare`. Those in `FREE` never change bytes."""

    dataset: str | None = option(
        None, help="a data set on the Hugging Face Hub; for --data_files parquet, json, text, csv, arrow or webdataset"
    )
    config: str | None = option(None, help="the data set's configuration, such as sample-10BT")
    revision: str | None = option(None, help="branch, tag or commit on the Hub (pinned to a commit at the start)")
    data_files: tuple[str, ...] = option(
        (), help="local files or globs: parquet, jsonl(.gz|.zst), csv, tsv, arrow, tar, or one document per text file"
    )
    from_dir: Path | None = option(
        None, flag="from", metavar="DATA_DIR", help="a data set made by keep or stream: pack its documents anew"
    )
    allow_lossy: bool = option(False, help="with --from: take a data set that lost tokens for what it still holds")
    split: str = option("train", help="split to read")
    text_field: str = option("text", help="column that holds the text")
    id_field: str | None = option(None, help="column with each document's id, kept in the provenance")
    tokenizer: str = option("gpt2", help="gpt2, or a tokenizer.json of Hugging Face (the file or its folder)")
    engine: Literal["tiktoken", "gigatoken"] = option(
        "tiktoken", help="what encodes by gpt2: gigatoken gives the same ids faster (pip install 'bosrow[fast]')"
    )
    out_dir: Path = option(help="folder for the shards and meta.json")
    seq_len: int = option(1024, help="predictions per row; a row has one token more")
    policy: str = option("crop", metavar="{" + ",".join(POLICIES) + "}", help="how documents become rows")
    batch_docs: int = option(256, help="documents a worker sends at once, at most (never changes bytes)")
    buffer_docs: int = option(1000, help="documents from which the packer chooses")
    buffer_tokens: int = option(1 << 26, help="tokens that may wait in the buffer under --policy keep")
    shard_rows: int = option(0, help="rows of a shard; 0 means about 100,000,000 tokens")
    val_shards: int | None = option(None, help="the first shards are the val split (default: 1, unless --val_fraction)")
    val_fraction: float | None = option(
        None, help="share of documents, chosen by a hash of their tokens, for the val split"
    )
    no_provenance: bool = option(
        False, help="do not record which document is where (drops the tail of keep and stream)"
    )
    max_docs: int = option(0, help="stop after so many documents; 0 means all")
    workers: int = option(_cores(), help="tokenizing processes; 0 tokenizes in the packer's process")
    checkpoint_seconds: float = option(30.0, help="most work that a kill can cost")
    on_bad_row: Literal["stop", "skip"] = option("stop", help="what to do with a row that holds no usable text")
    fresh: bool = option(False, help="delete what an earlier run left in out_dir and start over")

    def __post_init__(self) -> None:
        require_finite(self)
        if self.policy not in POLICIES:
            raise OptionError(f"--policy is {self.policy!r}; there are: {', '.join(POLICIES)}")
        if self.from_dir and (self.dataset or self.data_files):
            raise OptionError("--from takes the place of --dataset and --data_files; give one of them")
        if not self.dataset and not self.data_files and not self.from_dir:
            raise OptionError("no corpus: give --dataset NAME (on the Hub), --data_files FILE... or --from DATA_DIR")
        if self.engine == "gigatoken" and (self.from_dir or self.tokenizer != "gpt2"):
            raise OptionError(
                "--engine gigatoken encodes text by --tokenizer gpt2 alone, so not with --from; leave it out"
            )
        _at_least(self, seq_len=1, batch_docs=1, buffer_docs=1, buffer_tokens=1, shard_rows=0, max_docs=0, workers=0)
        if self.seq_len > MAX_SEQ_LEN:
            raise OptionError(f"--seq_len is {self.seq_len}; at most {MAX_SEQ_LEN} is possible")
        if self.checkpoint_seconds <= 0:
            raise OptionError(f"--checkpoint_seconds is {self.checkpoint_seconds}; it must be above 0")
        if self.val_fraction is not None and not 0 <= self.val_fraction < 1:
            raise OptionError(f"--val_fraction is {self.val_fraction}; it must be at least 0 and below 1")
        if self.val_shards is not None and self.val_shards < 0:
            raise OptionError(f"--val_shards is {self.val_shards}; it must be at least 0")
        if self.val_shards is not None and self.val_fraction is not None:
            raise OptionError("--val_shards and --val_fraction are two ways to choose the val split; give one of them")
        if self.val_shards and self.policy in LOSSLESS:
            raise OptionError(
                f"--val_shards cannot be used with --policy {self.policy}: a document begun in the last val row "
                "would go on in the first train row; use --val_fraction"
            )

    @property
    def row_tokens(self) -> int:
        """Tokens of a row: `seq_len` predictions need one more."""
        return self.seq_len + 1

    @property
    def rows_per_shard(self) -> int:
        """Rows of a full shard."""
        return self.shard_rows or max(1, SHARD_TOKENS // self.row_tokens)

    @property
    def keeps_split(self) -> bool:
        """Whether each document stays in the split that --from gives it."""
        return self.from_dir is not None and self.val_fraction is None and self.val_shards is None

    @property
    def packer_per_split(self) -> bool:
        """Whether documents, not shards, have a split, so that each split has a packer of its own."""
        return self.keeps_split or bool(self.val_by_hash)

    @property
    def val_by_hash(self) -> float | None:
        """The share of documents in val where a hash decides; None where it does not."""
        if self.keeps_split:
            return None
        if self.val_fraction is None and self.policy in LOSSLESS and self.val_shards is None:
            return 0.005
        return self.val_fraction

    @property
    def val_by_shards(self) -> int:
        """How many of the first shards are val; 0 where documents have a split."""
        if self.keeps_split or self.val_by_hash is not None:
            return 0
        return 1 if self.val_shards is None else self.val_shards


# Options that may change when a run goes on. (`data_files`, `from_dir` and `tokenizer` stand for data, which is
# compared itself.)
FREE = (
    *("workers", "engine", "batch_docs", "checkpoint_seconds", "fresh", "out_dir", "on_bad_row"),
    *("data_files", "from_dir", "tokenizer"),
)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Options of `bosrow verify`."""

    data_dir: Path = option(positional=True, help="a folder made by 'bosrow prepare'")
    quick: bool = option(False, help="look at meta.json, names, sizes and counts; read no shard")
    checksums: bool = option(False, help="check the bytes alone (SHA-256 of every file), as after a copy")
    json: bool = option(False, help="print one JSON object")

    def __post_init__(self) -> None:
        if self.quick and self.checksums:
            raise OptionError("--quick reads no file and --checksums reads all; give one of them")


def _at_least(options: object, **least: int) -> None:
    for name, bound in least.items():
        if getattr(options, name) < bound:
            raise OptionError(f"--{name} is {getattr(options, name)}; it must be at least {bound}")
