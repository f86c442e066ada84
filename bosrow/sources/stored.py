"""The documents of a data set that bosrow made (`--from`), rebuilt through its provenance.

Promise: they come in the order in which they were read when the data set was made. Cost: one process reads; a resumed
run rebuilds again the documents that come before its place.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bosrow.dataset.documents import cropped_documents, document_stretches
from bosrow.dataset.provenance import Provenance
from bosrow.packing.table import LOSSLESS
from bosrow.sources.source import DataSetSource, Source
from bosrow.sources.unit import Document, Position, Unit

UNIT_DOCUMENTS = 4096


def units_of(source: Source, start: Position) -> Iterator[Unit]:
    """Units with the rebuilt documents as payload; `part` of a position counts documents."""
    assert isinstance(source, DataSetSource)
    provenance = Provenance(Path(source.data_dir))
    files = {file.name: index for index, file in enumerate(source.files)}
    lossless = provenance.manifest.policy in LOSSLESS
    documents = document_stretches(provenance) if lossless else cropped_documents(provenance)
    for _ in range(start.part):
        next(documents)
    while payload := [
        Document(files[info.source_file], info.source_row, [first[1:], *others], info.id, info.split == "val")
        for info, (first, *others) in islice(documents, UNIT_DOCUMENTS)
    ]:
        end = Position(0, start.part + len(payload))
        yield Unit(start, end, end.part / len(provenance.documents), payload)
        start = end
