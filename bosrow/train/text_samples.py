"""Samples of text from a model, for people to read while it is trained."""

from pathlib import Path

import torch

from bosrow.dataset.dataset_tokenizer import dataset_tokenizer
from bosrow.dataset.manifest import Manifest
from bosrow.errors import DataSetError
from bosrow.model.gpt2 import GPT2


@torch.no_grad()
def sample_tokens(
    model: GPT2, start: list[int], tokens: int, seed: int, *, vocab_size: int, top_k: int = 50
) -> list[int]:
    """`tokens` ids with which `model` continues `start`, drawn from the `top_k` likeliest at temperature 0.8.

    Only ids below `vocab_size` are drawn, since a model may have more ids than its tokenizer has words. The whole text
    is computed again for each token, which is simple and fast enough here.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed % 2**64)
    training, ids = model.training, list(start)
    model.eval()
    try:
        for _ in range(tokens):
            context = torch.tensor([ids[-model.config.seq_len :]], device=device)
            # forward() is not compiled: the context grows, and each length would be compiled again
            logits = model.forward(context)[0, -1, :vocab_size].float()
            values, choices = (logits / 0.8).topk(min(top_k, len(logits)))
            drawn = torch.multinomial(values.softmax(0).cpu(), 1, generator=generator)
            ids.append(int(choices[drawn]))
    finally:
        model.train(training)
    return ids[len(start) :]


def sample_text(model: GPT2, data_dir: Path, manifest: Manifest, seed: int, tokens: int = 80) -> str | None:
    """A text that begins with BOS, as documents do; None if bosrow does not have the data set's tokenizer."""
    try:
        tokenizer = dataset_tokenizer(data_dir, manifest)
    except DataSetError:
        return None
    ids = sample_tokens(model, [manifest.bos_token_id], tokens, seed, vocab_size=tokenizer.vocab_size)
    end = ids.index(manifest.bos_token_id) if manifest.bos_token_id in ids else len(ids)
    return tokenizer.decode(ids[:end]).strip()
