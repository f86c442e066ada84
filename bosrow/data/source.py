"""Where documents come from: the files of a corpus, found once and in a fixed order.

A `Source` names every file with its size and a mark that changes when the file does, so that a resumed run
can refuse a corpus that is not the one it began with. Finding it reads file names, one Parquet footer and the
beginning of files whose names do not say what they hold.
"""

import hashlib
import json
import os
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args

import pyarrow as pa

from bosrow.data.compression import unpacked, without_compression
from bosrow.data.local_files import find_files
from bosrow.data.options import PrepareOptions
from bosrow.errors import BadRowError, DataSetError, SourceError

Format = Literal["parquet", "json", "lines", "text", "tokens", "rows", "csv", "arrow", "webdataset"]
ITERATED = ("arrow", "webdataset")  # that `datasets` reads for us
WITH_SETTINGS = ("csv", *ITERATED)  # of which a README may say how they are to be read
# `datasets` builders and what we call them. All others hold no text, or (pandas) run code that a file may hold.
FORMATS = {"parquet": "parquet", "json": "json", "text": "lines"} | {name: name for name in WITH_SETTINGS}
ENDINGS = {".parquet": "parquet", ".bin": "tokens", ".npy": "tokens", ".txt": "text"}  # .npy to be refused by name
ENDINGS |= {".csv": "csv", ".tsv": "csv", ".arrow": "arrow", ".tar": "webdataset"}
FIRST_LINE_BYTES = 1 << 20  # of a file whose name does not say what it holds
TOKEN_FORMATS = ("tokens", "rows")  # hold ids, not text
JSON_NAMES = (".jsonl", ".json", ".ndjson", ".jl", ".jsonlines")
UNREADABLE = "unreadable"  # the mark of a file that could not be read when it was found


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file: where it is, what it is called in provenance and messages, and what tells it from a changed one."""

    path: str
    name: str
    size: int
    mark: str  # of a local file, its time of change in nanoseconds; of one on the Hub, its etag

    @classmethod
    def local(cls, path: str, name: str) -> "SourceFile":
        """The file at `path` as it is now; one that cannot be read has no size."""
        try:
            status = os.stat(path)
        except OSError:
            return cls(path=path, name=name, size=0, mark=UNREADABLE)
        if not os.access(path, os.R_OK):
            return cls(path=path, name=name, size=0, mark=UNREADABLE)
        return cls(path=path, name=name, size=status.st_size, mark=str(status.st_mtime_ns))


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A corpus: files of one format in reading order. It equals itself alone: there may be a million files to compare.

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
    settings: str = "{}"  # as JSON, how the files of a format of WITH_SETTINGS are to be read

    def open(self, file: SourceFile) -> BinaryIO:
        """Open a file, local or on the Hub, for seekable binary reading."""
        if self.dataset is None:
            return open(file.path, "rb")
        from bosrow.data import hub

        return hub.open_file(self.dataset, cast(str, self.revision), file.path, file.size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names and sizes (and, on the Hub, revision and etags), the same on every machine."""
        marks = [[file.name, file.size, file.mark if self.dataset else ""] for file in self.files]
        return hashlib.sha256(json.dumps([self.dataset, self.revision, self.data, marks]).encode()).hexdigest()

    @cached_property
    def _ends(self) -> list[int]:
        """How many bytes of the corpus lie before each file, and before its end."""
        return list(accumulate((file.size for file in self.files), initial=0))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return self._ends[-1]

    def share(self, file: int, fraction: float) -> float:
        """How much of the corpus lies before the place at `fraction` of a file, by bytes."""
        inside = fraction * self.files[file].size if file < len(self.files) else 0.0
        return (self._ends[file] + inside) / max(1, self.size)

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """The source as it is kept in the state file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"files": [vars(file) for file in self.files]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Source":
        """What `as_json` gave."""
        if value["format"] not in get_args(Format):
            raise ValueError(f"its format is {value['format']!r}")
        if value["format"] == "csv" and "rules" not in json.loads(value["settings"]):
            raise DataSetError(
                "this preparation was begun by an older bosrow, which read CSV by the rules of pandas and lost text; "
                "start over with --fresh, or go on with the bosrow that began it"
            )
        return cls(**value | {"files": tuple(SourceFile(**file) for file in value["files"])})


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
    if source.format == "csv":
        from bosrow.data.csv_source import settings_of  # which builds on this module

        source = replace(source, settings=settings_of(source.settings, options.csv_quoting))
    elif options.csv_quoting is not None:
        raise SourceError(f"--csv_quoting says how CSV is written; this source is {source.format}")
    if source.format == "parquet" or source.format in WITH_SETTINGS:
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
    wanted = {"lines": "text"}.get(FORMATS[options.dataset], FORMATS[options.dataset]) if options.dataset else None

    def takes(name: str) -> bool:
        found = known_format(name)
        return found is not None and wanted in (None, found)

    paths = find_files(options.data_files, takes, skips)
    formats = {path: _format_of(path, options.dataset, options.text_field) for path in paths}
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


def _format_of(path: str, dataset: str | None, text_field: str) -> Format:
    """By the last ending; a file whose ending says nothing is looked into, and else a text."""
    if dataset is not None:
        return cast(Format, FORMATS[dataset])
    return known_format(path) or ("json" if _holds_json_lines(path, text_field) else "text")


def known_format(path: str) -> Format | None:
    """The format that a file's last ending stands for, after that of a compression; None where it stands for none."""
    name = without_compression(path.lower())
    if name.endswith(JSON_NAMES):
        return "json"
    return cast(Format | None, ENDINGS.get(Path(name).suffix))


def _holds_json_lines(path: str, text_field: str) -> bool:
    """Whether the first line of a file is a JSON object, or an array of such, with a text in `text_field`."""
    try:
        with open(path, "rb") as packed:
            line = unpacked(packed, path).read(FIRST_LINE_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
        value = json.loads(line) if line[:1] in (b"{", b"[") else None
    except (OSError, BadRowError, ValueError, RecursionError):  # whoever reads it on says what is wrong
        return False
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and isinstance(first.get(text_field), str)


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
    except BadRowError as error:
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
    from bosrow.data import csv_source  # which builds on this module, as the others do

    if source.format == "csv":
        return csv_source.schema_of(source, index)
    if source.format in ITERATED:
        from bosrow.data import iterated  # which imports more than the others need

        return iterated.schema_of(source, index)
    from bosrow.data import parquet_source  # likewise

    return parquet_source.schema_of(source, index)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text: a string of any width, or a dictionary of strings."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
