"""The tokenizer that --tokenizer names."""

from pathlib import Path

from bosrow.errors import DataSetError, OptionError
from bosrow.tokenizers.gigatoken import GigatokenGpt2Tokenizer
from bosrow.tokenizers.gpt2 import Gpt2Tokenizer, load_tokenizer
from bosrow.tokenizers.hugging_face import HuggingFaceTokenizer, bos_token_id_of
from bosrow.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer


def open_tokenizer(name: str, bos_token_id: int | None = None, engine: str = Gpt2Tokenizer.engine) -> Tokenizer:
    """The tokenizer that --tokenizer names: gpt2 (by `engine`), a `tokenizer.json`, or a folder with one.

    Without `bos_token_id` its BOS is what the files beside it say, else its only special token. Raises OptionError
    where there is no tokenizer, where it has no BOS, or where an id takes more than 31 bits.
    """
    if name == Gpt2Tokenizer.name:
        return load_tokenizer() if engine == Gpt2Tokenizer.engine else GigatokenGpt2Tokenizer()
    path = Path(name)
    path = path / TOKENIZER_FILE if path.is_dir() else path
    if not path.is_file():
        raise OptionError(
            f"--tokenizer is {name!r}; give gpt2, or a tokenizer.json of Hugging Face (the file, or a folder with it)"
        )
    try:
        return HuggingFaceTokenizer(
            path.resolve(), bos_token_id=bos_token_id_of(path) if bos_token_id is None else bos_token_id
        )
    except DataSetError as error:
        raise OptionError(f"--tokenizer {name}: {error}") from None
