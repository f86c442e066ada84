"""Finds the local files that `--data_files` names: files, folders and globs.

A name that exists is that file or folder, whatever characters it holds; any other name is a glob. A folder stands for
all files below it whose endings are of a known format, sorted by path. Left out are hidden files and folders, links,
files with other endings (a README, checksums), and every folder that `bosrow prepare` has made or is making.
Promise: each file is read once. A line on standard error says which files of a folder were taken, and how many files
were named twice. Cost: listing the folders, and one stat per file.
"""

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.filesize import decimal

from bosrow.dataset.manifest import META
from bosrow.dataset.state_file import STATE
from bosrow.errors import SourceError
from bosrow.files import MAX_JSON_BYTES

# What tells our files from those of other tools with the same names.
OURS = {META: b'"bosrow"', STATE: b'{"schema": '}


def find_files(patterns: Iterable[str], takes: Callable[[str], bool], skips: bool) -> list[str]:
    """The paths of the files that `patterns` name, in order. `takes(name)` chooses among the files of a folder.

    Raises SourceError if a pattern names nothing, or a file that cannot be read; with `skips` the latter is allowed.
    """
    named = [path for pattern in patterns for path in _expand(pattern, takes, skips)]
    files = {os.path.abspath(path): path for path in reversed(named)}  # the first of several names of a file
    paths = [path for path in dict.fromkeys(named) if files[os.path.abspath(path)] == path]
    if len(paths) < len(named):
        again = next(path for path, count in Counter(map(os.path.abspath, named)).items() if count > 1)
        print(
            f"--data_files names {len(named) - len(paths):,} files more than once; each is read once "
            f"(the first: {files[again]})",
            file=sys.stderr,
        )
    return paths


def _expand(pattern: str, takes: Callable[[str], bool], skips: bool) -> list[str]:
    if os.path.isdir(pattern):
        files = _files_below(pattern, takes)
    elif os.path.lexists(pattern):
        files = [pattern]
    elif not glob.has_magic(pattern):
        raise SourceError(f"--data_files: there is no file {pattern}")
    else:
        files = [path for path in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(path)]
        if not files:
            raise SourceError(
                f"--data_files: {pattern} matches no file; give a file, a folder, or a glob such as 'corpus/*.parquet'"
            )
    for path in files:
        if not skips and not os.access(path, os.R_OK):
            raise SourceError(
                f"--data_files: {path} cannot be read (a broken link, or no permission); "
                "repair or remove it, or leave such files out with --on_bad_row skip"
            )
    return files


def _files_below(folder: str, takes: Callable[[str], bool]) -> list[str]:
    """The files that a folder stands for; prints how many were taken and left out."""
    found: list[str] = []
    size = 0
    left_out: Counter[str] = Counter()
    pending = [folder]
    while pending:
        place = pending.pop()
        try:
            with os.scandir(place) as listed:
                entries = list(listed)
        except OSError as error:
            raise SourceError(f"--data_files: {place} cannot be listed ({error.strerror}); repair or move it") from None
        if any(entry.name in OURS and _is_ours(entry) for entry in entries):
            left_out["data set of bosrow"] += 1
            continue
        for entry in entries:
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            elif entry.is_symlink():
                left_out["link"] += 1
            elif entry.is_dir():
                pending.append(entry.path)
            elif entry.is_file() and takes(entry.name):
                found.append(entry.path)
                size += entry.stat().st_size
            else:
                left_out["of another kind"] += 1
    rest = ", ".join(f"{count:,} {what}" for what, count in left_out.items())
    if not found:
        hint = "use --from to pack a data set again" if left_out["data set of bosrow"] else "give files or a glob"
        raise SourceError(
            f"--data_files: {folder} is a folder without a file of a known format ({rest or 'it is empty'}); {hint}"
        )
    print(
        f"{folder}: {len(found):,} file{'s' * (len(found) != 1)}, {decimal(size)}"
        + (f"; left out: {rest}" if rest else ""),
        file=sys.stderr,
    )
    return sorted(found)


def _is_ours(entry: "os.DirEntry[str]") -> bool:
    """Whether a file with the name of a manifest or state file was written by bosrow, even if it is damaged."""
    if not entry.is_file(follow_symlinks=False):
        return False
    with Path(entry.path).open("rb") as file:
        return OURS[entry.name] in file.read(MAX_JSON_BYTES if entry.name == META else len(OURS[STATE]))
