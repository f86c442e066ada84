"""Which device a run uses, its precision, and its peak speed."""

from contextlib import AbstractContextManager

import torch

from bosrow.errors import OptionError

# Dense bfloat16 matrix products, 10**12 operations a second, from the makers' data sheets; first match counts.
PEAK_TFLOPS = (
    ("H200", 989.0),
    ("H100 PCIe", 756.0),
    ("H100", 989.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("RTX 4090", 165.2),
    ("RTX 3090 Ti", 80.0),
    ("RTX 3090", 71.0),
    ("A10", 125.0),
    ("V100", 125.0),
)


def choose_device(asked: str, local_rank: int, local_world_size: int) -> torch.device:
    """The device of this rank. Raises OptionError if a GPU was asked for that is not there."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cuda" and not gpus:
        raise OptionError("--device cuda: torch finds no CUDA GPU on this machine; use --device auto or --device cpu")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise OptionError("--device mps: torch finds no Apple GPU on this machine; use --device auto or --device cpu")
    if asked == "mps" and local_world_size > 1:
        raise OptionError(f"--device mps runs in one process, not in {local_world_size}; start without torchrun")
    if asked == "cuda" or (asked == "auto" and gpus):
        if local_world_size > gpus:
            raise OptionError(
                f"{local_world_size} ranks were started on this machine, but it has {gpus} CUDA "
                f"GPU{'s' * (gpus > 1)}; use torchrun --nproc_per_node={gpus}, or --device cpu"
            )
        return torch.device("cuda", local_rank)
    if asked == "mps" or (asked == "auto" and torch.backends.mps.is_available() and local_world_size == 1):
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """Precision of matrix products: bfloat16 on GPUs that have it, unless something else was asked for."""
    if asked == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported(False) else torch.float32
    return torch.bfloat16 if asked == "bfloat16" else torch.float32


def prepare_device(device: torch.device) -> None:
    """Make `device` the current one; fp32 matrix products that remain on CUDA run in TF32."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Matrix products in `dtype`, weights and sums in fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def peak_flops(device: torch.device) -> float | None:
    """Operations a second that the device's maker names for bfloat16, if it is a known one."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((tflops * 1e12 for known, tflops in PEAK_TFLOPS if known in name), None)
