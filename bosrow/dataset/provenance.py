"""The provenance of a data set, opened: from its rows to the documents they hold, and back.

    provenance = Provenance(Path("data/sample_bosrow"))
    for placed in provenance.pieces.of_row("train", 7):
        print(placed.column, provenance.documents[placed.piece.document].source_file)

Promise: files are checked against the manifest when opened, and pieces against the rows, so what is said of a row or a
document fits the data set, or DataSetError says what does not. Cost: opening reads meta.json; what a question costs
stands with `PieceTable` and `DocumentTable`.
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
    """The provenance of the data set in `data_dir`. Raises DataSetError where it has none or does not fit."""

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
