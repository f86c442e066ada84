"""The model is GPT-2: transformers' logits, its files, and the usual loss."""

import json
import re

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tiny import TINY, random_tokens, roughened
from torch.utils._python_dispatch import TorchDispatchMode

from bosrow.errors import UserError
from bosrow.model.gpt2 import EMBEDDING, GPT2, ModelConfig
from bosrow.model.pretrained import save_model, weights_sha256
from bosrow.train import load_model


def transformers_model(folder):
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(folder, local_files_only=True).eval()


def test_a_saved_model_has_the_logits_of_transformers(tmp_path):
    save_model(roughened(TINY), tmp_path)
    model, config = load_model(tmp_path)
    assert config == TINY
    tokens = random_tokens(TINY, 2, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), transformers_model(tmp_path)(tokens).logits, atol=1e-4, rtol=0)


def test_a_folder_saved_by_transformers_loads_with_or_without_its_prefix(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=301, n_positions=32, n_embd=32, n_head=4, n_layer=2, bos_token_id=0, eos_token_id=0)
    theirs = GPT2LMHeadModel(config).eval()
    tokens = random_tokens(TINY, 2, 16)
    for name, module in (("with_head", theirs), ("without_head", theirs.transformer)):
        module.save_pretrained(tmp_path / name)
        ours, _ = load_model(tmp_path / name)
        with torch.no_grad():
            torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tokens", [5, 256, 700])
def test_the_loss_in_pieces_is_the_usual_loss_and_so_are_its_gradients(tokens):
    model = roughened(TINY)
    x, y = random_tokens(TINY, tokens // 5, 5), random_tokens(TINY, tokens // 5, 6)[:, 1:]
    gradients = []
    for whole in (False, True):
        model.zero_grad()
        logits_loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten()) if whole else model(x, y)
        (logits_loss / 3).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()} | {"loss": logits_loss})
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], atol=1e-6, rtol=1e-4)


def test_the_two_uses_of_the_embedding_share_one_gradient():
    model = GPT2(TINY)
    weight = model.transformer.wte.weight
    made = set()

    class SeeGradients(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.shape == weight.shape:
                made.add(result.data_ptr())
            return result

    loss = model(random_tokens(TINY, 2, 8), random_tokens(TINY, 2, 8))
    with SeeGradients():
        loss.backward()
    assert made == {weight.grad.data_ptr()}


def test_losses_of_tokens_average_to_the_loss():
    model = roughened(TINY)
    x, y = random_tokens(TINY, 4, 32), random_tokens(TINY, 4, 32)
    losses = model.token_losses(x, y)
    assert losses.shape == (4, 32)
    torch.testing.assert_close(losses.mean(), model(x, y))


def test_padding_of_the_vocabulary_is_never_predicted_learned_or_stored(tmp_path):
    model = GPT2(TINY)
    assert model.transformer.wte.weight.shape[0] == 384
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(random_tokens(TINY, 2, 8), random_tokens(TINY, 2, 8)).backward()
    optimizer.step()
    assert not model.transformer.wte.weight[301:].any()
    assert model.stored(lambda parameter: parameter)[EMBEDDING].shape[0] == 301
    assert model(random_tokens(TINY, 1, 8)).shape == (1, 8, 301)


def test_activation_checkpointing_changes_no_gradient():
    x, y = random_tokens(TINY, 2, 32), random_tokens(TINY, 2, 32)
    gradients = []
    for recompute in (False, True):
        model = GPT2(TINY, recompute=recompute)
        model(x, y).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        assert torch.equal(kept, recomputed)


@pytest.mark.parametrize(("layers", "heads", "width"), [(12, 12, 768), (24, 16, 1024)])
def test_the_number_of_parameters_is_counted_without_making_them(layers, heads, width):
    config = ModelConfig(n_layer=layers, n_head=heads, n_embd=width)
    with torch.device("meta"):
        stored = GPT2(config).stored(lambda parameter: parameter)
    assert sum(parameter.numel() for parameter in stored.values()) == config.parameters


def test_a_config_that_is_no_gpt2_is_refused(tmp_path):
    save_model(GPT2(TINY), tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace("gelu_new", "relu"))
    with pytest.raises(UserError, match=r"activation_function is 'relu'; .* 'gelu_new'"):
        load_model(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    save_model(GPT2(TINY), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="a pickled file is never read"):
        load_model(tmp_path)


def test_a_folder_of_links_as_in_the_cache_of_the_hub_loads(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_model(roughened(TINY), blobs)
    for number, name in enumerate(("config.json", "model.safetensors")):
        (blobs / name).rename(blobs / f"{number:064x}")
        (snapshot / name).symlink_to(f"../../blobs/{number:064x}")
    model, config = load_model(snapshot)
    assert config == TINY
    tokens = random_tokens(TINY, 2, 8)
    torch.testing.assert_close(model(tokens), roughened(TINY)(tokens))


def sharded(folder, **changes: str) -> None:
    """TINY in two files with an index, of which `changes` move tensors to other files."""
    save_model(roughened(TINY), folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), start=1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file({tensor: tensors[tensor] for tensor in names}, folder / name)
        weight_map |= dict.fromkeys(names, name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map | changes}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_weights_in_several_files_load_as_those_in_one(tmp_path):
    sharded(tmp_path)
    tokens = random_tokens(TINY, 2, 8)
    torch.testing.assert_close(load_model(tmp_path)[0](tokens), roughened(TINY)(tokens))
    before = weights_sha256(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert weights_sha256(tmp_path) != before


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../other/model-00001-of-00002.safetensors", "is in '../other/model-00001"),
        ("/etc/passwd", "the name of a .safetensors file beside it is required"),
        ("..", "the name of a .safetensors file beside it is required"),
        ("pytorch_model.bin", "the name of a .safetensors file beside it is required"),
        ("model-00003-of-00002.safetensors", "which is missing; copy all files of the model"),
        ("model-00002-of-00002.safetensors", "against what model.safetensors.index.json says"),
    ],
)
def test_an_index_that_leaves_the_folder_or_is_wrong_is_refused(tmp_path, file, message):
    (tmp_path / "model").mkdir()
    (tmp_path / "other").mkdir()
    sharded(tmp_path / "other")
    sharded(tmp_path / "model", **{sorted(roughened(TINY).state_dict())[0]: file})
    with pytest.raises(UserError, match=re.escape(message)):
        load_model(tmp_path / "model")


def test_damaged_weights_are_refused(tmp_path):
    save_model(GPT2(TINY), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path)
