"""The tokenizer that a data set was made with."""

from pathlib import Path

from bosrow.dataset.manifest import Manifest
from bosrow.errors import DataSetError
from bosrow.tokenizers.gpt2 import VOCABULARY_SHA256, load_tokenizer
from bosrow.tokenizers.hugging_face import HuggingFaceTokenizer
from bosrow.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer


def dataset_tokenizer(data_dir: Path, manifest: Manifest) -> Tokenizer:
    """The tokenizer that a data set was made with. Raises DataSetError if bosrow does not have it."""
    sha256 = manifest.tokenizer.vocabulary_sha256
    if sha256 == VOCABULARY_SHA256:
        return load_tokenizer()
    if not manifest.has_tokenizer_file:
        raise DataSetError(f"{data_dir} was made with a tokenizer that bosrow does not have")
    tokenizer = HuggingFaceTokenizer(data_dir / TOKENIZER_FILE, bos_token_id=manifest.bos_token_id)
    if tokenizer.vocabulary_sha256 != sha256:
        raise DataSetError(f"{data_dir / TOKENIZER_FILE} is not the file that meta.json names; it has changed")
    return tokenizer
