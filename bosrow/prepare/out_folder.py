"""The folder of a data set: which files in it are ours, and which of them an earlier run left there.

Promise: nothing is written into a folder that holds other files, nor through a link. Only files with our names are
deleted, and never a source. meta.json and the state file are deleted before the files that they name, so a crash never
leaves one of them without these files.
"""

import os
from pathlib import Path

from bosrow.dataset.manifest import META, PROVENANCE_NAME, SHARD_NAME, Manifest
from bosrow.dataset.provenance_layout import FOLDER as PROVENANCE
from bosrow.dataset.state_file import STATE
from bosrow.errors import DataSetError
from bosrow.files import sync_folder
from bosrow.lock import LOCK, OWNER
from bosrow.sources.source import Source
from bosrow.tokenizers.spec import KEPT_FILES

BAD_ROWS = "bad_rows.jsonl"
OUR_FILES = {META, STATE, BAD_ROWS, f"{META}.tmp", f"{STATE}.tmp", LOCK, OWNER, PROVENANCE, *KEPT_FILES}
OUR_FILES |= {f"{name}.tmp" for name in KEPT_FILES}
UNFINISHED = (".pieces", ".documents", ".ids", ".parquet.tmp")  # endings of incomplete files in `provenance`


def check_folder(folder: Path) -> None:
    """Raise DataSetError if the folder holds anything that is not ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataSetError(f"--out_dir {folder} is a file; a folder was required")
    foreign = [name for name in sorted(os.listdir(folder)) if name not in OUR_FILES and not SHARD_NAME.fullmatch(name)]
    if (folder / PROVENANCE).is_dir():
        names = sorted(os.listdir(folder / PROVENANCE))
        foreign += [
            f"{PROVENANCE}/{name}"
            for name in names
            if not PROVENANCE_NAME.fullmatch(name) and not name.endswith(UNFINISHED)
        ]
    for path in sorted([*folder.iterdir(), *(folder / PROVENANCE).glob("*")]):
        if path.is_symlink():
            raise DataSetError(f"--out_dir {folder} holds a link ({path}); nothing is written through links, remove it")
    if foreign:
        raise DataSetError(
            f"--out_dir {folder} holds other files ({', '.join(foreign[:5])}); give an empty or a new folder"
        )


def check_not_inside(folder: Path, source: Source) -> None:
    """Raise DataSetError if the source is inside `folder`, where files of earlier runs are deleted."""
    if any(Path(os.path.realpath(read)).is_relative_to(os.path.realpath(folder)) for read in source.folders()):
        raise DataSetError(f"--out_dir {folder} holds the source; give another folder")


def files_of(manifest: Manifest) -> set[str]:
    """The names of the files of a complete data set."""
    shards, provenance, kept = manifest.shards, manifest.provenance, manifest.tokenizer.kept_files
    names = {info.name for info in shards} | {info.name for info in provenance} | {file.name for file in kept}
    return {META, BAD_ROWS} | names


def delete_all_but(folder: Path, keep: set[str]) -> None:
    """Delete our files in `folder` and its provenance, except the names in `keep` and the lock."""
    doomed = [path for path in (folder / PROVENANCE).glob("*") if path.name not in keep]
    for path in folder.iterdir():
        if (path.name in OUR_FILES or SHARD_NAME.fullmatch(path.name)) and path.name not in keep:
            doomed += [] if path.name in (LOCK, OWNER, PROVENANCE) else [path]
    # These two name the others, so they are deleted first, durably: a crash must not leave them without these files.
    for name in (STATE, META):
        if folder / name in doomed:
            doomed.remove(folder / name)
            (folder / name).unlink()
            sync_folder(folder)
    for path in doomed:
        path.unlink()
    for parent in {path.parent for path in doomed}:
        sync_folder(parent)
