"""What `bosrow prepare` should leave on disk, from ids that tiktoken gives directly: slow, obvious, in memory."""

from hashlib import blake2b

import numpy as np
from oracles import packing

BOS = 50256


def document_tokens(encoding, text):
    """[BOS] + ids, as a list. `encoding` is a tiktoken.Encoding."""
    return [BOS, *encoding.encode_ordinary(text)]


def is_val(tokens, fraction):
    """Whether a hash sends a document ([BOS] + ids) to the val split."""
    digest = blake2b(np.array(tokens[1:], "<u2").tobytes(), digest_size=8, key=b"bosrow val split").digest()
    return int.from_bytes(digest, "big") / 2**64 < fraction


def rows_of(policy, documents, row_tokens, buffer_docs):
    """The rows, as lists of tokens, of documents that are lists of tokens; and the tail's tokens, one list.

    `crop-long-first` gives its rows of long documents last, whatever their place among the others.
    """
    lengths = [len(tokens) for tokens in documents]
    if policy == "crop":
        rows, tail = packing.crop(lengths, row_tokens, buffer_docs)
    elif policy == "crop-long-first":
        short, long, tail = packing.crop_long_first(lengths, row_tokens, buffer_docs)
        rows = short + long
    else:
        rows, tail = packing.stream(lengths, row_tokens)

    def tokens_of(pieces):
        return [
            token for document, offset, length, _ in pieces for token in documents[document][offset : offset + length]
        ]

    return [tokens_of(row) for row in rows], tokens_of(tail)
