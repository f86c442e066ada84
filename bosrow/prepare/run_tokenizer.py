"""The tokenizer of a preparation: found once, kept in its folder, and from then on read from there."""

from pathlib import Path
from typing import Any

from bosrow.dataset.dataset_tokenizer import dataset_tokenizer
from bosrow.dataset.manifest import META, read_manifest
from bosrow.dataset.state_file import read_state
from bosrow.errors import DataSetError
from bosrow.files import read_untrusted, replace_file
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources.formats import TOKEN_FORMATS
from bosrow.sources.source import Source
from bosrow.tokenizers.by_name import find_tokenizer, is_remote, kept_tokenizer, open_spec
from bosrow.tokenizers.spec import KEPT_FILES, Engine, TokenizerSpec
from bosrow.tokenizers.tokenizer import Tokenizer

WORTH_A_START_BYTES = 4 << 20  # of a source; gigatoken takes 0.2 s to start in each process, tiktoken 4 MB in that time


def run_tokenizer(options: PrepareOptions) -> Tokenizer:
    """The tokenizer that the options ask for, by its own library; with --from, that of the data set.

    One from the Hub or one of tiktoken's encodings is fetched when a preparation begins. What goes on takes the copy in
    its folder, so that it needs no network and stays at the revision that it was begun with.
    """
    if options.from_dir is not None:
        return dataset_tokenizer(options.from_dir, read_manifest(options.from_dir))
    spec = None if options.fresh or not is_remote(options.tokenizer) else _kept(options)
    return open_spec(spec or find_tokenizer(options.tokenizer, options.asked_tokens), "reference")


def with_engine(tokenizer: Tokenizer, engine: Engine, source: Source) -> Tokenizer:
    """The same tokenizer by the engine that is asked for. For a small source, starting gigatoken is not worth it."""
    if source.format in TOKEN_FORMATS or (engine == "auto" and source.size < WORTH_A_START_BYTES):
        return tokenizer
    return open_spec(tokenizer.spec, engine)


def _kept(options: PrepareOptions) -> TokenizerSpec | None:
    """The tokenizer in the folder, if it is the one that is asked for."""
    name, _, revision = options.tokenizer.partition("@")
    recorded = _recorded_identity(options.out_dir)
    paths = [options.out_dir / kept for kept in KEPT_FILES]
    files = {path.name: read_untrusted(path) for path in paths if path.is_file()}
    if recorded.get("tokenizer") != name or not files:
        return None
    commit = recorded.get("tokenizer_revision")
    if revision and not str(commit).startswith(revision):
        return None
    return kept_tokenizer(name, files, options.asked_tokens, commit)


def _recorded_identity(folder: Path) -> dict[str, Any]:
    """The identity of what is in the folder; nothing where nothing is, or where what is there is damaged."""
    try:
        if (folder / META).exists():
            return read_manifest(folder).origin.identity
        saved = read_state(folder)
    except DataSetError:  # told when the folder is opened
        return {}
    identity = saved.value.get("identity") if saved else None
    return identity if isinstance(identity, dict) else {}


def keep_tokenizer(spec: TokenizerSpec, folder: Path) -> None:
    """Write the tokenizer's files into the data set, durably."""
    for name, content in spec.files:
        replace_file(folder / name, content)


def say_tokenizer(tokenizer: Tokenizer, source: Source) -> None:
    """Tell on one line what stands around each document, how ids are stored and who finds them."""
    spec = tokenizer.spec
    before = f"{tokenizer.decode([spec.bos_token_id])} ({spec.bos_token_id:,}) before each document"
    after = f", {tokenizer.decode([spec.eos_token_id])} ({spec.eos_token_id:,}) after it" if spec.append_eos else ""
    engine = "" if source.format in TOKEN_FORMATS else f", engine {tokenizer.engine} {tokenizer.engine_version}"
    print(f"tokenizer {spec.name}: {before}{after}; {tokenizer.dtype.name} ids{engine}", flush=True)
