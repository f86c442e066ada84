"""The memory estimate against what autograd really keeps, and smaller micro batches where a device has too little."""

import pytest
import torch

from bosrow.dataset.batch_plan import plan_batch
from bosrow.errors import MachineError
from bosrow.model.gpt2 import GPT2, ModelConfig
from bosrow.train.memory_estimate import activation_bytes, attempt_step, estimate_memory, fitting_plan

MEDIUM = ModelConfig(n_embd=1024, n_head=16, n_layer=24)


def kept_bytes(config: ModelConfig, rows: int) -> int:
    """Bytes of all storages that autograd saves between forward and backward, parameters and logits left out."""
    model = GPT2(config)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage
        return tensor

    tokens = torch.zeros(rows, config.seq_len, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model.transformer(tokens)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("layers", [2, 6])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_estimate_of_activations_is_within_a_tenth_of_what_autograd_keeps(layers, rows):
    config = ModelConfig(vocab_size=300, seq_len=128, n_embd=128, n_head=2, n_layer=layers, bos_token_id=0)
    estimate = activation_bytes(config, rows * config.seq_len, torch.float32, recompute=False)
    assert estimate == pytest.approx(kept_bytes(config, rows), rel=0.1)


def test_gpt2_medium_fits_24_gb_in_micro_batches_of_two_rows_and_not_of_forty():
    def total(rows: int) -> int:
        settings = {"seq_len": 1024, "dtype": torch.bfloat16, "recompute": False, "cuda": True}
        return estimate_memory(MEDIUM, micro_batch_size=rows, **settings).total

    assert total(2) < 24e9 < total(40)


def test_a_device_with_too_little_memory_gets_half_the_rows_and_the_same_tokens():
    asked = plan_batch(total_batch_tokens=64 * 128, micro_batch_size=16, seq_len=128, world_size=1)
    tried = []

    def attempt(rows: int) -> None:
        tried.append(rows)
        if rows > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")

    plan = fitting_plan(asked, attempt)
    assert tried == [16, 8, 4]
    assert (plan.micro_batch_size, plan.grad_accum_steps) == (4, 4 * asked.grad_accum_steps)
    assert plan.tokens_per_step == asked.tokens_per_step


def test_a_device_without_room_for_one_row_is_told_plainly():
    def attempt(rows: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    asked = plan_batch(total_batch_tokens=512, micro_batch_size=4, seq_len=128, world_size=1)
    with pytest.raises(MachineError, match="too little memory for micro batches of a single row"):
        fitting_plan(asked, attempt)


@pytest.mark.parametrize(("micro_batch_size", "passes"), [(8, 1), (4, 2), (2, 2)])
def test_a_step_that_accumulates_is_tried_with_gradients_beside_the_activations(micro_batch_size, passes):
    with_gradients = []

    class Seen(torch.nn.Linear):
        def forward(self, tokens, targets):
            assert tokens.shape == (micro_batch_size, 16)
            with_gradients.append(self.weight.grad is not None)
            return super().forward(tokens.float()).mean()

    plan = plan_batch(total_batch_tokens=8 * 16, micro_batch_size=8, seq_len=16, world_size=1)
    model = Seen(16, 4)
    attempt_step(model, plan, vocab_size=61, device=torch.device("cpu"), dtype=torch.float32)(micro_batch_size)
    assert with_gradients == [False, True][:passes]
    assert model.weight.grad is None
