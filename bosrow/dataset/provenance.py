"""The provenance of a data set, opened: from its rows to the documents they hold, and back.

    provenance = Provenance(Path("data/sample_bosrow"))
    for placed in provenance.pieces.of_row("train", 7):
        print(placed.column, provenance.documents[placed.piece.document].source_file)

Promise: files are checked against the manifest when they are opened, and pieces against the rows. What does not fit
raises DataSetError. Cost: opening reads meta.json; `PieceTable` and `DocumentTable` say what each look-up costs.
"""

from functools import cached_property
from pathlib import Path

from bosrow.dataset.document_table import DocumentTable
from bosrow.dataset.manifest import Manifest, read_manifest
from bosrow.dataset.piece_table import PieceTable
from bosrow.dataset.provenance_layout import pieces_file
from bosrow.dataset.provenance_parquet import ProvenanceFiles
from bosrow.errors import DataSetError


class Provenance:
    """The provenance of the data set in `data_dir`. Raises DataSetError if there is none, or if it does not fit."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.manifest: Manifest = read_manifest(data_dir)
        self._files = ProvenanceFiles(data_dir, self.manifest)
        if not self._files.names:
            raise DataSetError(f"{data_dir} was prepared with --no_provenance; prepare it again without that flag")
        lacking = [shard.name for shard in self.manifest.shards if pieces_file(shard.name) not in self._files.names]
        if lacking:
            raise DataSetError(f"{data_dir} lacks the provenance of {', '.join(lacking[:5])}; the data set is damaged")

    @cached_property
    def documents(self) -> DocumentTable:
        """The documents, by number."""
        return DocumentTable(self.manifest, self._files)

    @cached_property
    def pieces(self) -> PieceTable:
        """The pieces of the rows, and of the tail."""
        return PieceTable(self.manifest, self._files, documents=len(self.documents))
