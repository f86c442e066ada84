"""Held-out documents: the val documents of a lossless data set, as they were before packing.

Cost: one pass over the val shards; their tokens in memory.
"""

from itertools import islice
from pathlib import Path

from bosrow.data.lookup import Provenance
from bosrow.data.manifest import read_manifest
from bosrow.data.options import LOSSLESS
from bosrow.data.tokenizer_file import dataset_tokenizer
from bosrow.errors import UserError
from bosrow.evals.bits_per_byte import Document


def heldout_documents(data_dir: Path, max_documents: int = 0) -> list[Document]:
    """The first `max_documents` val documents (0: all), in order of reading. Raises UserError if it has none."""
    manifest = read_manifest(data_dir)
    if manifest.policy not in LOSSLESS:
        raise UserError(
            f"{data_dir} was packed by policy {manifest.policy!r}, which crops its val documents too; "
            f"--heldout takes a data set of --policy {' or '.join(LOSSLESS)}"
        )
    if not manifest.rows_of("val"):
        raise UserError(f"{data_dir} has no val rows; prepare it with --val_fraction")
    tokenizer = dataset_tokenizer(data_dir, manifest)
    rebuilt = Provenance(data_dir).rebuild("val")
    return [
        Document(info.document, tokens[1:], len(tokenizer.decode(tokens[1:]).encode()))
        for info, tokens in islice(rebuilt, max_documents or None)
    ]
