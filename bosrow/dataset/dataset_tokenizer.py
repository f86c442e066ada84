"""The tokenizer that a data set was made with."""

from pathlib import Path

from bosrow.dataset.manifest import Manifest
from bosrow.errors import DataSetError, OptionError
from bosrow.files import read_untrusted
from bosrow.tokenizers.by_name import open_spec
from bosrow.tokenizers.gpt2 import VOCABULARY_SHA256
from bosrow.tokenizers.spec import TokenizerSpec, kind_of
from bosrow.tokenizers.tokenizer import Tokenizer


def dataset_tokenizer(data_dir: Path, manifest: Manifest) -> Tokenizer:
    """The tokenizer that a data set was made with. Raises DataSetError if bosrow does not have it."""
    try:
        tokenizer = open_spec(_spec(data_dir, manifest), "reference")
    except OptionError as error:
        raise DataSetError(f"{data_dir}: {error}") from None
    if tokenizer.vocabulary_sha256 != manifest.tokenizer.vocabulary_sha256:
        raise DataSetError(f"the tokenizer's files in {data_dir} are not those that meta.json names; they have changed")
    if tokenizer.dtype != manifest.dtype:
        raise DataSetError(
            f"{data_dir} holds {manifest.dtype.name} ids, its tokenizer gives {tokenizer.dtype.name}; "
            "meta.json was edited"
        )
    return tokenizer


def _spec(data_dir: Path, manifest: Manifest) -> TokenizerSpec:
    info = manifest.tokenizer
    files = tuple((kept.name, read_untrusted(data_dir / kept.name)) for kept in info.kept_files)
    if not files and info.vocabulary_sha256 != VOCABULARY_SHA256:
        raise DataSetError(f"{data_dir} was made with a tokenizer that bosrow does not have")
    return TokenizerSpec(
        name=info.name,
        kind=kind_of(files),
        bos_token_id=manifest.bos_token_id,
        eos_token_id=manifest.eos_token_id,
        append_eos=info.append_eos,
        revision=info.revision,
        files=files,
    )
