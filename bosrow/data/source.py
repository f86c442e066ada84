"""Where documents come from: the files of a corpus, found once and in a fixed order.

A `Source` names every file with its size and a mark that changes when the file does, so that a resumed run
can refuse a corpus that is not the one it began with. Finding it reads file names and one Parquet footer,
no text.
"""

import glob
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args

import pyarrow as pa

from bosrow.data.options import PrepareOptions
from bosrow.errors import BadRowError, DataSetError, SourceError

Format = Literal["parquet", "json", "lines", "text", "tokens", "rows", "csv", "arrow", "webdataset"]
ITERATED = ("csv", "arrow", "webdataset")  # that `datasets` reads for us
# `datasets` builders and what we call them. All others hold no text, or (pandas) run code that a file may hold.
FORMATS = {"parquet": "parquet", "json": "json", "text": "lines"} | {name: name for name in ITERATED}
ENDINGS = {".parquet": "parquet", ".bin": "tokens", ".npy": "tokens"}  # .npy to be refused by name
ENDINGS |= {".csv": "csv", ".tsv": "csv", ".arrow": "arrow", ".tar": "webdataset"}
TOKEN_FORMATS = ("tokens", "rows")  # hold ids, not text
JSON_NAMES = (".jsonl", ".json", ".ndjson")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file: where it is, what it is called in provenance and messages, and what tells it from a changed one."""

    path: str
    name: str
    size: int
    mark: str  # of a local file, its time of change in nanoseconds; of one on the Hub, its etag

    @classmethod
    def local(cls, path: str, name: str) -> "SourceFile":
        """The file at `path` as it is now; one that cannot be looked at has no size."""
        try:
            status = os.stat(path)
        except OSError:
            return cls(path=path, name=name, size=0, mark="unreadable")
        return cls(path=path, name=name, size=status.st_size, mark=str(status.st_mtime_ns))


@dataclass(frozen=True, kw_only=True)
class Source:
    """A corpus: files of one format in reading order.

    `dataset` and `revision` are set for one on the Hub, `data_dir` and `data` (its fingerprint) for the rows of
    a data set of our own, whose `files` are then those that its documents once came from.
    """

    format: Format
    files: tuple[SourceFile, ...]
    text_field: str
    id_field: str | None
    dataset: str | None = None
    revision: str | None = None
    data_dir: str | None = None
    data: str | None = None
    settings: str = "{}"  # as JSON, for the builder of a format that `datasets` reads

    def open(self, file: SourceFile) -> BinaryIO:
        """Open a file, local or on the Hub, for seekable binary reading."""
        if self.dataset is None:
            return open(file.path, "rb")
        from bosrow.data import hub

        return hub.open_file(self.dataset, cast(str, self.revision), file.path, file.size)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and sizes (and, on the Hub, revision and etags), the same on every machine."""
        marks = [[file.name, file.size, file.mark if self.dataset else ""] for file in self.files]
        return hashlib.sha256(json.dumps([self.dataset, self.revision, self.data, marks]).encode()).hexdigest()

    def share(self, file: int, fraction: float) -> float:
        """How much of the corpus lies before the place at `fraction` of a file, by bytes."""
        sizes = [one.size for one in self.files]
        inside = fraction * sizes[file] if file < len(sizes) else 0.0
        return (sum(sizes[:file]) + inside) / max(1, sum(sizes))

    def as_json(self) -> dict[str, Any]:
        """The source as it is kept in the state file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Source":
        """What `as_json` gave."""
        if value["format"] not in get_args(Format):
            raise ValueError(f"its format is {value['format']!r}")
        return cls(**value | {"files": tuple(SourceFile(**file) for file in value["files"])})


def compression_of(name: str) -> str | None:
    """ "gzip", "zstd" or None, by the file's name."""
    return COMPRESSIONS.get(Path(name).suffix.lower())


def find_source(options: PrepareOptions) -> Source:
    """Find the corpus that `options` ask for. Raises SourceError with what is there instead."""
    if "[" in options.split or "+" in options.split:
        raise SourceError(
            f"--split is {options.split!r}; slices and sums of splits are not read, give a split's name "
            "(and --max_docs to stop early)"
        )
    if options.from_dir:
        return _rows(options.from_dir, options.allow_lossy)
    if options.data_files and (options.dataset is None or options.dataset in FORMATS):
        source = _local(options)
    elif options.data_files:
        raise SourceError(
            f"--data_files are local files; with them --dataset is one of {', '.join(FORMATS)}, not {options.dataset!r}"
        )
    elif options.dataset in FORMATS:
        raise SourceError(f"--dataset {options.dataset} reads local files; name them by --data_files")
    else:
        source = _hub(options)
    if source.format == "parquet" or source.format in ITERATED:
        _check_columns(source, skips=options.on_bad_row == "skip")
    return source


def _hub(options: PrepareOptions) -> Source:
    from bosrow.data import hub

    assert options.dataset is not None
    found = hub.resolve(options.dataset, options.config, options.split, options.revision)
    return Source(
        format=cast(Format, FORMATS[found.format]),
        files=tuple(SourceFile(path=file.path, name=file.path, size=file.size, mark=file.etag) for file in found.files),
        text_field=options.text_field,
        id_field=options.id_field,
        dataset=options.dataset,
        revision=found.revision,
        settings=found.settings,
    )


def _local(options: PrepareOptions) -> Source:
    if options.split != "train":
        raise SourceError(f"--split is {options.split!r}; local files have the one split 'train'")
    skips = options.on_bad_row == "skip"
    paths = [path for pattern in options.data_files for path in _expand(pattern, skips)]
    formats = {path: _format_of(path, options.dataset) for path in paths}
    if len(set(formats.values())) > 1:
        first, other = paths[0], next(path for path in paths if formats[path] != formats[paths[0]])
        raise SourceError(
            f"--data_files has files of several formats: {first} is {formats[first]}, {other} is {formats[other]}; "
            "prepare one format at a time, or say which it is by --dataset"
        )
    common = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return Source(
        format=formats[paths[0]],
        files=tuple(SourceFile.local(path, _name_below(common, path)) for path in paths),
        text_field=options.text_field,
        id_field=options.id_field,
    )


def _name_below(folder: str, path: str) -> str:
    """What a file is called in provenance and messages; names that are not UTF-8 are made so."""
    name = Path(os.path.relpath(os.path.abspath(path), folder)).as_posix()
    return os.fsencode(name).decode(errors="replace")


def _rows(data_dir: Path, allow_lossy: bool) -> Source:
    from bosrow.data.lookup import Provenance

    provenance = Provenance(data_dir)
    lost = provenance.share_lost
    if lost and not allow_lossy:
        raise DataSetError(
            f"--from {data_dir} holds not all of its documents: {lost:.1%} of their tokens were lost when it was made "
            f"(policy {provenance.manifest.policy}); prepare it by --policy keep or stream, or give --allow_lossy"
        )
    names = provenance.manifest.source_files
    return Source(
        format="rows",
        files=tuple(SourceFile(path="", name=name, size=0, mark="") for name in names),
        text_field="",
        id_field="id" if provenance.has_ids else None,
        data_dir=str(data_dir),
        data=provenance.manifest.fingerprint,
    )


def _expand(pattern: str, skips: bool) -> list[str]:
    """The files that match; with `skips`, one that cannot be read is left to be counted as bad."""
    paths = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
    files = [path for path in paths if not os.path.isdir(path)]
    if not glob.has_magic(pattern) and not os.path.lexists(pattern):
        raise SourceError(f"--data_files: there is no file {pattern}")
    if not files:
        what = "is a folder" if not glob.has_magic(pattern) else "matches no file"
        raise SourceError(f"--data_files: {pattern} {what}; give a file or a glob such as 'corpus/*.parquet'")
    for path in files:
        if not skips and not os.access(path, os.R_OK):
            raise SourceError(
                f"--data_files: {path} cannot be read (a broken link, or no permission); "
                "mend or remove it, or leave such files out with --on_bad_row skip"
            )
    return files


def _format_of(path: str, dataset: str | None) -> Format:
    if dataset is not None:
        return cast(Format, FORMATS[dataset])
    name = path.lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    if name.endswith(JSON_NAMES):
        return "json"
    return cast(Format, ENDINGS.get(Path(name).suffix, "text"))


def _check_columns(source: Source, skips: bool) -> None:
    """Look for the text column, so that a wrong name is told before anything is written.

    The first file decides; where bad files are skipped, the first that is as it has to be.
    """
    problems = (_column_problem(source, index) for index in range(len(source.files)))
    first = next(problems)
    if first is not None and not (skips and any(problem is None for problem in problems)):
        raise SourceError(first)


def _column_problem(source: Source, index: int) -> str | None:
    name = source.files[index].name
    try:
        schema = _schema(source, index)
    except (pa.ArrowException, OSError, BadRowError) as error:
        kind = "Parquet" if source.format == "parquet" else source.format
        return f"{name} is not a readable {kind} file ({error})"
    for flag, field in (("text_field", source.text_field), ("id_field", source.id_field)):
        if field is not None and field not in schema.names:
            return f"--{flag} is {field!r}, which {name} lacks; its columns are: {', '.join(schema.names)}"
        if schema.names.count(field) > 1:
            return f"--{flag} is {field!r}, and {name} has several columns of this name; rename the others"
    kind = schema.field(source.text_field).type
    if not is_text(kind):
        return f"--text_field {source.text_field!r} of {name} holds {kind}, text (string) was required"
    return None


def _schema(source: Source, index: int) -> pa.Schema:
    if source.format in ITERATED:
        from bosrow.data import iterated  # which builds on this module

        return iterated.schema_of(source, index)
    from bosrow.data import parquet_source  # likewise

    return parquet_source.schema_of(source, index)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text: a string of any width, or a dictionary of strings."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
