"""Where documents come from: the files of a corpus, found once and in a fixed order.

A source records each file with its size and a mark that changes when the file does, so that a resumed run can refuse
a corpus other than the one it began with. There are three kinds: local files, files on the Hub, and the documents of
a data set that bosrow made.
"""

import hashlib
import json
import os
from functools import cached_property
from itertools import accumulate
from typing import Any, BinaryIO

import msgspec

from bosrow.sources.formats import Format

UNREADABLE = "unreadable"  # the mark of a file that could not be read when it was found


class SourceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: its path, its name in provenance and messages, its size in bytes, and a mark that tells of changes."""

    path: str
    name: str
    size: int
    mark: str  # a local file's modification time in nanoseconds; the etag of a file on the Hub

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


class _Source(
    msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True, tag_field="kind", forbid_unknown_fields=True
):
    """What all sources share. A source is equal only to itself: comparing a million files would take too long."""

    format: Format
    files: tuple[SourceFile, ...]
    text_field: str
    id_field: str | None
    settings: str = "{}"  # JSON: for formats of WITH_SETTINGS, how to read the files

    def open(self, file: SourceFile) -> BinaryIO:
        """Open a file for seekable binary reading."""
        raise NotImplementedError

    def folders(self) -> set[str]:
        """The local folders that the source is read from."""
        raise NotImplementedError

    @property
    def origin(self) -> dict[str, str | None]:
        """What identifies a source apart from its files."""
        return {"dataset": None, "revision": None, "data": None}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names and sizes (on the Hub, also of revision and etags); the same on every machine."""
        marks = [[file.name, file.size, self._lasting_mark(file)] for file in self.files]
        return hashlib.sha256(json.dumps([*self.origin.values(), marks]).encode()).hexdigest()

    def _lasting_mark(self, file: SourceFile) -> str:
        """The mark of a file if it is the same on every machine, else empty."""
        return ""

    @cached_property
    def _ends(self) -> list[int]:
        """How many bytes of the corpus come before each file, and in all."""
        return list(accumulate((file.size for file in self.files), initial=0))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return self._ends[-1]

    def share(self, file: int, fraction: float) -> float:
        """The share of the corpus, in bytes, that comes before the point at `fraction` of a file."""
        inside = fraction * self.files[file].size if file < len(self.files) else 0.0
        return (self._ends[file] + inside) / max(1, self.size)


class LocalSource(_Source, frozen=True, kw_only=True, eq=False, dict=True, tag="local"):
    """Files of this machine."""

    def open(self, file: SourceFile) -> BinaryIO:
        return open(file.path, "rb")

    def folders(self) -> set[str]:
        return {os.path.dirname(file.path) for file in self.files}


class HubSource(_Source, frozen=True, kw_only=True, eq=False, dict=True, tag="hub"):
    """The files of one split of a data set on the Hub, at one commit."""

    dataset: str
    revision: str

    def open(self, file: SourceFile) -> BinaryIO:
        from bosrow.hub import ranges

        return ranges.open_file(self.dataset, self.revision, file.path, file.size)

    def folders(self) -> set[str]:
        return set()

    @property
    def origin(self) -> dict[str, str | None]:
        return super().origin | {"dataset": self.dataset, "revision": self.revision}

    def _lasting_mark(self, file: SourceFile) -> str:
        return file.mark


class DataSetSource(_Source, frozen=True, kw_only=True, eq=False, dict=True, tag="data_set"):
    """The documents of a data set that bosrow made. `files` name where they came from, and are not opened."""

    data_dir: str
    data: str  # the data set's fingerprint

    def folders(self) -> set[str]:
        return {self.data_dir}

    @property
    def origin(self) -> dict[str, str | None]:
        return super().origin | {"data": self.data}


Source = LocalSource | HubSource | DataSetSource


def upgraded_source(source: dict[str, Any]) -> dict[str, Any]:
    """A recorded source in the present form. Before version 0.2 it had the fields of all kinds, and no `kind`."""
    if "kind" in source:
        return source
    kind = "data_set" if source.get("data_dir") else "hub" if source.get("dataset") else "local"
    unused = [name for name in ("dataset", "revision", "data_dir", "data") if source.get(name) is None]
    return {"kind": kind} | {name: value for name, value in source.items() if name not in unused}
