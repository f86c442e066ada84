"""Small models and a tokenizer of single characters, with which scores can be checked by eye."""

import numpy as np
import torch

from bosrow.distributed.world import World
from bosrow.evals.scoring import TransformerModel, Tree
from bosrow.model.gpt2 import GPT2, ModelConfig
from bosrow.tokenizers.spec import TokenizerSpec

TINY = ModelConfig(vocab_size=301, seq_len=32, n_embd=32, n_head=4, n_layer=3, bos_token_id=300)

ALONE = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))


class Bigram:
    """The next token depends on the last alone: log-probabilities are `table` (vocab, vocab)."""

    takes_trees = False
    device = torch.device("cpu")

    def __init__(self, table: torch.Tensor, context_tokens: int = 8) -> None:
        self.table = table
        self.vocab_size = len(table)
        self.context_tokens = context_tokens

    def hidden(self, tokens: torch.Tensor, tree: Tree | None) -> torch.Tensor:
        assert tokens.shape[1] <= self.context_tokens
        return self.table[tokens]

    def logits(self, hidden: torch.Tensor, words: slice) -> torch.Tensor:
        return hidden[:, words].clone()


class Characters:
    """One token a character; BOS is 0."""

    spec = TokenizerSpec(name="characters", kind="gpt2", bos_token_id=0, eos_token_id=0)
    vocab_size = 128

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode("ascii"), np.uint8).astype(np.uint16)


def gpt2(vocab_size: int = 128, seq_len: int = 48, seed: int = 3) -> GPT2:
    """A GPT-2 whose answers differ from context to context: wider initial weights than for training."""
    model = GPT2(ModelConfig(vocab_size=vocab_size, seq_len=seq_len, n_embd=32, n_head=4, n_layer=2), seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0)
    return model.eval().requires_grad_(False)


def language_model(**settings: int) -> TransformerModel:
    """`gpt2` as evaluations see it."""
    return TransformerModel(gpt2(**settings))


def random_tokens(config: ModelConfig, rows: int, length: int) -> torch.Tensor:
    """The same tokens each time; of shape (rows, length)."""
    return torch.randint(config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(1))


def roughened(config: ModelConfig) -> GPT2:
    """A model whose biases and norms are not at their initial 0 and 1, so that each of them counts."""
    model = GPT2(config, seed=7)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in model.stored(lambda parameter: parameter).values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model
