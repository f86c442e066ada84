"""Training: `make_dataloader` for any loop, `hugging_face_dataset` for the Trainer of transformers, `load_model` for a
checkpoint, and bosrow's own trainer.

Importing this package does not import torch; using one of its names does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bosrow.model.pretrained import load_model
    from bosrow.train.hugging_face import hugging_face_dataset
    from bosrow.train.loader import make_dataloader

__all__ = ["hugging_face_dataset", "load_model", "make_dataloader"]

_HOMES = {
    "hugging_face_dataset": "bosrow.train.hugging_face",
    "load_model": "bosrow.model.pretrained",
    "make_dataloader": "bosrow.train.loader",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bosrow.train' has no attribute {name!r}")
