"""The policies: examples to check by eye, then equality with the slow oracles, then going on from any state."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import packing as oracle

from bosrow.packing.length_index import LengthIndex, largest, smallest
from bosrow.packing.policy import Piece, Policy, Row
from bosrow.packing.table import POLICIES, make_policy
from bosrow.strict_json import typed

ALL = tuple(POLICIES)


def new(name: str, row_tokens: int, buffer_docs: int = 1) -> Policy:
    return make_policy(name, row_tokens=row_tokens, buffer_docs=buffer_docs, buffer_tokens=1 << 26)


def pack(policy: Policy, lengths: list[int]) -> tuple[list[list[tuple]], list[tuple]]:
    """Rows and tail, as the oracles give them."""
    rows = [row for document, tokens in enumerate(lengths) for row in policy.add(document, tokens)] + policy.finish()
    return [[tuple(piece) for piece in row.pieces] for row in rows], [tuple(piece) for piece in policy.unfilled]


def through_json(state: Any) -> Any:
    """A state as the state file gives it back."""
    return json.loads(json.dumps(msgspec.to_builtins(state)))


def whole(document: int, tokens: int, offset: int = 0) -> tuple:
    return document, offset, tokens, False


# Rows of 8 tokens, a buffer of 2 documents.


def test_crop_takes_the_largest_that_fits_and_then_crops_the_shortest():
    # 5 and 3 wait: 5 is placed. 3 and 6 wait: 3 fits the space of 3. 6 and 7 wait: 7. Of 6 and 4 none fits the space
    # of 1: the shortest, 4, gives its first token. 6 alone is left: it is the tail.
    rows, tail = pack(new("crop", 8, 2), [5, 3, 6, 7, 4])
    assert rows == [[whole(0, 5), whole(1, 3)], [whole(3, 7), whole(4, 1)]]
    assert tail == [whole(2, 6)]


def test_crop_takes_the_earliest_of_equals_whether_it_fits_or_is_cropped():
    rows, tail = pack(new("crop", 8, 3), [5, 5, 5, 5])
    assert rows == [[whole(0, 5), whole(1, 3)], [whole(2, 5), whole(3, 3)]]
    assert tail == []


def test_crop_leaves_a_document_longer_than_a_row_until_nothing_else_fits():
    rows, tail = pack(new("crop", 8, 2), [20, 8, 8, 8])
    assert rows == [[whole(1, 8)], [whole(2, 8)], [whole(3, 8)], [whole(0, 8)]]
    assert tail == []


def test_crop_long_first_gives_such_a_document_a_row_of_its_own_at_once():
    rows, tail = pack(new("crop-long-first", 8, 2), [20, 8, 5, 9])
    assert rows == [[whole(0, 8)], [whole(1, 8)], [whole(3, 8)]]
    assert tail == [whole(2, 5)]


def test_stream_joins_documents_and_repeats_one_token_at_each_row():
    rows, tail = pack(new("stream", 8), [5, 10, 2])
    assert rows == [[whole(0, 5), whole(1, 3)], [whole(1, 8, offset=2)]]  # token 2 of document 1 is in both
    assert tail == [whole(2, 2)]


def test_stream_does_not_repeat_the_last_token_of_the_last_row_in_the_tail():
    assert pack(new("stream", 8), [8]) == ([[whole(0, 8)]], [])


@pytest.mark.parametrize("name", ALL)
def test_documents_of_one_token_fill_rows_and_no_documents_make_none(name):
    rows, tail = pack(new(name, 3, 2), [1] * 6)
    assert rows[0] == [whole(0, 1), whole(1, 1), whole(2, 1)]
    assert len(rows) == 2
    assert sum(length for *_, length, _ in tail) == (1 if name == "stream" else 0)
    assert pack(new(name, 3, 2), []) == ([], [])


def lengths_of(random_: random.Random, kind: str, count: int, row_tokens: int) -> list[int]:
    """Lengths that try what a rule has to decide: ties, documents of about a row, of several rows, of a token."""
    match kind:
        case "ties":
            few = [random_.randint(1, row_tokens + 2) for _ in range(4)]
            return random_.choices(few, k=count)
        case "long":
            return [random_.randint(1, 7 * row_tokens) for _ in range(count)]
        case "edges":
            near = [1, 2, row_tokens - 1, row_tokens, row_tokens + 1, 2 * row_tokens - 1, 2 * row_tokens]
            return random_.choices(near, k=count)
    return [max(1, round(random_.lognormvariate(0, 1) * row_tokens / 2)) for _ in range(count)]


KINDS = ("ties", "long", "edges", "web")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("buffer_docs", [1, 2, 64, 1000])
def test_crop_and_crop_long_first_equal_the_linear_scan(buffer_docs, kind):
    random_ = random.Random(f"{buffer_docs} {kind}")
    for row_tokens in (2, 3, 17, 129):
        lengths = lengths_of(random_, kind, 1300 if buffer_docs == 1000 else 400, row_tokens)
        assert pack(new("crop", row_tokens, buffer_docs), lengths) == oracle.crop(lengths, row_tokens, buffer_docs)
        _equals_crop_long_first(lengths, row_tokens, buffer_docs)


def _equals_crop_long_first(lengths: list[int], row_tokens: int, buffer_docs: int) -> None:
    policy = new("crop-long-first", row_tokens, buffer_docs)
    short, long = [], []
    for document, tokens in enumerate(lengths):
        made = [[tuple(piece) for piece in row.pieces] for row in policy.add(document, tokens)]
        if tokens >= row_tokens:
            assert made == [[whole(document, row_tokens)]]  # at once
            long += made
        else:
            short += made
    short += [[tuple(piece) for piece in row.pieces] for row in policy.finish()]
    expected = oracle.crop_long_first(lengths, row_tokens, buffer_docs)
    assert (short, long, [tuple(piece) for piece in policy.unfilled]) == expected


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(2, 12), st.integers(1, 8))
def test_every_policy_with_an_oracle_equals_it(lengths, row_tokens, buffer_docs):
    assert pack(new("crop", row_tokens, buffer_docs), lengths) == oracle.crop(lengths, row_tokens, buffer_docs)
    _equals_crop_long_first(lengths, row_tokens, buffer_docs)
    assert pack(new("stream", row_tokens), lengths) == oracle.stream(lengths, row_tokens)


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(2, 12), st.integers(1, 8), st.sampled_from(ALL))
def test_each_document_is_done_in_exactly_one_row_and_held_until_then(lengths, row_tokens, buffer_docs, name):
    policy = new(name, row_tokens, buffer_docs)
    done: list[int] = []
    for document, tokens in enumerate(lengths):
        done += [finished for row in policy.add(document, tokens) for finished in row.done]
        assert sorted(done + policy.held) == list(range(document + 1))
    last_rows = policy.finish()
    done += [finished for row in last_rows for finished in row.done]
    assert sorted(done + policy.held) == list(range(len(lengths)))
    if name != "stream":  # a stream document whose last token will be repeated is held without being in the tail
        assert {piece.document for piece in policy.unfilled} == set(policy.held)


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(2, 12), st.integers(1, 8), st.sampled_from(ALL))
def test_no_row_uses_a_document_after_the_row_in_which_it_was_done(lengths, row_tokens, buffer_docs, name):
    policy = new(name, row_tokens, buffer_docs)
    done: set[int] = set()
    for row in [*(r for d, n in enumerate(lengths) for r in policy.add(d, n)), *policy.finish()]:
        assert done.isdisjoint(piece.document for piece in row.pieces)
        done.update(row.done)
    assert done.isdisjoint(piece.document for piece in policy.unfilled)


@pytest.mark.parametrize("name", ALL)
def test_a_policy_restored_at_any_point_goes_on_identically(name):
    """Its state travels as JSON, as in the state file; a new policy takes over after each document."""
    random_ = random.Random(name)
    for row_tokens, buffer_docs in ((2, 1), (8, 2), (17, 5), (33, 20)):
        for kind in KINDS:
            lengths = lengths_of(random_, kind, 60, row_tokens)
            expected = pack(new(name, row_tokens, buffer_docs), lengths)
            rows: list[Row] = []
            policy = new(name, row_tokens, buffer_docs)
            for document, tokens in enumerate(lengths):
                rows += policy.add(document, tokens)
                state = through_json(policy.state())
                held, unfilled = policy.held, policy.unfilled
                policy = new(name, row_tokens, buffer_docs)
                policy.restore(typed(state, policy.State))
                assert (policy.held, policy.unfilled) == (held, unfilled)
                assert through_json(policy.state()) == state
            rows += policy.finish()
            found = [[tuple(piece) for piece in row.pieces] for row in rows]
            assert (found, [tuple(piece) for piece in policy.unfilled]) == expected


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=80))
def test_the_index_of_lengths_is_a_sorted_list(steps):
    """A model of it: a list of (length, document), searched from end to end."""
    index, model, number = LengthIndex(), [], 0
    for adds, length in steps:
        if adds:
            index.add(length, number)
            model.append((length, number))
            number += 1
        elif fitting := [entry for entry in model if entry[0] <= length]:
            longest = max(entry[0] for entry in fitting)
            assert largest(index.lengths, length) == longest
            first = min(entry for entry in model if entry[0] == longest)
            assert index.pop(longest) == first[1]
            model.remove(first)
        else:
            assert largest(index.lengths, length) == 0
        assert sorted(index) == sorted((document, length) for length, document in model)
        assert index.count(length) == sum(entry[0] == length for entry in model)
        if model:
            assert smallest(index.lengths) == min(model)[0]


def test_a_policy_of_an_unknown_name_is_a_defect_of_the_caller():
    with pytest.raises(ValueError, match="no policy 'best'"):
        new("best", 8)


def test_the_example_of_the_module_holds():
    policy = new("crop", 8, 2)
    assert policy.add(0, 5) == policy.add(1, 3) == []
    assert policy.add(2, 4) == [Row([Piece(0, 0, 5, False), Piece(1, 0, 3, False)], [0, 1])]
