"""Model folders on disk, as `bosrow eval` takes them, and files of items."""

import json
from pathlib import Path

from tiny import gpt2

from bosrow.model.pretrained import save_model


def model_folder(
    folder: Path, *, tokenizer: bool = True, vocab_size: int = 257, seq_len: int = 48, seed: int = 3
) -> Path:
    """A small GPT-2 in `folder`, with a tokenizer of single bytes whose BOS is token 256."""
    folder.mkdir(parents=True)
    save_model(gpt2(vocab_size=vocab_size, seq_len=seq_len, seed=seed), folder)
    if tokenizer:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        own = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(alphabet)}, merges=[]))
        own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        own.decoder = decoders.ByteLevel()
        own.add_special_tokens(["<|endoftext|>"])
        own.save(str(folder / "tokenizer.json"))
    return folder


def items_file(path: Path, records: list[dict]) -> Path:
    """A jsonl file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


HELLASWAG = [
    {"query": f"A man {verb}s. he", "endings": ["runs.", "sits on a chair.", "jumps", "is gone."], "label": number % 4}
    for number, verb in enumerate(["walk", "jump", "talk", "cook", "row", "<|endoftext|>", "swim"])
]
BLIMP = [
    {
        "sentence_good": f"The {noun} are.",
        "sentence_bad": f"The {noun} is.",
        "UID": uid,
        "linguistics_term": "agreement",
    }
    | {"field": "syntax"}
    for uid in ("one", "two")
    for noun in ("cats", "dogs", "men")
]
EWOK = [
    {
        "Domain": domain,
        "Context1": "Ann helps.",
        "Context2": "Ann harms.",
        "Target1": f"{who} laughs.",
        "Target2": f"{who} cries.",
    }
    for domain in ("social", "physical")
    for who in ("Bob", "Cid", "Dan")
]
