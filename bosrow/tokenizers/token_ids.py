"""What token ids are stored as, in rows and everywhere else: 16 bits where all ids of a vocabulary fit, else 32."""

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_VOCABULARY = 1 << 31  # so that an id is a 32-bit number with a sign or without

TokenDtype = np.dtype[np.unsignedinteger[Any]]
TokenArray = npt.NDArray[np.unsignedinteger[Any]]


def token_dtype(vocab_size: int) -> TokenDtype:
    """Little-endian uint16 where every id below `vocab_size` fits, else uint32.

    >>> token_dtype(50257).name, token_dtype(65_536).name, token_dtype(65_537).name
    ('uint16', 'uint16', 'uint32')
    """
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
