"""Finds a corpus: from the options to the files to read, in a fixed order."""

import json
import os
from pathlib import Path
from typing import cast

import msgspec
import pyarrow as pa

from bosrow.errors import BadRowError, DataSetError, SourceError
from bosrow.sources.compression import unpacked
from bosrow.sources.formats import FORMATS, ITERATED, WITH_SETTINGS, Format, is_text, known_format
from bosrow.sources.local_files import find_files
from bosrow.sources.source import DataSetSource, HubSource, LocalSource, Source, SourceFile
from bosrow.sources.source_options import SourceOptions

FIRST_LINE_BYTES = 1 << 20  # read of a file whose name does not tell its format


def find_source(options: SourceOptions) -> Source:
    """Find the corpus that `options` ask for. Raises SourceError, which says what was found instead."""
    if "[" in options.split or "+" in options.split:
        raise SourceError(
            f"--split is {options.split!r}; slices and sums of splits are not supported, give a split's name "
            "(and --max_docs to stop early)"
        )
    if options.from_dir:
        return _rows(options.from_dir, options.allow_lossy)
    source: Source
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
        from bosrow.sources.csv_files import settings_of

        source = msgspec.structs.replace(source, settings=settings_of(source.settings, options.csv_quoting))
    elif options.csv_quoting is not None:
        raise SourceError(f"--csv_quoting says how CSV is written; this source is {source.format}")
    if source.format == "parquet" or source.format in WITH_SETTINGS:
        _check_columns(source, skips=options.on_bad_row == "skip")
    return source


def _hub(options: SourceOptions) -> HubSource:
    from bosrow.sources import hub_repository

    assert options.dataset is not None
    found = hub_repository.resolve(options.dataset, options.config, options.split, options.revision)
    return HubSource(
        format=cast(Format, FORMATS[found.format]),
        files=tuple(SourceFile(path=file.path, name=file.path, size=file.size, mark=file.etag) for file in found.files),
        text_field=options.text_field,
        id_field=options.id_field,
        dataset=options.dataset,
        revision=found.revision,
        settings=found.settings,
    )


def _local(options: SourceOptions) -> LocalSource:
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
    return LocalSource(
        format=formats[paths[0]],
        files=tuple(SourceFile.local(path, _name_below(common, path)) for path in paths),
        text_field=options.text_field,
        id_field=options.id_field,
    )


def _name_below(folder: str, path: str) -> str:
    """A file's name in provenance and messages, always valid UTF-8: its path below `folder`."""
    name = Path(os.path.relpath(os.path.abspath(path), folder)).as_posix()
    return os.fsencode(name).decode(errors="replace")


def _rows(data_dir: Path, allow_lossy: bool) -> DataSetSource:
    from bosrow.dataset.provenance import Provenance

    provenance = Provenance(data_dir)
    lost = provenance.manifest.share_lost
    if lost and not allow_lossy:
        raise DataSetError(
            f"--from {data_dir} lacks parts of its documents: {lost:.1%} of their tokens were lost when it was made "
            f"(policy {provenance.manifest.policy}); prepare it with --policy keep or stream, or give --allow_lossy"
        )
    names = provenance.manifest.origin.source.files
    return DataSetSource(
        format="rows",
        files=tuple(SourceFile(path="", name=name, size=0, mark="") for name in names),
        text_field="",
        id_field="id" if provenance.documents.have_ids else None,
        data_dir=str(data_dir),
        data=provenance.manifest.fingerprint,
    )


def _format_of(path: str, dataset: str | None, text_field: str) -> Format:
    """A file's format: `dataset` if given, or else by its name. Without a known ending it is JSON lines or text."""
    if dataset is not None:
        return cast(Format, FORMATS[dataset])
    return known_format(path) or ("json" if _holds_json_lines(path, text_field) else "text")


def _holds_json_lines(path: str, text_field: str) -> bool:
    """Whether a file's first line is a JSON object, or an array of objects, with a string in `text_field`."""
    try:
        with open(path, "rb") as packed:
            line = unpacked(packed, path).read(FIRST_LINE_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
        value = json.loads(line) if line[:1] in (b"{", b"[") else None
    except (OSError, BadRowError, ValueError, RecursionError):  # the reader reports what is wrong
        return False
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and isinstance(first.get(text_field), str)


def _check_columns(source: Source, skips: bool) -> None:
    """Look for the text column, so that a wrong name is reported before anything is written.

    The first file must have it; if bad files are skipped, one of the files must.
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
            return f"--{flag} is {field!r}, but {name} has several columns of this name; rename the others"
    kind = schema.field(source.text_field).type
    if not is_text(kind):
        return f"--text_field {source.text_field!r} of {name} holds {kind}, text (string) was required"
    return None


def _schema(source: Source, index: int) -> pa.Schema:
    from bosrow.sources import csv_files

    if source.format == "csv":
        return csv_files.schema_of(source, index)
    if source.format in ITERATED:
        from bosrow.sources import via_datasets  # only here: it imports more than the others need

        return via_datasets.schema_of(source, index)
    from bosrow.sources import parquet

    return parquet.schema_of(source, index)
