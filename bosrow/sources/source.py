"""Where documents come from: the files of a corpus, found once and in a fixed order.

A `Source` names every file with its size and a mark that changes when the file does, so that a resumed run
can refuse a corpus that is not the one it began with. Finding it reads file names, one Parquet footer and the
beginning of files whose names do not say what they hold.
"""

import hashlib
import json
import os
from functools import cached_property
from itertools import accumulate
from typing import BinaryIO, cast

import msgspec

from bosrow.sources.formats import Format

UNREADABLE = "unreadable"  # the mark of a file that could not be read when it was found


class SourceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class Source(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True, forbid_unknown_fields=True):
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
        from bosrow.sources.hub import ranges

        return ranges.open_file(self.dataset, cast(str, self.revision), file.path, file.size)

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
