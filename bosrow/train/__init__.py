"""Training: `make_dataloader` for any training loop, `load_model` for a checkpoint, and bosrow's own trainer.

Importing this package imports no torch; using one of its names does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bosrow.train.loader import make_dataloader
    from bosrow.train.pretrained import load_model

__all__ = ["load_model", "make_dataloader"]

_HOMES = {"make_dataloader": "bosrow.train.loader", "load_model": "bosrow.train.pretrained"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bosrow.train' has no attribute {name!r}")
