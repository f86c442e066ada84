"""Model folders in Hugging Face's format: config.json and model.safetensors, both ways.

Promise: a folder written here loads in transformers as it is, and any GPT-2 folder in safetensors loads here, in one
file or in several that an index names; whatever is in a folder, nothing is unpickled, nothing is executed and no file
outside of it is named. A config that would compute something else than GPT-2 is refused.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from bosrow.errors import DataSetError, UserError
from bosrow.files import read_untrusted, replace_file, sha256_of
from bosrow.model.gpt2 import EMBEDDING, GPT2, ModelConfig
from bosrow.strict_json import parse_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # of weights in several files: which file holds which tensor
# What transformers' GPT2Config takes where a config.json says nothing; other values compute another model.
REQUIRED = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors", re.ASCII)
NOT_PARAMETERS = (".attn.bias", ".attn.masked_bias")  # causal masks that older files carry


def config_json(config: ModelConfig) -> bytes:
    """`config` as transformers reads it. Dropout is 0, as it was in training."""
    fields = REQUIRED | {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_positions": config.seq_len,
        "n_embd": config.n_embd,
        "n_head": config.n_head,
        "n_layer": config.n_layer,
        "n_inner": None,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
        "bos_token_id": min(config.bos_token_id, config.vocab_size - 1),
        "eos_token_id": min(config.bos_token_id, config.vocab_size - 1),
        "torch_dtype": "float32",
    }
    return json.dumps(fields, indent=2).encode() + b"\n"


def read_config(folder: Path) -> ModelConfig:
    """The shape in `folder`/config.json. Raises UserError if that is no GPT-2."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} has no {CONFIG}; a model folder in Hugging Face's format is required")
    try:
        fields = parse_json(read_untrusted(path.resolve()), str(path))  # a cache of the Hub holds links
    except DataSetError as error:
        raise UserError(str(error)) from None
    for name, required in REQUIRED.items():
        if fields.get(name, required) != required:
            raise UserError(f"{path}: {name} is {fields[name]!r}; bosrow's GPT-2 has {required!r}")
    names = {"vocab_size": "vocab_size", "seq_len": "n_positions", "n_embd": "n_embd"}
    names |= {"n_head": "n_head", "n_layer": "n_layer"}
    shape: dict[str, int] = {}
    for ours, theirs in names.items():
        value: Any = fields.get(theirs)
        if type(value) is not int:
            raise UserError(f"{path}: {theirs} is {value!r}; an integer is required")
        shape[ours] = value
    if fields.get("n_inner") not in (None, 4 * shape["n_embd"]):
        raise UserError(f"{path}: n_inner is {fields['n_inner']!r}; bosrow's GPT-2 has 4 x n_embd")
    bos = fields.get("bos_token_id")
    return ModelConfig(**shape, bos_token_id=bos if type(bos) is int else ModelConfig.bos_token_id)


def save_model(model: GPT2, folder: Path) -> None:
    """Write `model` to `folder` (which exists) as config.json and model.safetensors, fp32, each atomically."""
    replace_file(folder / CONFIG, config_json(model.config))
    replace_file(folder / WEIGHTS, model_bytes(model))


def model_bytes(model: GPT2) -> bytes:
    """model.safetensors of `model`: fp32, contiguous, exactly vocab_size embedding rows, no second copy of the head."""
    tensors = model.stored(lambda parameter: parameter.detach())
    return save({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}, {"format": "pt"})


def weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """The files of weights in `folder` and the tensors that the index says are in each; None where there is no index.

    Raises UserError if there are none, or if the index is damaged or names a file that is not in `folder`.
    """
    if (folder / WEIGHTS).is_file():
        return {folder / WEIGHTS: None}
    path = folder / INDEX
    if not path.is_file():
        raise UserError(
            f"{folder} has no {WEIGHTS} and no {INDEX}; weights in safetensors are required "
            "(a pickled file is never read)"
        )
    try:
        index = parse_json(read_untrusted(path.resolve()), str(path)).get("weight_map")
    except DataSetError as error:
        raise UserError(str(error)) from None
    if not isinstance(index, dict) or not index:
        raise UserError(f"{path} has no weight_map; an object with the file of each tensor is required")
    files: dict[Path, set[str] | None] = {}
    for tensor, name in sorted(index.items()):
        if not isinstance(name, str) or not SHARD.fullmatch(name):
            raise UserError(f"{path}: {tensor} is in {name!r}; the name of a .safetensors file beside it is required")
        if not (folder / name).is_file():
            raise UserError(f"{path} names {name}, which is missing; copy all files of the model")
        tensors = files.setdefault(folder / name, set())
        assert tensors is not None
        tensors.add(tensor)
    return files


def weights_sha256(folder: Path) -> str:
    """What tells these weights from others: the SHA-256 of their file, or of the SHA-256 of each of their files."""
    digests = [sha256_of(path).hexdigest() for path in sorted(weight_files(folder))]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors in `folder`, as they are named there."""
    found: dict[str, torch.Tensor] = {}
    for path, expected in weight_files(folder).items():
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path} is not readable as safetensors ({error}); it is damaged") from None
        for name in sorted(tensors.keys() ^ expected) if expected is not None else ():
            raise UserError(f"{path} {'has' if name in tensors else 'lacks'} {name}, against what {INDEX} says")
        found |= tensors
    return found


def load_weights(model: GPT2, folder: Path) -> None:
    """Fill `model` from the weights in `folder`. Raises UserError naming what is missing, extra or misshapen."""
    found = _tensors(folder)
    # The file on the Hub was written from the model without its head, and so lacks the prefix.
    found = {name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": tensor
             for name, tensor in found.items() if not name.endswith(NOT_PARAMETERS)}  # fmt: skip
    head = found.pop("lm_head.weight", None)
    if head is not None and EMBEDDING in found and not torch.equal(head, found[EMBEDDING]):
        raise UserError(f"{folder}: the head's weight differs from the embedding; bosrow's GPT-2 ties them")
    wanted = model.stored(lambda parameter: parameter)
    for name in sorted(wanted.keys() ^ found.keys()):
        raise UserError(f"{folder} {'lacks' if name in wanted else 'has an unknown tensor'} {name}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            if parameter.shape != found[name].shape:
                raise UserError(
                    f"{folder}: {name} has shape {tuple(found[name].shape)}, {CONFIG} needs {tuple(parameter.shape)}"
                )
            parameter.copy_(found[name])


def load_model(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[GPT2, ModelConfig]:
    """A model for evaluation, and its shape, from a checkpoint of ours or any GPT-2 folder in safetensors.

    `model(tokens)` with int64 tokens (B, T), T at most `config.seq_len`, gives logits (B, T, vocab_size).

    >>> model, config = load_model("experiments/RUN/ckpt_final_step0020000", "cuda", torch.bfloat16)
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory; a model folder in Hugging Face's format is required")
    config = read_config(folder)
    with torch.device("meta"):
        model = GPT2(config)
    model.to_empty(device="cpu")
    model.transformer.wte.weight.data.zero_()
    load_weights(model, folder)
    return model.to(device=device, dtype=dtype).eval().requires_grad_(False), config
