"""Sequences that begin alike as one row: the tree of their prefixes, so that no token is computed twice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PrefixTree:
    """Several sequences as one row of tokens.

    A token sees those before it whose `ends` lie behind it: the tree in preorder, each node with the end
    of its subtree. `nodes[k]` says where in the row the inputs of the k-th sequence stand.

    >>> lay_out([[7, 8, 1], [7, 8, 2]])
    PrefixTree(tokens=[7, 8, 1, 2], positions=[0, 1, 2, 2], ends=[4, 4, 3, 4], nodes=[[0, 1, 2], [0, 1, 3]])
    """

    tokens: list[int]
    positions: list[int]
    ends: list[int]
    nodes: list[list[int]]


def lay_out(inputs: list[list[int]]) -> PrefixTree:
    """Merge token lists, which must be sorted, into a tree of their prefixes, written in preorder."""
    tokens: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    nodes: list[list[int]] = []
    before: list[int] = []
    path: list[int] = []  # where the tokens of `before` stand
    for current in inputs:
        shared = common_prefix(before, current)
        for node in path[shared:]:
            ends[node] = len(tokens)
        path = path[:shared] + list(range(len(tokens), len(tokens) + len(current) - shared))
        tokens += current[shared:]
        positions += range(shared, len(current))
        ends += [0] * (len(current) - shared)
        nodes.append(path)
        before = current
    for node in path:
        ends[node] = len(tokens)
    return PrefixTree(tokens, positions, ends, nodes)


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many tokens both begin with."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


def fill_rows(inputs: list[list[int]], most: int) -> list[list[int]]:
    """Numbers of `inputs` in rows whose trees hold at most `most` tokens (or one input), in sorted order.

    >>> fill_rows([[7, 8, 2], [5, 5], [7, 8, 1]], most=4)
    [[1], [2, 0]]
    """
    rows: list[list[int]] = []
    size = 0
    before: list[int] = []
    for number in sorted(range(len(inputs)), key=inputs.__getitem__):
        current = inputs[number]
        grown = size + len(current) - common_prefix(before, current)
        if rows and grown <= most:
            rows[-1].append(number)
            size = grown
        else:
            rows.append([number])
            size = len(current)
        before = current
    return rows
