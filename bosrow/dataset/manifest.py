"""meta.json, the manifest of a data set: written last, and used only after every field was checked.

Promise: `read_manifest` either returns a manifest whose types, ranges, names and file sizes are right,
or raises one DataSetError. It never follows a name out of the data directory. Cost: one stat per file.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bosrow.dataset.ledger import Ledger
from bosrow.errors import DataSetError
from bosrow.files import MAX_JSON_BYTES, read_untrusted, replace_file
from bosrow.packing.table import LOSSLESS, POLICIES
from bosrow.strict_json import Count, Invalid, Sha256, parse_json, typed
from bosrow.tokenizers.spec import KEPT_FILES, TOKENIZER_FILE
from bosrow.tokenizers.token_ids import MAX_VOCABULARY, TokenDtype, token_dtype

META = "meta.json"
SCHEMA = 1
SPLITS = ("train", "val")
SHARD_NAME = re.compile(r"(train|val)_\d{6}\.bin")
PROVENANCE_NAME = re.compile(r"(documents_\d{6}|(train|val)_(\d{6}|tail))\.parquet")
SURROGATE = re.compile(r"[\ud800-\udfff]")  # JSON can hold lone surrogates; files and terminals cannot
NO_HASH = "0" * 64
MOST_LINES = 1 << 48  # of a shard or a provenance file
MAX_META_BYTES = 256 << 20  # some 600,000 shards, or 2 million source files


class ShardInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shard file: `rows` rows of `row_tokens` tokens, without a header."""

    name: str
    split: Annotated[str, Meta(pattern=r"\A(train|val)\Z")]
    rows: Annotated[int, Meta(ge=1, le=MOST_LINES)]
    bytes: Count
    sha256: Sha256


class ProvenanceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Parquet file in `provenance/`; `rows` counts its lines."""

    name: str
    rows: Annotated[int, Meta(ge=0, le=MOST_LINES)]
    bytes: Annotated[int, Meta(ge=1, le=1 << 50)]
    sha256: Sha256


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the tokenizer, which the data set keeps."""

    name: Annotated[str, Meta(pattern=r"\A(" + "|".join(map(re.escape, KEPT_FILES)) + r")\Z")]
    bytes: Annotated[int, Meta(ge=1, le=MAX_JSON_BYTES)]
    sha256: Sha256


class TokenizerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The tokenizer that made the ids."""

    name: str = TOKENIZER_FILE
    vocabulary_sha256: Sha256
    append_eos: bool = False
    revision: str | None = None  # the commit of one from the Hub
    files: tuple[KeptFile, ...] = ()
    file_bytes: Annotated[int, Meta(ge=1, le=MAX_JSON_BYTES)] | None = None  # before version 0.2: of tokenizer.json

    @property
    def kept_files(self) -> tuple[KeptFile, ...]:
        """The files that are kept; none for GPT-2's tokenizer, which is bosrow's own."""
        if self.file_bytes is None:
            return self.files
        return (KeptFile(name=TOKENIZER_FILE, bytes=self.file_bytes, sha256=self.vocabulary_sha256),)


class SourceFields(msgspec.Struct, frozen=True, kw_only=True):
    """The source of a data set: what its files were called."""

    files: list[str]


class OriginFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields below `bosrow` that say how the data set was made. `identity` is all that decided its bytes."""

    identity: dict[str, Any]
    source: SourceFields


class OwnFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields below `bosrow` in meta.json that decide how the data set is read."""

    policy: str
    fingerprint: Sha256
    shards: list[ShardInfo]
    provenance: list[ProvenanceInfo]
    tokenizer: TokenizerInfo
    ledger: dict[str, Any]


class MetaFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of meta.json that decide how the data set is read."""

    seq_len: Annotated[int, Meta(ge=1, le=1 << 24)]
    row_tokens: int
    vocab_size: Annotated[int, Meta(ge=1, le=MAX_VOCABULARY)]
    dtype: Literal["uint16", "uint32"]
    bos_token_id: Count
    eos_token_id: Count | None = None  # none: BOS
    bosrow: OwnFields


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A checked meta.json. `meta` holds all of it, with the fields that are not checked."""

    seq_len: int
    row_tokens: int
    vocab_size: int
    bos_token_id: int
    eos_token_id: int
    policy: str
    fingerprint: str
    shards: tuple[ShardInfo, ...]
    provenance: tuple[ProvenanceInfo, ...]
    tokenizer: TokenizerInfo
    ledger: dict[str, dict[str, Any]]
    meta: dict[str, Any]

    @property
    def dtype(self) -> TokenDtype:
        """What a token is on disk: little-endian uint16 or uint32."""
        return token_dtype(self.vocab_size)

    def shards_of(self, split: str) -> list[ShardInfo]:
        """The shards of one split, in order of their rows."""
        return [shard for shard in self.shards if shard.split == split]

    def rows_of(self, split: str) -> int:
        """How many rows a split has."""
        return sum(shard.rows for shard in self.shards_of(split))

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """The ledger of each split. Raises DataSetError if one has another form than in this version."""
        try:
            return {split: Ledger.from_json(self.ledger[split]) for split in SPLITS}
        except (KeyError, Invalid):
            raise DataSetError("meta.json holds a ledger that this version of bosrow cannot read") from None

    @property
    def share_lost(self) -> float:
        """The share of the tokens read that neither a row nor a stored tail holds."""
        ledgers = self.ledgers.values()
        read = sum(ledger.tokens_read for ledger in ledgers)
        kept = sum(ledger.tokens_placed for ledger in ledgers)
        if self.policy in LOSSLESS:
            kept += sum(ledger.tokens_tail for ledger in ledgers)
        return 1 - kept / max(1, read)

    @property
    def origin(self) -> OriginFields:
        """How the data set was made. Raises DataSetError if meta.json does not say it."""
        try:
            origin = typed(self.meta["bosrow"], OriginFields, "bosrow")
            if any(map(SURROGATE.search, origin.source.files)):
                raise Invalid("the name of a source file holds lone surrogates")
        except Invalid as error:
            raise DataSetError(f"meta.json does not say how the data set was made: {error}") from None
        return origin

    @property
    def begins_with_bos(self) -> bool:
        """Whether each row begins with BOS (every policy but `stream`)."""
        return self.policy != "stream"


def data_fingerprint(meta: dict[str, Any]) -> str:
    """SHA-256 of sizes, tokenizer, policy, ledger and each shard's checksum.

    The same source and options give the same fingerprint anywhere. So times, paths and speeds are left out, and also
    the provenance, whose Parquet bytes depend on the version of pyarrow.
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
    """Add the fingerprint and a checksum of itself to `meta`, and write it to meta.json atomically.

    Raises DataSetError if it would be too long for `read_manifest`.
    """
    meta["bosrow"] |= {"fingerprint": data_fingerprint(meta), "complete": True, "meta_sha256": NO_HASH}
    text = json.dumps(meta, indent=2, allow_nan=False).encode() + b"\n"
    if len(text) > MAX_META_BYTES:
        raise DataSetError(
            f"{data_dir / META} would have {len(text):,} bytes, at most {MAX_META_BYTES:,} are allowed; give fewer "
            "and larger source files or a larger --shard_rows, with --fresh"
        )
    digest = hashlib.sha256(text).hexdigest()
    place = text.rindex(f'"meta_sha256": "{NO_HASH}"'.encode()) + len('"meta_sha256": "')
    replace_file(data_dir / META, text[:place], digest.encode(), text[place + 64 :])


def read_manifest(data_dir: str | Path) -> Manifest:
    """Read and check `data_dir`/meta.json, and the size of every file that it names.

    Raises DataSetError if the data set is incomplete, damaged or of another schema, or if a file that it names is
    outside the directory, a link, or of the wrong size.
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
    _check_seal(path, data, meta)
    try:
        manifest = _manifest(typed(meta, MetaFields, "meta"), meta)
    except Invalid as error:
        raise DataSetError(f"{path}: {error}") from None
    for shard in manifest.shards:
        _check_file(data_dir / shard.name, shard.bytes, path)
    for file in manifest.provenance:
        _check_file(data_dir / "provenance" / file.name, file.bytes, path)
    for kept in manifest.tokenizer.kept_files:
        _check_file(data_dir / kept.name, kept.bytes, path)
    return manifest


def _check_seal(path: Path, data: bytes, meta: dict[str, Any]) -> None:
    """Raise DataSetError unless `meta`, parsed from `data`, has this schema and its own checksum and is complete."""
    own = meta.get("bosrow")
    if not isinstance(own, dict):
        raise DataSetError(f"{path} lacks the field 'bosrow'; it was not made by bosrow, or was damaged")
    if type(own.get("schema")) is not int or own["schema"] != SCHEMA:
        raise DataSetError(f"{path} has schema {own.get('schema')!r}; this bosrow reads schema {SCHEMA}")
    seal = own.get("meta_sha256")
    if not isinstance(seal, str) or len(seal) != len(NO_HASH) or sealed_digest(data, seal) != seal:
        raise DataSetError(f"{path} does not match its own checksum; it was damaged or edited")
    if own.get("complete") is not True:
        raise DataSetError(f"{path} does not say 'complete'; run the same 'bosrow prepare' command again")


def sealed_digest(data: bytes, seal: str) -> str:
    """SHA-256 of meta.json's bytes with its own checksum replaced by zeros."""
    return hashlib.sha256(data.replace(seal.encode(), NO_HASH.encode())).hexdigest()


def _manifest(fields: MetaFields, meta: dict[str, Any]) -> Manifest:
    """The manifest of fields that are right one by one. Raises Invalid if they do not fit each other."""
    own = fields.bosrow
    if fields.row_tokens != fields.seq_len + 1:
        raise Invalid(f"row_tokens is {fields.row_tokens}, seq_len + 1 = {fields.seq_len + 1} was required")
    if fields.bos_token_id >= fields.vocab_size:
        raise Invalid(f"bos_token_id is {fields.bos_token_id}, less than vocab_size = {fields.vocab_size} was required")
    eos_token_id = fields.bos_token_id if fields.eos_token_id is None else fields.eos_token_id
    if eos_token_id >= fields.vocab_size:
        raise Invalid(f"eos_token_id is {eos_token_id}, less than vocab_size = {fields.vocab_size} was required")
    dtype = token_dtype(fields.vocab_size)
    if fields.dtype != dtype.name:
        raise Invalid(f"dtype is {fields.dtype}, a vocabulary of {fields.vocab_size:,} takes {dtype.name}")
    if own.policy not in POLICIES:
        raise Invalid(f"policy is {own.policy[:80]!r}, one of {', '.join(POLICIES)} was required")
    for shard in own.shards:
        _check_name(shard.name, SHARD_NAME)
        size = shard.rows * fields.row_tokens * dtype.itemsize
        if not shard.name.startswith(shard.split):
            raise Invalid(f"shard {shard.name} is said to belong to split {shard.split!r}")
        if shard.bytes != size:
            raise Invalid(f"it gives {shard.name} {shard.bytes:,} bytes, but its {shard.rows:,} rows take {size:,}")
    for file in own.provenance:
        _check_name(file.name, PROVENANCE_NAME)
    names = [shard.name for shard in own.shards] + [file.name for file in own.provenance]
    if len(set(names)) != len(names):
        raise Invalid("it names a file twice")
    return Manifest(
        seq_len=fields.seq_len,
        row_tokens=fields.row_tokens,
        vocab_size=fields.vocab_size,
        bos_token_id=fields.bos_token_id,
        eos_token_id=eos_token_id,
        policy=own.policy,
        fingerprint=own.fingerprint,
        shards=tuple(own.shards),
        provenance=tuple(own.provenance),
        tokenizer=own.tokenizer,
        ledger=own.ledger,
        meta=meta,
    )


def _check_name(name: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(name):
        raise Invalid(f"it names {name[:80]!r}, which is not the name of a bosrow file")


def _check_file(path: Path, size: int, meta: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise DataSetError(f"{path} is missing, or not a regular file; the data set is damaged")
    found = path.stat().st_size
    if found != size:
        raise DataSetError(f"{path} has {found:,} bytes, but {meta} says {size:,}; the data set is damaged")


def as_entries(items: list[ShardInfo] | list[ProvenanceInfo]) -> list[dict[str, Any]]:
    """Shard or provenance records as stored in meta.json."""
    return msgspec.to_builtins(items)
