"""Held-out documents out of a data set's val rows, as they were before packing.

Stream rows hold every token in order, each overlapping the next by one, so joined they are the documents
again; the last one, which the unfilled row at the end may have cut, is left out. Cost: the val split in memory.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from bosrow.data.rows import Rows, open_rows
from bosrow.data.tokenizer import Gpt2Tokenizer, load_tokenizer
from bosrow.errors import UserError
from bosrow.evals.bits_per_byte import Document


def heldout_documents(data_dir: Path, max_documents: int = 0) -> list[Document]:
    """The first `max_documents` val documents (0: all) of a data set of policy stream. Raises UserError for others."""
    rows = open_rows(data_dir, "val")
    if rows.manifest.policy != "stream":
        raise UserError(
            f"{data_dir} was packed by policy {rows.manifest.policy!r}, whose val rows do not hold whole documents in "
            "order; --heldout takes a data set of --policy stream"
        )
    tokenizer = load_tokenizer(rows.manifest.meta["tokenizer"])
    documents = []
    for document in _split(rows, tokenizer):
        documents.append(document)
        if len(documents) == max_documents:
            break
    return documents


def _split(rows: Rows, tokenizer: Gpt2Tokenizer) -> Iterator[Document]:
    held = rows[:]
    tokens = np.concatenate([held[0, :1], held[:, 1:].reshape(-1)])
    starts = np.flatnonzero(tokens == rows.manifest.bos_token_id)
    for number, (start, end) in enumerate(pairwise(starts.tolist())):
        ids = tokens[start + 1 : end]
        yield Document(number, ids, len(tokenizer.decode(ids).encode()))
