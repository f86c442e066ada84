"""Held-out documents: the val documents of a data set whose policy loses nothing, as they were before packing.

Cost: one pass over the val shards; their tokens in memory.
"""

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from bosrow.dataset.dataset_tokenizer import dataset_tokenizer
from bosrow.dataset.documents import read_documents
from bosrow.dataset.manifest import read_manifest
from bosrow.dataset.provenance import Provenance
from bosrow.errors import UserError
from bosrow.evals.bits_per_byte import HeldOutDocument
from bosrow.packing.table import LOSSLESS
from bosrow.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class HeldOut:
    """Documents in the tokens of their data set, and its tokenizer."""

    documents: list[HeldOutDocument]
    tokenizer: Tokenizer

    def for_model(self, tokenizer: Tokenizer) -> list[HeldOutDocument]:
        """The documents in tokens of the model's tokenizer: as they are if it is the same, else encoded anew."""
        if tokenizer.vocabulary_sha256 == self.tokenizer.vocabulary_sha256:
            return self.documents
        return [
            replace(document, tokens=tokenizer.encode(self.tokenizer.decode(document.tokens)))
            for document in self.documents
        ]


def heldout_documents(data_dir: Path, max_documents: int = 0) -> HeldOut:
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
    rebuilt = read_documents(Provenance(data_dir), "val")
    documents = [
        HeldOutDocument(info.document, tokens[1:], len(tokenizer.decode(tokens[1:]).encode()))
        for info, tokens in islice(rebuilt, max_documents or None)
    ]
    return HeldOut(documents, tokenizer)
