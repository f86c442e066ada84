"""What rows are like, counted token by token out of the provenance's Parquet files."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from bosrow.dataset.manifest import read_manifest


def tokens_of_rows(data_dir):
    """Every row as a list of (document, offset), one for each token; (document, None) is a BOS that was added."""
    manifest = read_manifest(data_dir)
    rows = []
    for shard in manifest.shards:
        table = pq.read_table(data_dir / "provenance" / f"{Path(shard.name).stem}.parquet").to_pylist()
        grown = [[] for _ in range(shard.rows)]
        for piece in table:
            row, offset = grown[piece["row"]], piece["offset"]
            assert piece["column"] == len(row)
            length = piece["length"]
            if piece["added_bos"]:
                row.append((piece["document"], None))
                length -= 1
            row += [(piece["document"], offset + n) for n in range(length)]
        rows += grown
    return rows


def contexts(rows):
    """Of every predicted token (all but the first of a row): earlier tokens of its own document in its row."""
    found = []
    for row in rows:
        seen = Counter()
        for column, (document, offset) in enumerate(row):
            if column:
                found.append(0 if offset is None else seen[document])
            seen[document] += offset is not None
    return found


def cuts(rows, documents, *, stream=False):
    """Of every document: places at which it goes on in another row. An empty row stands between splits."""
    found = [0] * documents
    for number, row in enumerate(rows):
        for column, (document, offset) in enumerate(row):
            # A stream row repeats the last token of the one before: a cut if the document goes on behind it.
            repeated = stream and column == 0 and number > 0 and rows[number - 1]
            goes_on = repeated and len(row) > 1 and row[1][0] == document
            found[document] += offset is None or bool(goes_on)
    return found


def held(rows, documents):
    """Of every document: how many of its tokens some row holds."""
    places = {place for row in rows for place in row if place[1] is not None}
    found = [0] * documents
    for document, _ in places:
        found[document] += 1
    return found


def least_pieces(tokens, row_tokens):
    """How many pieces a document needs, one taken away after the other."""
    pieces = 1
    tokens -= row_tokens
    while tokens > 0:
        pieces += 1
        tokens -= row_tokens - 1  # one goes to a BOS of its own
    return pieces
