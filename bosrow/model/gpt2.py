"""GPT-2 in plain torch: Hugging Face's parameter names and layout, no dropout, head tied to the embedding.

Promise: the logits of transformers' GPT2LMHeadModel, and a `state_dict` that is that model's file, but
for the embedding: in memory it has a multiple of 128 rows, for fast matrix products; the rows beyond
`vocab_size` are zero, can never be predicted and are never stored.
Architecture: Radford et al. 2019; initial values: its section 2.3 and the released code.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from bosrow.errors import OptionError
from bosrow.model.cross_entropy import linear_cross_entropy, token_losses
from bosrow.model.tied_embedding import tied_embedding

EMBEDDING = "transformer.wte.weight"
VOCAB_MULTIPLE = 128
QUERIES_AT_ONCE = 128  # of masked attention: without the keys after them, which saves a third of the work of 384 tokens


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A GPT-2 shape. `seq_len` is the number of positions the model knows."""

    vocab_size: int = 50257
    seq_len: int = 1024
    n_embd: int = 768
    n_head: int = 12
    n_layer: int = 12
    bos_token_id: int = 50256  # begins a text, and ends one

    def __post_init__(self) -> None:
        for name in ("vocab_size", "seq_len", "n_embd", "n_head", "n_layer"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; at least 1 is required")
        if self.n_embd % self.n_head:
            raise OptionError(
                f"n_embd {self.n_embd} cannot be divided by n_head {self.n_head}; choose a multiple of it"
            )

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding inside the model: 50,304 for GPT-2's 50,257."""
        return math.ceil(self.vocab_size / VOCAB_MULTIPLE) * VOCAB_MULTIPLE

    @property
    def parameters(self) -> int:
        """Number of parameters as stored (124,439,808 for the defaults)."""
        per_layer = 12 * self.n_embd**2 + 13 * self.n_embd
        return (self.vocab_size + self.seq_len + 2) * self.n_embd + self.n_layer * per_layer

    def flops_per_token(self, seq_len: int) -> float:
        """Floating-point operations to train on one token: 6 a matrix weight, and attention's (PaLM, appendix B)."""
        matrix_weights = self.n_layer * 12 * self.n_embd**2 + self.vocab_size * self.n_embd
        return 6 * matrix_weights + 12 * self.n_layer * self.n_embd * seq_len


class Linear(nn.Module):
    """A linear layer whose weight is stored (inputs, outputs), as GPT-2's files have it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.t(), self.bias)


class Attention(nn.Module):
    """Causal self-attention; with `visible` (B, T, T), bool, over the tokens marked there, never a later one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = Linear(config.n_embd, config.n_embd)

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
        B, T, C = x.shape
        heads = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)  # (B, heads, T, C / heads)
        if visible is None:
            y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            y = _masked_attention(query, key, value, visible[:, None])
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


def _masked_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor
) -> torch.Tensor:
    """Attention (B, heads, T, C / heads) where `visible` (B, 1, T, T), a stretch of queries at a time."""
    T = query.shape[2]
    parts = []
    for first in range(0, T, QUERIES_AT_ONCE):
        last = min(first + QUERIES_AT_ONCE, T)
        pieces = (query[:, :, first:last], key[:, :, :last], value[:, :, :last])
        parts.append(F.scaled_dot_product_attention(*pieces, attn_mask=visible[:, :, first:last, :last]))
    return torch.cat(parts, dim=2)


class MLP(nn.Module):
    """Four times as wide inside, GELU in its tanh form."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """One transformer layer, normalised before each part."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = MLP(config)

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x), visible)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Tokens to hidden states."""

    def __init__(self, config: ModelConfig, recompute: bool) -> None:
        super().__init__()
        self.recompute = recompute
        self.wte = nn.Embedding(config.padded_vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.seq_len, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)

    def forward(
        self, tokens: torch.Tensor, positions: torch.Tensor | None = None, visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """States (B, T, C). `positions` (B, T) and `visible` (B, T, T) replace plain order and causal attention."""
        return self.states(self.wte(tokens), positions, visible)

    def states(
        self, x: torch.Tensor, positions: torch.Tensor | None = None, visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The same for embedded tokens `x` (B, T, C)."""
        x = x + (self.wpe.weight[: x.shape[1]] if positions is None else self.wpe(positions))
        for block in self.h:
            if self.recompute and self.training:
                x = checkpoint(block, x, visible, use_reentrant=False)
            else:
                x = block(x, visible)
        return self.ln_f(x)


class GPT2(nn.Module):
    """GPT-2 with a language-model head.

    `recompute` is activation checkpointing: a layer's inside is computed again in the backward pass
    instead of being kept, a third more work for a fraction of the memory.
    """

    def __init__(self, config: ModelConfig, *, seed: int = 42, recompute: bool = False) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config, recompute)
        self._initialise(torch.Generator().manual_seed(seed))

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, T, vocab_size) for `tokens` (B, T), or with `targets` (B, T) their mean loss, an fp32 scalar."""
        weight = self.transformer.wte.weight
        if targets is None:
            return F.linear(self.transformer(tokens), weight[: self.config.vocab_size])
        x, head = tied_embedding(tokens, weight)
        hidden = self.transformer.states(x).flatten(0, 1)
        return linear_cross_entropy(hidden, head, targets.flatten(), self.config.vocab_size)

    @torch.no_grad()
    def token_losses(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of each target in nats, (B, T), fp32."""
        hidden = self.transformer(tokens).flatten(0, 1)
        losses = token_losses(hidden, self.transformer.wte.weight, targets.flatten(), self.config.vocab_size)
        return losses.view_as(targets)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Normal weights of deviation 0.02, less on the residual path; biases 0. The same on every device and rank."""
        residual = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if name == EMBEDDING:
                parameter.zero_()[: self.config.vocab_size].normal_(0, 0.02, generator=generator)
            elif name.endswith("c_proj.weight"):
                parameter.normal_(0, residual, generator=generator)
            elif parameter.dim() == 2:
                parameter.normal_(0, 0.02, generator=generator)

    def stored(self, get: Callable[[nn.Parameter], torch.Tensor]) -> dict[str, torch.Tensor]:
        """`get(parameter)` by name for each parameter, cut to what files hold: exactly vocab_size embedding rows."""
        tensors = {name: get(parameter) for name, parameter in self.named_parameters()}
        tensors[EMBEDDING] = tensors[EMBEDDING][: self.config.vocab_size]
        return tensors

    def padded(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """The inverse of `stored` for one tensor: the embedding gets its zero rows back."""
        if name != EMBEDDING:
            return tensor
        return F.pad(tensor, (0, 0, 0, self.config.padded_vocab_size - self.config.vocab_size))
