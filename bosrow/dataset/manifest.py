"""meta.json: what a data set is, written last, and believed only after every field was checked.

Promise: `read_manifest` either returns a manifest whose types, ranges, names and file sizes are right,
or raises one DataSetError. It never follows a name out of the data directory. Cost: one stat a shard.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bosrow.dataset.ledger import Ledger
from bosrow.errors import DataSetError
from bosrow.files import MAX_JSON_BYTES, parse_json, read_untrusted, replace_file
from bosrow.packing.table import POLICIES
from bosrow.tokenizers.tokenizer import TOKENIZER_FILE

META = "meta.json"
SCHEMA = 1
SPLITS = ("train", "val")
TOKEN_BYTES = 2  # uint16, little-endian
SHARD_NAME = re.compile(r"(train|val)_\d{6}\.bin")
PROVENANCE_NAME = re.compile(r"(documents_\d{6}|(train|val)_(\d{6}|tail))\.parquet")
SHA256 = re.compile(r"[0-9a-f]{64}")
SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character: JSON can hold it, no file and no terminal
NO_HASH = "0" * 64
MOST_LINES = 1 << 48  # of a file of the provenance
MAX_META_BYTES = 256 << 20  # some 600,000 shards, or 2 million source files


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One shard file: `rows` rows of `row_tokens` uint16 tokens, without a header."""

    name: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ProvenanceInfo:
    """One Parquet file below `provenance/`; `rows` counts its lines."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TokenizerInfo:
    """tokenizer.json, which a data set has unless its tokenizer is the one that bosrow brings."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A checked meta.json. `meta` is the whole of it, for fields that only people read."""

    seq_len: int
    row_tokens: int
    vocab_size: int
    bos_token_id: int
    policy: str
    fingerprint: str
    shards: tuple[ShardInfo, ...]
    provenance: tuple[ProvenanceInfo, ...]
    tokenizer_file: TokenizerInfo | None
    ledger: dict[str, dict[str, Any]]
    meta: dict[str, Any]

    def shards_of(self, split: str) -> list[ShardInfo]:
        """The shards of one split, in order of their rows."""
        return [shard for shard in self.shards if shard.split == split]

    def rows_of(self, split: str) -> int:
        """How many rows a split has."""
        return sum(shard.rows for shard in self.shards_of(split))

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """The ledger of each split. Raises DataSetError if they are not of this version's form."""
        try:
            return {split: Ledger.from_json(self.ledger[split]) for split in SPLITS}
        except (KeyError, TypeError, AttributeError, ValueError):
            raise DataSetError("meta.json holds a ledger that this version of bosrow cannot read") from None

    @property
    def source_files(self) -> list[str]:
        """What the files of the source were called. Raises DataSetError if that is not said."""
        source = self.meta["bosrow"].get("source")
        names = source.get("files") if isinstance(source, dict) else None
        if not isinstance(names, list) or not all(isinstance(n, str) and not SURROGATE.search(n) for n in names):
            raise DataSetError("meta.json does not say which files the data set was made from")
        return names

    @property
    def identity(self) -> dict[str, Any]:
        """What decided the bytes of the rows. Raises DataSetError if that is not said."""
        values = self.meta["bosrow"].get("identity")
        if not isinstance(values, dict):
            raise DataSetError("meta.json does not say by which options the data set was made")
        return values

    @property
    def begins_with_bos(self) -> bool:
        """Whether each row begins with BOS (every policy but `stream`)."""
        return self.policy != "stream"


def data_fingerprint(meta: dict[str, Any]) -> str:
    """SHA-256 over what the rows are: sizes, tokenizer, policy, ledger and each shard's checksum.

    Times, paths and speeds are left out, and so is the provenance, whose Parquet bytes depend on pyarrow's
    version: the same source and options give the same fingerprint anywhere.
    """
    own = meta["bosrow"]
    content = {
        "schema": own["schema"],
        "seq_len": meta["seq_len"],
        "vocab_size": meta["vocab_size"],
        "bos_token_id": meta["bos_token_id"],
        "tokenizer": own["tokenizer"]["vocabulary_sha256"],
        "policy": own["policy"],
        "ledger": own["ledger"],
        "files": [[item["name"], item["rows"], item["sha256"]] for item in own["shards"]],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_manifest(data_dir: Path, meta: dict[str, Any]) -> None:
    """Seal `meta` with its fingerprint and its own checksum, and put it in place atomically.

    Raises DataSetError if it is longer than what is read back.
    """
    meta["bosrow"] |= {"fingerprint": data_fingerprint(meta), "complete": True, "meta_sha256": NO_HASH}
    text = json.dumps(meta, indent=2, allow_nan=False).encode() + b"\n"
    if len(text) > MAX_META_BYTES:
        raise DataSetError(
            f"{data_dir / META} would have {len(text):,} bytes, at most {MAX_META_BYTES:,} are read back; give fewer "
            "and larger source files or a larger --shard_rows, and --fresh"
        )
    digest = hashlib.sha256(text).hexdigest()
    place = text.rindex(f'"meta_sha256": "{NO_HASH}"'.encode()) + len('"meta_sha256": "')
    replace_file(data_dir / META, text[:place], digest.encode(), text[place + 64 :])


def read_manifest(data_dir: str | Path) -> Manifest:
    """Read and check `data_dir`/meta.json, and the size of every file that it names.

    Raises DataSetError if the data set is incomplete, damaged, of another schema, or names a file
    that is outside the directory, a link, or not of the size that its rows need.
    """
    data_dir = Path(data_dir)
    path = data_dir / META
    if not data_dir.is_dir():
        raise DataSetError(f"{data_dir} is not a directory; --data_dir takes a folder made by 'bosrow prepare'")
    if not path.exists():
        raise DataSetError(
            f"{data_dir} has no {META}, so it is not a complete data set; "
            "if a preparation was stopped there, run the same 'bosrow prepare' command again"
        )
    data = read_untrusted(path, MAX_META_BYTES)
    meta = parse_json(data, str(path))
    check = _Checker(path)
    own = check.field(meta, "bosrow", dict)
    if check.field(own, "schema", int) != SCHEMA:
        raise DataSetError(f"{path} has schema {own['schema']}; this bosrow reads schema {SCHEMA}")
    seal = check.hash(own, "meta_sha256")
    if hashlib.sha256(data.replace(seal.encode(), NO_HASH.encode())).hexdigest() != seal:
        raise DataSetError(f"{path} does not match its own checksum; it was damaged or edited")
    if own.get("complete") is not True:
        raise DataSetError(f"{path} does not say 'complete'; run the same 'bosrow prepare' command again")
    seq_len = check.number(meta, "seq_len", 1, 1 << 24)
    row_tokens = check.number(meta, "row_tokens", seq_len + 1, seq_len + 1)
    vocab_size = check.number(meta, "vocab_size", 1, 1 << 16)
    policy = check.field(own, "policy", str)
    if policy not in POLICIES:
        raise DataSetError(f"{path}: policy is {policy[:80]!r}, required is one of {', '.join(POLICIES)}")
    manifest = Manifest(
        seq_len=seq_len,
        row_tokens=row_tokens,
        vocab_size=vocab_size,
        bos_token_id=check.number(meta, "bos_token_id", 0, vocab_size - 1),
        policy=policy,
        fingerprint=check.hash(own, "fingerprint"),
        shards=tuple(_shard(check, data_dir, item, row_tokens) for item in check.field(own, "shards", list)),
        provenance=tuple(_provenance(check, data_dir, item) for item in check.field(own, "provenance", list)),
        tokenizer_file=_tokenizer_file(check, data_dir, own),
        ledger=check.field(own, "ledger", dict),
        meta=meta,
    )
    names = [item.name for item in manifest.shards] + [item.name for item in manifest.provenance]
    if len(set(names)) != len(names):
        raise DataSetError(f"{path} names a file twice")
    return manifest


def _shard(check: "_Checker", data_dir: Path, item: Any, row_tokens: int) -> ShardInfo:
    name = check.name(item, SHARD_NAME)
    split = check.field(item, "split", str)
    if split not in SPLITS or not name.startswith(split):
        raise DataSetError(f"{check.path}: shard {name} is said to belong to split {split!r}")
    rows = check.number(item, "rows", 1, 1 << 48)
    size = check.number(item, "bytes", rows * row_tokens * TOKEN_BYTES, rows * row_tokens * TOKEN_BYTES)
    check.size(data_dir / name, size)
    return ShardInfo(name=name, split=split, rows=rows, bytes=size, sha256=check.hash(item, "sha256"))


def _provenance(check: "_Checker", data_dir: Path, item: Any) -> ProvenanceInfo:
    name = check.name(item, PROVENANCE_NAME)
    size = check.number(item, "bytes", 1, 1 << 50)
    check.size(data_dir / "provenance" / name, size)
    rows = check.number(item, "rows", 0, MOST_LINES)
    return ProvenanceInfo(name=name, rows=rows, bytes=size, sha256=check.hash(item, "sha256"))


def _tokenizer_file(check: "_Checker", data_dir: Path, own: dict[str, Any]) -> TokenizerInfo | None:
    said = check.field(own, "tokenizer", dict)
    sha256 = check.hash(said, "vocabulary_sha256")
    if said.get("file_bytes") is None:
        return None
    size = check.number(said, "file_bytes", 1, MAX_JSON_BYTES)
    check.size(data_dir / TOKENIZER_FILE, size)
    return TokenizerInfo(bytes=size, sha256=sha256)


class _Checker:
    """Strict reads of an untrusted JSON object; every failure names the file and the field."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def field(self, item: Any, key: str, kind: type) -> Any:
        if not isinstance(item, dict) or key not in item:
            raise DataSetError(f"{self.path} lacks the field {key!r}")
        if type(item[key]) is not kind:
            raise DataSetError(f"{self.path}: {key} is a {type(item[key]).__name__}, a {kind.__name__} was required")
        return item[key]

    def number(self, item: Any, key: str, least: int, most: int) -> int:
        value = self.field(item, key, int)
        if not least <= value <= most:
            required = str(least) if least == most else f"{least} to {most}"
            raise DataSetError(f"{self.path}: {key} is {value}, required is {required}")
        return value

    def hash(self, item: Any, key: str) -> str:
        value = self.field(item, key, str)
        if not SHA256.fullmatch(value):
            raise DataSetError(f"{self.path}: {key} is not a SHA-256 in hexadecimal digits")
        return value

    def name(self, item: Any, pattern: re.Pattern[str]) -> str:
        value = self.field(item, "name", str)
        if not pattern.fullmatch(value):
            raise DataSetError(f"{self.path} names {value[:80]!r}, which is no name of a bosrow file")
        return value

    def size(self, path: Path, size: int) -> None:
        if path.is_symlink() or not path.is_file():
            raise DataSetError(f"{path} is missing, or not a regular file; the data set is damaged")
        found = path.stat().st_size
        if found != size:
            raise DataSetError(f"{path} has {found:,} bytes, {self.path} says {size:,}; the data set is damaged")


def as_entries(items: list[ShardInfo] | list[ProvenanceInfo]) -> list[dict[str, Any]]:
    """Shard or provenance records as they stand in meta.json."""
    return [asdict(item) for item in items]
