"""Checks that a preparation goes on with the options, tokenizer, schema and source that it was begun with.

Any difference is refused, and shown as then -> now on aligned lines.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bosrow.errors import DataSetError
from bosrow.packing.table import LOSSLESS
from bosrow.prepare.prepare_options import DEFAULT_VAL_FRACTION, PrepareOptions
from bosrow.report.then_and_now import Change, changes, then_and_now
from bosrow.sources.source import HubSource, Source, SourceFile
from bosrow.strict_json import typed

SHOWN_FILES = 10


class RecordedSplit(msgspec.Struct):
    """The fields of an identity that define the val split."""

    val_fraction: Annotated[float, Meta(ge=0, lt=1)] | None = None
    val_shards: Annotated[int, Meta(ge=0)] | None = None


def with_recorded_split(options: PrepareOptions, identity: dict[str, Any]) -> PrepareOptions:
    """`options`, with the val split that `identity` records if they do not define one.

    Raises Invalid if the recorded split is damaged.
    """
    if options.val_fraction is not None or options.val_shards is not None or options.keeps_split:
        return options
    split = typed(upgraded_identity(identity, options), RecordedSplit, "identity")
    return replace(options, val_fraction=split.val_fraction, val_shards=split.val_shards)


def upgraded_identity(identity: dict[str, Any], options: PrepareOptions) -> dict[str, Any]:
    """An identity in the present form. Before version 0.2 it did not record the default val split.

    That was one shard for the crop policies, and a fraction for the others. With `--from` documents keep their splits.
    """
    said = identity.get("val_fraction"), identity.get("val_shards")
    if said != (None, None) or options.from_dir is not None:
        return identity
    lossless = identity.get("policy") in LOSSLESS
    return identity | ({"val_fraction": DEFAULT_VAL_FRACTION} if lossless else {"val_shards": 1})


def check_same(
    folder: Path,
    then: dict[str, Any],
    now: dict[str, Any],
    source_then: Source | None = None,
    source_now: Source | None = None,
) -> None:
    """Raise DataSetError unless both identities are equal, and both sources if they are known."""
    found = changes(then, now)
    if source_then and source_now:
        of_source = _source_changes(source_then, source_now)
        if of_source:
            found = [change for change in found if change.name != "source"] + of_source
    if not found:
        return
    what = "another source" if source_then and not any(change.name in now for change in found) else "other options"
    raise DataSetError(
        f"{folder} was begun with {what} (then -> now):\n{then_and_now(found)}"
        "\ngive the old values to go on, another --out_dir, or --fresh to start over"
    )


def _source_changes(then: Source, now: Source) -> list[Change]:
    """A line for each difference between two sources; of their files, the first SHOWN_FILES by name."""
    lines = [
        Change(f"source {change.name}", change.then, change.now)
        for change in changes({"format": then.format} | then.origin, {"format": now.format} | now.origin)
    ]
    before = {file.name: file for file in then.files}
    after = {file.name: file for file in now.files}
    changed = [
        Change(name, _described(then, before.get(name)), _described(now, after.get(name)))
        for name in sorted(before | after)
        if _described(then, before.get(name)) != _described(now, after.get(name))
    ]
    if len(changed) > SHOWN_FILES:
        rest = Change("more files", f"{len(changed) - SHOWN_FILES:,}", "changed too")
        changed = [*changed[:SHOWN_FILES], rest]
    if not changed and list(before) != list(after):
        changed = [Change("order of files", ", ".join(before)[:200], ", ".join(after)[:200])]
    return lines + changed


def _described(source: Source, file: SourceFile | None) -> str:
    if file is None:
        return "no such file"
    if isinstance(source, HubSource) or not (file.mark.isdigit() and len(file.mark) < 20):
        return f"{file.size:,} bytes {file.mark}".rstrip()
    changed = datetime.fromtimestamp(int(file.mark) // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{file.size:,} bytes, changed {changed}.{int(file.mark) % 10**9:09d}"
