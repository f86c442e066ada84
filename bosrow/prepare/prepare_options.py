"""The options of `bosrow prepare` beyond those of the source, with their defaults."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bosrow.errors import OptionError
from bosrow.flags import Help, at_least, did_you_mean, listed, option, require_finite
from bosrow.packing.table import LOSSLESS, POLICIES
from bosrow.sources.source_options import SourceOptions
from bosrow.tokenizers.spec import Engine
from bosrow.tokenizers.special_tokens import AskedTokens

SHARD_TOKENS = 100_000_000  # the usual shard of llm.c's recipes; --shard_rows 0 means as many rows as this holds
DEFAULT_VAL_FRACTION = 0.005
MAX_SEQ_LEN = 1 << 20  # beyond any use; the sets of bits in which policies search grow with it


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(SourceOptions):
    """Options of `bosrow prepare`. Those in `FREE` may change when a run goes on."""

    HELP: ClassVar = Help(
        groups=("source", "tokenizer", "packing", "val split", "output", "running"),
        examples=(
            "bosrow prepare --data_files 'corpus/*.jsonl' --out_dir rows --policy keep",
            "bosrow prepare --dataset HuggingFaceFW/fineweb-edu --config sample-10BT \\\n"
            "  --out_dir fineweb_rows --seq_len 2048 --val_fraction 0.005",
        ),
    )

    tokenizer: str = option(
        "gpt2",
        group="tokenizer",
        metavar="NAME",
        help="gpt2; a tokenizer.json or its folder; a .tiktoken file; cl100k_base or o200k_base; a model on the Hub",
    )
    bos_token: str | None = option(
        None, group="tokenizer", metavar="TOKEN", help="what begins each document (default: what the tokenizer says)"
    )
    eos_token: str | None = option(
        None, group="tokenizer", metavar="TOKEN", help="the tokenizer's end of text; none: it never ends a document"
    )
    append_eos: bool = option(
        False, group="tokenizer", help="end each document with EOS (without it, only if the tokenizer itself does)"
    )
    engine: Engine = option(
        "auto", group="tokenizer", help="what finds the ids, which stay the same: auto takes gigatoken if it is there"
    )
    out_dir: Path = option(group="output", metavar="DIR", help="folder for the shards and meta.json")
    seq_len: int = option(1024, group="packing", help="predictions per row of N+1 tokens")
    policy: str = option(
        "crop",
        group="packing",
        metavar="{" + ",".join(POLICIES) + "}",
        help="how documents become rows; 'bosrow policies' compares them",
    )
    batch_docs: int = option(256, group="running", help="documents per message of a worker")
    buffer_docs: int = option(1000, group="packing", help="documents in the packer's buffer")
    buffer_tokens: int = option(1 << 26, group="packing", help="tokens in that buffer, for policy keep")
    shard_rows: int = option(0, group="output", help="rows per shard; 0: about 100M tokens")
    val_shards: int | None = option(
        None, group="val split", help="make the first N shards val, instead of a share of the documents"
    )
    val_fraction: float | None = option(
        None, group="val split", help="share of documents in val, chosen by a hash of their tokens (default: 0.005)"
    )
    no_provenance: bool = option(
        False,
        group="output",
        help="do not record which document is where; keep and stream then lose their last, unfilled row",
    )
    workers: int = option(_cores(), group="running", help="tokenizing processes; 0: none")
    checkpoint_seconds: float = option(30.0, group="running", help="seconds between checkpoints")
    fresh: bool = option(False, group="running", help="delete an earlier run's files in --out_dir; start over")

    def __post_init__(self) -> None:
        require_finite(self)
        if self.policy not in POLICIES:
            near = did_you_mean(self.policy, POLICIES)
            question = f"; did you mean {near}?" if near else ""
            raise OptionError(f"--policy is {self.policy!r}; it must be {listed(POLICIES)}{question}")
        super().__post_init__()
        if self.from_dir and (self.bos_token or self.eos_token or self.append_eos):
            raise OptionError(
                "--from takes documents as they are, with the tokens around them; --bos_token, --eos_token and "
                "--append_eos are for sources of text"
            )
        at_least(self, seq_len=1, batch_docs=1, buffer_docs=1, buffer_tokens=1, shard_rows=0, workers=0)
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
                "would continue in the first train row; use --val_fraction"
            )

    @property
    def asked_tokens(self) -> AskedTokens:
        """The tokens around a document that are asked for."""
        return AskedTokens(bos_token=self.bos_token, eos_token=self.eos_token, append_eos=self.append_eos or None)

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
        """Whether each document stays in the split that it has in the data set of --from."""
        return self.from_dir is not None and self.val_fraction is None and self.val_shards is None

    @property
    def packer_per_split(self) -> bool:
        """Whether each split has its own packer: a document, and not a shard, then belongs to a split."""
        return self.keeps_split or bool(self.val_by_hash)

    @property
    def val_by_hash(self) -> float | None:
        """The share of documents in val, if a hash chooses them; else None."""
        if self.keeps_split:
            return None
        if self.val_fraction is None and self.val_shards is None:
            return DEFAULT_VAL_FRACTION
        return self.val_fraction

    @property
    def val_by_shards(self) -> int:
        """How many of the first shards are val; 0 if documents have a split."""
        return self.val_shards or 0


# Options that may change when a run goes on. (`data_files`, `from_dir` and `tokenizer` name data; the data itself is
# compared.)
FREE = (
    *("workers", "engine", "batch_docs", "checkpoint_seconds", "fresh", "out_dir", "on_bad_row"),
    *("data_files", "from_dir", "tokenizer", "bos_token", "eos_token", "append_eos"),
)
