"""The packing rules once more, slow and obvious, written from the rules and not from bosrow's code.

Each returns (rows, tail): rows as lists of (document, offset, length, added_bos), the tail alike.
"""


def crop(lengths, row_tokens, buffer_docs):
    """A list in order of arrival, filled up to `buffer_docs`, searched from end to end for each placement."""
    arriving = list(enumerate(lengths))
    buffer = []
    rows, row, space = [], [], row_tokens
    while buffer or arriving:
        while arriving and len(buffer) < buffer_docs:
            buffer.append(arriving.pop(0))
        chosen = None
        for candidate in buffer:
            if candidate[1] <= space and (chosen is None or candidate[1] > chosen[1]):
                chosen = candidate
        if chosen is None:
            for candidate in buffer:
                if chosen is None or candidate[1] < chosen[1]:
                    chosen = candidate
        buffer.remove(chosen)
        document, tokens = chosen
        row.append((document, 0, min(tokens, space), False))
        space -= min(tokens, space)
        if space == 0:
            rows.append(row)
            row, space = [], row_tokens
    return rows, row


def crop_long_first(lengths, row_tokens, buffer_docs):
    """`crop` over the short documents alone; each long one has a row, which stands where it arrived."""
    short = [(number, tokens) for number, tokens in enumerate(lengths) if tokens < row_tokens]
    rows, tail = crop([tokens for _, tokens in short], row_tokens, buffer_docs)
    renamed = [[(short[document][0], *rest) for document, *rest in row] for row in [*rows, tail]]
    long = [[(number, 0, row_tokens, False)] for number, tokens in enumerate(lengths) if tokens >= row_tokens]
    return renamed[:-1], long, renamed[-1]


def stream(lengths, row_tokens):
    """All tokens in one list; row k is the `row_tokens` tokens from k * (row_tokens - 1) on."""
    tokens = [(document, offset) for document, length in enumerate(lengths) for offset in range(length)]
    rows, start = [], 0
    while start + row_tokens <= len(tokens):
        rows.append(as_pieces(tokens[start : start + row_tokens]))
        start += row_tokens - 1
    return rows, as_pieces(tokens[start + 1 if rows else start :])


def as_pieces(tokens):
    """Runs of one document's (document, offset) as pieces."""
    pieces = []
    for document, offset in tokens:
        if pieces and pieces[-1][0] == document:
            pieces[-1] = (document, pieces[-1][1], pieces[-1][2] + 1, False)
        else:
            pieces.append((document, offset, 1, False))
    return pieces
