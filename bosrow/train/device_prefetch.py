"""Copies batches from host memory to the device: the next one while the model works on the present one.

Promise: on CUDA, copies run in parallel to the computation, from two page-locked buffers in turn. A buffer is never
refilled while a copy from it is in progress, and the host does not wait for the computation. On other devices batches
are copied when they are needed. Cost: on CUDA, two batches in page-locked memory and two on the device.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch

BUFFERS = 2

DeviceBatch = tuple[torch.Tensor, torch.Tensor, Any]  # inputs (B, T), targets (B, T), meta or None


class Copy(Protocol):
    """A copy of a host buffer to the device that may still be in progress."""

    tokens: torch.Tensor  # (2, B, T) on the device

    def wait_on_host(self) -> None:
        """Wait until the host buffer may be changed."""

    def wait_on_device(self) -> None:
        """Make later work on the device wait for the copy; the host does not wait."""


class CudaCopy:
    """A copy on a stream of its own."""

    def __init__(self, host: torch.Tensor, device: torch.device, stream: torch.cuda.Stream) -> None:
        self._device = device
        self._done = torch.cuda.Event()
        with torch.cuda.stream(stream):
            self.tokens = host.to(device, non_blocking=True)
            self._done.record(stream)

    def wait_on_host(self) -> None:
        self._done.synchronize()

    def wait_on_device(self) -> None:
        working = torch.cuda.current_stream(self._device)
        working.wait_event(self._done)
        self.tokens.record_stream(working)


def prefetched(batches: Iterable[tuple[Any, ...]], device: torch.device) -> Iterator[DeviceBatch]:
    """`batches` of (x, y) or (x, y, meta) with x and y on `device`."""
    if device.type != "cuda":
        return ((x.to(device), y.to(device), meta[0] if meta else None) for x, y, *meta in batches)
    stream = torch.cuda.Stream(device)
    return double_buffered(
        batches,
        new_buffer=lambda shape: torch.empty(shape, dtype=torch.int64, pin_memory=True),
        start_copy=lambda host: CudaCopy(host, device, stream),
    )


def double_buffered(
    batches: Iterable[tuple[Any, ...]],
    *,
    new_buffer: Callable[[tuple[int, ...]], torch.Tensor],
    start_copy: Callable[[torch.Tensor], Copy],
) -> Iterator[DeviceBatch]:
    """`batches` by way of two host buffers, made by `new_buffer`. `start_copy` copies each batch one batch ahead."""
    hosts: list[torch.Tensor] = []
    copies: list[Copy | None] = [None] * BUFFERS  # the last one from each buffer
    waiting: tuple[Copy, Any] | None = None
    for number, (x, y, *meta) in enumerate(batches):
        turn = number % BUFFERS
        last = copies[turn]
        if last is None:
            hosts.append(new_buffer((2, *x.shape)))
        else:
            last.wait_on_host()
        host = hosts[turn]
        host[0].copy_(x)
        host[1].copy_(y)
        copies[turn] = copy = start_copy(host)
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = copy, meta[0] if meta else None
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(copy: Copy, meta: Any) -> DeviceBatch:
    copy.wait_on_device()
    x, y = copy.tokens
    return x, y, meta
