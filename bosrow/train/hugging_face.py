"""Rows for Hugging Face's Trainer: by number, as {"input_ids", "labels"}.

A language model of transformers shifts the labels by itself: it compares its prediction at a token with the label of
the next one. So `labels` are the same tokens as `input_ids`. (The y of `make_dataloader` is already shifted. As
`labels` it would silently train the model to predict the token after the next one.)

Promise: the loss of such a batch is the loss on (x, y) of the same rows. The order, the epochs and the shares of the
ranks are the Trainer's. Cost: one read per batch; the model computes one more position per row than it needs.
"""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from bosrow.dataset.rows import open_rows
from bosrow.errors import OptionError

Example = dict[str, torch.Tensor]


class TrainerRows(Dataset[Example]):
    """The rows of one split; see `hugging_face_dataset`."""

    def __init__(self, data_dir: str | Path, split: str, seq_len: int, positions: int | None) -> None:
        self.rows = open_rows(data_dir, split, seq_len=seq_len)
        if positions is not None and positions < seq_len:
            raise OptionError(
                f"the model has {positions} positions, but the rows of {data_dir} have seq_len {seq_len}; "
                f"prepare the data with --seq_len {positions - 1}"
            )
        self.tokens = seq_len if positions == seq_len else seq_len + 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Example:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int]) -> list[Example]:
        """A batch at once, as torch's DataLoader asks for it: int64 tensors (seq_len + 1,)."""
        tokens = torch.from_numpy(self.rows[rows][:, : self.tokens].astype(np.int64))
        return [{"input_ids": row, "labels": row} for row in tokens]


def hugging_face_dataset(
    data_dir: str | Path, split: str, seq_len: int, *, positions: int | None = None
) -> TrainerRows:
    """The rows of a split for `transformers.Trainer(train_dataset=...)`.

    Each row has seq_len + 1 tokens, which are seq_len predictions. If the model has only seq_len positions, give its
    number as `positions` (GPT-2: `model.config.n_positions`): its rows then lack their last token, one prediction.
    Raises OptionError for another seq_len or split or for too few positions, DataSetError for an incomplete data set.

    >>> from transformers import Trainer
    >>> rows = hugging_face_dataset("data/sample_bosrow", "train", 1024, positions=model.config.n_positions)
    >>> Trainer(model=model, args=arguments, train_dataset=rows).train()
    """
    return TrainerRows(data_dir, split, seq_len, positions)
