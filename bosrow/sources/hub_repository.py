"""Which files a data set on the Hugging Face Hub has at one commit.

`resolve` first pins a commit, so that later pushes change nothing. Then `datasets` finds the files (README `configs:`,
file patterns); code in a data set is never run. Requests that fail in passing (rate limits, 5xx, resets, stalls, short
answers) are tried again after waits that grow, or that the Hub asks for; each retry is logged. Tokens are never shown.

Cost: a dozen small requests. `resolve` imports `datasets` and `huggingface_hub`, which takes about a second; importing
this module does not.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from bosrow.errors import BosrowError, SourceError
from bosrow.hub.errors import explained, passing_wait
from bosrow.hub.retries import limit_silence, retrying
from bosrow.sources.formats import ENDINGS, WITH_SETTINGS

if TYPE_CHECKING:
    from datasets import DatasetBuilder

# Formats are recognized by names alone, as in `datasets`. The last known ending decides: .jsonl.gz and x.parquet.jsonl
# hold lines of JSON, x.jsonl.parquet does not.
FORMATS = {
    ".parquet": "parquet",
    ".geoparquet": "parquet",
    ".gpq": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".txt": "text",
}
KNOWN_ENDINGS = FORMATS.keys() | ENDINGS.keys()
# Settings in a README that change which text a builder reads. bosrow reads with the defaults and refuses others.
READING_SETTINGS = {
    "parquet": ("filters",),
    "json": ("field", "encoding", "encoding_errors"),
    "text": ("sample_by", "keep_linebreaks", "encoding", "encoding_errors"),
}
CONFIGURATION_FILES = {"README.md", ".huggingface.yaml", "dataset_infos.json"}
PATHS_A_REQUEST = 500  # as many as huggingface_hub itself asks for at once


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a data set: path in the repository, size in bytes, and SHA-256 (of a small file, git's blob id)."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True, kw_only=True)
class HubDataset:
    """One split of one config at one commit; `files` are in the order in which `datasets` reads them."""

    dataset: str
    config: str | None
    split: str
    revision: str
    format: str  # of `datasets`
    files: tuple[HubFile, ...]
    settings: str = "{}"  # JSON: for formats of WITH_SETTINGS, how the README says to read the files


def resolve(dataset: str, config: str | None = None, split: str = "train", revision: str | None = None) -> HubDataset:
    """Find the files of `dataset` (NAMESPACE/NAME) at `revision` (branch, tag or commit; default: main's head now).

    Raises SourceError if there is no such data set, config, split or revision, if you have no access to it, if its
    files are of a format that bosrow does not read, or if the Hub cannot be reached.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", dataset):
        raise SourceError(
            f"{dataset!r} is not the name of a data set on the Hub (NAMESPACE/NAME, as in HuggingFaceFW/fineweb-edu); "
            "give local files with --data_files"
        )
    if not re.fullmatch(r"\w+(\.\w+)*", split):
        raise SourceError(
            f"--split {split!r} is an expression; give the name of a split, and --max_docs to read only its beginning"
        )
    _refuse_offline(dataset)
    try:
        return retrying(f"resolving {dataset}", passing_wait)(_resolve_once, dataset, config, split, revision)
    except BosrowError:
        raise
    except Exception as error:  # of two libraries and a YAML parser
        raise explained(error, dataset, revision) from error


def _resolve_once(dataset: str, config: str | None, split: str, revision: str | None) -> HubDataset:
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url

    limit_silence()
    info = HfApi().dataset_info(dataset, revision=revision)
    commit = info.sha
    assert commit is not None  # huggingface_hub leaves it out only if `expand` is given
    listed = {sibling.rfilename for sibling in info.siblings or ()}
    for name in sorted(listed - CONFIGURATION_FILES)[-1:]:
        # A gated data set lists its files to everyone. Only asking for one shows whether we may read them.
        with _listed_file():
            get_hf_file_metadata(hf_hub_url(dataset, name, repo_type="dataset", revision=commit))
    for name in sorted(listed & CONFIGURATION_FILES):
        # Put into the cache, where `datasets` finds it. Otherwise `datasets` would take a failed request for a
        # missing file.
        with _listed_file():
            hf_hub_download(dataset, name, repo_type="dataset", revision=commit)
    builder = _builder(dataset, config, commit)
    splits = builder.config.data_files
    if split not in splits:
        raise SourceError(
            f"{dataset}, config {builder.config.name!r}, has no split {split!r}; there are: {', '.join(splits)}"
        )
    paths = [_path_inside(dataset, commit, address) for address in splits[split]]
    if not paths:
        raise SourceError(f"{dataset}, config {builder.config.name!r}, split {split!r}, has no files")
    if builder.name in WITH_SETTINGS and not any(_ending(path) in FORMATS for path in paths):
        file_format, settings = builder.name, _reading_settings(dataset, builder.config)
    else:
        file_format, settings = _common_format(dataset, paths), "{}"
        _check_reading_settings(dataset, file_format, builder.config)
    return HubDataset(
        dataset=dataset,
        config=builder.config.name,
        split=split,
        revision=commit,
        format=file_format,
        files=tuple(_describe(dataset, commit, paths)),
        settings=settings,
    )


def _builder(dataset: str, config: str | None, commit: str) -> "DatasetBuilder":
    from datasets import get_dataset_config_names, load_dataset_builder
    from datasets.packaged_modules.cache.cache import Cache

    address = f"hf://datasets/{dataset}"  # never a local folder of the same name
    try:
        builder = load_dataset_builder(address, config, revision=commit)
    except ValueError as error:
        names = get_dataset_config_names(address, revision=commit)
        if config is None and len(names) > 1:
            raise SourceError(f"{dataset} has several configs; choose one with --config: {', '.join(names)}") from error
        if config is not None and config not in names:
            raise SourceError(f"{dataset} has no config {config!r}; there are: {', '.join(names)}") from error
        raise
    if isinstance(builder, Cache):  # the fallback of `datasets` if requests fail
        raise ConnectionError(f"{dataset} could not be resolved on the Hub")
    return builder


def _common_format(dataset: str, paths: list[str]) -> str:
    formats: dict[str, str] = {}
    for path in paths:
        file_format = FORMATS.get(_ending(path))
        if file_format is None:
            raise SourceError(
                f"{dataset} holds the file {path}; bosrow reads files that end in {', '.join(FORMATS)}, and data sets "
                f"of the formats {', '.join(WITH_SETTINGS)}"
            )
        formats.setdefault(file_format, path)
    if len(formats) > 1:
        raise SourceError(f"{dataset} mixes formats in one split, as in {' and '.join(formats.values())}")
    return next(iter(formats))


def _ending(path: str) -> str:
    """The last ending of a file's name that says what it holds; "" if none does."""
    endings = (ending.lower() for ending in reversed(PurePosixPath(path).suffixes))
    return next((ending for ending in endings if ending in KNOWN_ENDINGS), "")


def _check_reading_settings(dataset: str, file_format: str, config: Any) -> None:
    defaults = type(config)()  # of the first config's format, which `datasets` takes for all configs
    for setting in READING_SETTINGS[file_format]:
        value = getattr(config, setting, None)
        if value != getattr(defaults, setting, None):
            raise SourceError(
                f"{dataset}, config {config.name!r}, asks for {setting}={value!r}, which bosrow does not do; "
                "convert it with `datasets` and give the files with --data_files"
            )


def _reading_settings(dataset: str, config: Any) -> str:
    """The builder's settings that a README changes, as JSON."""
    from datasets import BuilderConfig

    defaults = type(config)()
    others = {"features", *vars(BuilderConfig())}  # what the columns hold does not change how a text is read
    changed = {name: value for name, value in vars(config).items() if value != getattr(defaults, name)}
    try:
        return json.dumps({name: value for name, value in changed.items() if name not in others}, sort_keys=True)
    except TypeError:
        raise SourceError(f"{dataset}, config {config.name!r}, has settings that are not JSON: {changed}") from None


def _path_inside(dataset: str, commit: str, address: str) -> str:
    prefix = f"hf://datasets/{dataset}@{commit}/"
    if not address.startswith(prefix) or address.endswith(".zip"):
        raise SourceError(
            f"{dataset} names the file {address}; bosrow reads only unzipped files in the data set's own repository"
        )
    return address.removeprefix(prefix)


def _describe(dataset: str, commit: str, paths: list[str]) -> Iterator[HubFile]:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    for start in range(0, len(paths), PATHS_A_REQUEST):
        batch = paths[start : start + PATHS_A_REQUEST]
        entries = HfApi().get_paths_info(dataset, batch, revision=commit, repo_type="dataset")
        by_path = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        for path in batch:
            if path not in by_path:
                raise SourceError(f"{dataset} has no file {path} at revision {commit}")
            entry = by_path[path]
            yield HubFile(path=path, size=entry.size, etag=entry.lfs.sha256 if entry.lfs else entry.blob_id)


def _refuse_offline(dataset: str) -> None:
    import datasets.config

    if datasets.config.HF_HUB_OFFLINE:  # set by HF_HUB_OFFLINE or HF_DATASETS_OFFLINE
        raise SourceError(
            f"offline mode is set (HF_HUB_OFFLINE or HF_DATASETS_OFFLINE), so the Hub is not asked for {dataset}; "
            "unset it, or give local files with --data_files"
        )


@contextmanager
def _listed_file() -> Iterator[None]:
    """Makes a ConnectionError, which is tried again, of a file that the Hub lists at a commit but does not find."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        yield
    except EntryNotFoundError as error:
        raise ConnectionError("a listed file was not found") from error
