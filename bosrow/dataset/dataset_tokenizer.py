"""The tokenizer that a data set was made with."""

from pathlib import Path

from bosrow.dataset.manifest import Manifest
from bosrow.errors import DataSetError
from bosrow.tokenizers.gpt2 import VOCABULARY_SHA256, load_tokenizer
from bosrow.tokenizers.hugging_face import HuggingFaceTokenizer
from bosrow.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer


def dataset_tokenizer(data_dir: Path, manifest: Manifest) -> Tokenizer:
    """The tokenizer that a data set was made with. Raises DataSetError if it is none that bosrow has."""
    sha256 = manifest.tokenizer.vocabulary_sha256
    tokenizer: Tokenizer
    if sha256 == VOCABULARY_SHA256:
        tokenizer = load_tokenizer()
    elif manifest.has_tokenizer_file:
        tokenizer = HuggingFaceTokenizer(data_dir / TOKENIZER_FILE, bos_token_id=manifest.bos_token_id)
    else:
        raise DataSetError(f"{data_dir} was made with a tokenizer that bosrow does not have")
    if tokenizer.vocabulary_sha256 != sha256:
        raise DataSetError(f"{data_dir / TOKENIZER_FILE} is not the file that meta.json names; it was changed")
    if tokenizer.dtype != manifest.dtype:
        raise DataSetError(
            f"{data_dir} holds {manifest.dtype.name} ids, its tokenizer gives {tokenizer.dtype.name}; "
            "meta.json was edited"
        )
    return tokenizer
