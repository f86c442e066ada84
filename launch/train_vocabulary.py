"""A byte-level BPE vocabulary of a chosen size from the field "text" of Parquet or JSON-lines files.

    python launch/train_vocabulary.py OUT/tokenizer.json 4096 FILE [FILE ...]

For experiments on a CPU: with GPT-2's 50,257 tokens the output layer is most of a small model's work. Where files
can be spared, give it some that the experiment does not read; then no held-out document has shaped it. GPT-2's
splitting rule; token 0 is <|endoftext|>, which serves as BOS.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def texts(files: list[str]) -> Iterator[list[str]]:
    """The field `text` of all files, some documents at a time."""
    for file in files:
        if file.endswith(".jsonl"):
            with open(file, encoding="utf-8") as lines:
                yield from ([json.loads(line)["text"]] for line in lines)
            continue
        for batch in pq.ParquetFile(file).iter_batches(256, columns=["text"]):
            yield batch["text"].to_pylist()


def train_vocabulary(out: Path, vocab_size: int, files: list[str]) -> None:
    """Learn `vocab_size` tokens from `files` and write them to `out`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(texts(files), trainer)
    out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out))
    print(f"{out}: {tokenizer.get_vocab_size():,} tokens from {len(files)} files")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    train_vocabulary(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
