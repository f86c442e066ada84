"""Batches on their way to the device: in order, whole, and never overwritten while a copy is in flight."""

import pytest
import torch

from bosrow.distributed.world import World
from bosrow.model.gpt2 import GPT2, ModelConfig
from bosrow.train.device_prefetch import double_buffered, prefetched
from bosrow.train.optimizer import make_optimizer, optimizer_step
from bosrow.train.train_options import TrainOptions

CPU = torch.device("cpu")


class SlowestCopy:
    """The device at its slowest: it reads the host buffer when the host waits for it, and not before."""

    def __init__(self, host: torch.Tensor) -> None:
        self._host = host
        self._done = False
        self.tokens = torch.full_like(host, -1)

    def wait_on_host(self) -> None:
        if not self._done:
            self.tokens.copy_(self._host)
            self._done = True

    def wait_on_device(self) -> None:
        pass  # the device's work is put off, the host goes on


def numbered(count: int):
    return [(torch.full((3, 4), 2 * number), torch.full((3, 4), 2 * number + 1), number) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_a_slow_device_gets_every_batch_as_it_was(count):
    buffers: list[torch.Tensor] = []
    copies: list[SlowestCopy] = []

    def new_buffer(shape: tuple[int, ...]) -> torch.Tensor:
        buffers.append(torch.empty(shape, dtype=torch.int64))
        return buffers[-1]

    def start_copy(host: torch.Tensor) -> SlowestCopy:
        copies.append(SlowestCopy(host))
        return copies[-1]

    arrived = list(double_buffered(numbered(count), new_buffer=new_buffer, start_copy=start_copy))
    for copy in copies:
        copy.wait_on_host()  # the device comes to its work at last
    assert [meta for *_, meta in arrived] == list(range(count))
    assert all(bool((x == 2 * number).all() and (y == 2 * number + 1).all()) for x, y, number in arrived)
    assert len(buffers) == min(count, 2)


def test_a_copy_begins_one_batch_before_it_is_needed():
    begun: list[int] = []

    def start_copy(host: torch.Tensor) -> SlowestCopy:
        begun.append(int(host[0, 0, 0]) // 2)
        return SlowestCopy(host)

    for _, _, number in double_buffered(numbered(5), new_buffer=torch.empty, start_copy=start_copy):
        assert begun == list(range(min(number + 2, 5)))


def test_without_cuda_batches_are_handed_on_without_a_copy():
    batches = numbered(3)
    for (x, y, meta), (there_x, there_y, there_meta) in zip(batches, prefetched(iter(batches), CPU), strict=True):
        assert there_x is x
        assert there_y is y
        assert meta == there_meta


WAITS = ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__")


@pytest.mark.parametrize("micro_batch_size", [1, 2, 8])
def test_a_step_reads_from_the_device_once(monkeypatch, micro_batch_size):
    """Each of these calls on a CUDA tensor makes the host wait for the device."""
    config = ModelConfig(vocab_size=61, seq_len=8, n_embd=8, n_head=2, n_layer=2)
    model = GPT2(config)
    optimizer = make_optimizer(model, TrainOptions(data_dir="unused"))
    world = World(rank=0, size=1, local_rank=0, device=CPU)
    waits: list[str] = []

    def counted(name: str):
        original = getattr(torch.Tensor, name)

        def wrapper(self, *arguments, **named):
            waits.append(name)
            return original(self, *arguments, **named)

        return wrapper

    x, y = torch.randint(61, (2, 8, 8))
    for _ in range(2):  # the first makes the optimizer's state
        waits.clear()
        with monkeypatch.context() as patch, SyncsInside(waits):
            for name in WAITS:
                patch.setattr(torch.Tensor, name, counted(name))
            optimizer_step(
                model, optimizer, (x, y), micro_batch_size=micro_batch_size, learning_rate=1e-3,
                grad_clip=1.0, dtype=torch.float32, world=world, stop_asked=bool,
            )  # fmt: skip
    assert waits == ["tolist"]


class SyncsInside(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the operations by which torch's own code, below Python's methods, reads values of tensors."""

    READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "masked_select")

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        name = operation.__name__.split(".")[0]
        if name in self.READS:
            self.found.append(name)
        return operation(*arguments, **(named or {}))


def test_the_counter_of_waits_sees_what_it_should():
    found: list[str] = []
    with SyncsInside(found):
        torch.nonzero(torch.ones(2))
        bool(torch.ones(1).sum() > 0)
    assert found == ["nonzero", "_local_scalar_dense"]
