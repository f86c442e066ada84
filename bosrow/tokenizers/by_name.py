"""The tokenizer that --tokenizer names, and the engine that does its work.

The name is gpt2; a tokenizer.json or its folder; a .tiktoken file; an encoding of tiktoken; or a model on the Hub.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from bosrow.errors import OptionError
from bosrow.files import read_untrusted
from bosrow.tokenizers import hugging_face, tiktoken_files
from bosrow.tokenizers.gigatoken import GigatokenTokenizer, OtherIds
from bosrow.tokenizers.gpt2 import Gpt2Tokenizer, gpt2_spec
from bosrow.tokenizers.spec import CONFIGS, RANKS_FILE, SETTINGS_FILE, TOKENIZER_FILE, TokenizerSpec
from bosrow.tokenizers.special_tokens import AskedTokens
from bosrow.tokenizers.tokenizer import Tokenizer

NAME_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
NOTHING_ASKED = AskedTokens()
REFERENCES = {
    "gpt2": Gpt2Tokenizer,
    "tiktoken": tiktoken_files.TiktokenTokenizer,
    "hugging_face": hugging_face.HuggingFaceTokenizer,
}


def open_tokenizer(name: str, asked: AskedTokens = NOTHING_ASKED) -> Tokenizer:
    """The tokenizer that --tokenizer names, by its own library. Raises as `find_tokenizer` does."""
    return open_spec(find_tokenizer(name, asked), "reference")


def find_tokenizer(name: str, asked: AskedTokens = NOTHING_ASKED) -> TokenizerSpec:
    """The tokenizer that --tokenizer names, with the tokens around a document.

    Raises OptionError where there is no tokenizer or its BOS is not clear; SourceError and MachineError where one that
    is elsewhere cannot be fetched.
    """
    if name == "gpt2":
        return gpt2_spec(asked)
    path = Path(name)
    if path.exists():
        return _local(name, path, asked)
    if name in tiktoken_files.ENCODINGS:
        return tiktoken_files.spec_of_encoding(name, asked)
    if is_remote(name):
        from bosrow.tokenizers.hub_files import tokenizer_files  # with libraries that nothing else here needs

        repository, _, revision = name.partition("@")
        found = tokenizer_files(repository, revision or None)
        return hugging_face.spec_of(repository, repository, found.files, asked, found.commit)
    raise OptionError(
        f"--tokenizer is {name!r}, but there is no such file; give gpt2, a tokenizer.json or its folder, a .tiktoken "
        f"file, an encoding ({', '.join(tiktoken_files.ENCODINGS[:2])}), or a model on the Hub (NAMESPACE/NAME)"
    )


def is_remote(name: str) -> bool:
    """Whether a tokenizer that is no local file has to be fetched, so that a data set's own copy is used again."""
    fetched = name in tiktoken_files.ENCODINGS or NAME_ON_HUB.fullmatch(name) is not None
    return fetched and not name.endswith((".json", ".tiktoken", ".model", ".pkl")) and not Path(name).exists()


def _local(name: str, path: Path, asked: AskedTokens) -> TokenizerSpec:
    if path.suffix in (".pkl", ".pickle"):
        raise OptionError(
            f"--tokenizer {name} is a pickle, which can run code and is never opened; write its vocabulary as a "
            ".tiktoken file with its JSON: the page 'Tokenizers' of the documentation has the lines for it"
        )
    if path.suffix == ".tiktoken":
        return tiktoken_files.spec_of_file(path, asked)
    file = path / TOKENIZER_FILE if path.is_dir() else path
    models = sorted(path.glob("*.model")) if path.is_dir() else [path] if path.suffix == ".model" else []
    if models and not (file.is_file() and file not in models):
        raise OptionError(
            f"--tokenizer {name}: {models[0].name} is a SentencePiece model, which bosrow does not read; load the "
            f"tokenizer with transformers and give the folder of its save_pretrained(FOLDER), with a {TOKENIZER_FILE}"
        )
    if not file.is_file():
        raise OptionError(f"--tokenizer {name} is a folder without a {TOKENIZER_FILE}")
    beside = [config for config in CONFIGS if file.with_name(config).is_file()]
    files = {config: read_untrusted(file.with_name(config).resolve()) for config in beside}
    files[TOKENIZER_FILE] = read_untrusted(file.resolve())
    return hugging_face.spec_of(TOKENIZER_FILE, str(file), files, asked, None)


def kept_tokenizer(name: str, files: dict[str, bytes], asked: AskedTokens, revision: str | None) -> TokenizerSpec:
    """The tokenizer in `files`, which a data set or a checkpoint keeps. Raises OptionError if they are damaged."""
    if RANKS_FILE in files and SETTINGS_FILE in files:
        return tiktoken_files.spec_of(name, name, files[RANKS_FILE], files[SETTINGS_FILE], asked)
    return hugging_face.spec_of(name, name, files, asked, revision)


def open_spec(spec: TokenizerSpec, engine: str) -> Tokenizer:
    """The tokenizer of `spec`, by an engine: gigatoken, its own library ("reference"), or the faster of them ("auto").

    Under "auto" gigatoken is taken where it is installed, reads this tokenizer and gives the ids of its own library on
    texts that are known to be hard. Raises OptionError if `engine` cannot read it.
    """
    reference: Tokenizer = REFERENCES[spec.kind](spec)
    if engine in ("reference", reference.engine):
        return reference
    if engine == "auto" and find_spec("gigatoken") is None:
        return reference
    if engine not in ("auto", "gigatoken"):
        raise OptionError(f"--engine {engine} does not read {spec.name}; its own library is {reference.engine}")
    try:
        return GigatokenTokenizer(reference)
    except OtherIds:
        if engine == "gigatoken":
            raise
        return reference
