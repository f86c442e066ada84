"""Which local files `--data_files` means: names, globs and folders.

A name that exists is that file or folder, whatever characters it holds; else it is a glob. A folder stands for all
files of a known format below it, known by their endings, sorted by path. Left out there: hidden files and folders,
links, files of other endings (a README, checksums), and every folder that a preparation of bosrow made or is making.
Promise: each file is read once. What was taken of a folder, and what was named twice, is said in a line on standard
error. Cost: names, and one look at each file.
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

# What in a file of ours tells it from another tool's of the same name.
OURS = {META: b'"bosrow"', STATE: b'{"schema": '}


def find_files(patterns: Iterable[str], takes: Callable[[str], bool], skips: bool) -> list[str]:
    """The paths of the files that `patterns` name, in order; `takes` says whether a folder's file of a name counts.

    With `skips`, a file that cannot be read is left to be counted as bad. Raises SourceError where there is nothing.
    """
    named = [path for pattern in patterns for path in _expand(pattern, takes, skips)]
    files = {os.path.abspath(path): path for path in reversed(named)}  # of several names of a file, the first
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
                "mend or remove it, or leave such files out with --on_bad_row skip"
            )
    return files


def _files_below(folder: str, takes: Callable[[str], bool]) -> list[str]:
    """The files that a folder stands for; says what was taken and what was left out."""
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
            raise SourceError(f"--data_files: {place} cannot be listed ({error.strerror}); mend or move it") from None
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
        hint = "pack a data set anew by --from" if left_out["data set of bosrow"] else "give files or a glob"
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
    """Whether a file with the name of a manifest or a state is one of bosrow, complete or damaged."""
    if not entry.is_file(follow_symlinks=False):
        return False
    with Path(entry.path).open("rb") as file:
        return OURS[entry.name] in file.read(MAX_JSON_BYTES if entry.name == META else len(OURS[STATE]))
