"""Small files tokenizer.json for tests. Imported after `pytest.importorskip("tokenizers")`."""

import json
from pathlib import Path

import tokenizers
from corpora import documents

BOS = "<|endoftext|>"


def write_tokenizer(folder: Path, vocab_size: int = 400, special: tuple[str, ...] = (BOS,), **config: str) -> Path:
    """A byte-level BPE trained on the corpus of these tests."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(100), trainer)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder / "tokenizer.json"


def write_wide_tokenizer(folder: Path) -> Path:
    """The same with other ids, most of them above 65,535, some below; BOS is the highest, 70,000."""
    path = write_tokenizer(folder)
    content = json.loads(path.read_bytes())
    (bos,) = content["added_tokens"]
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {token: 70_000 if token == BOS else 65_400 + id for token, id in vocabulary.items()}
    bos["id"] = 70_000
    path.write_text(json.dumps(content))
    return path
