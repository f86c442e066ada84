"""Each scored token gets the log-probability that a plain pass over its own sequence gives it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import ALONE, Bigram, gpt2, language_model

from bosrow.evals.prefix_tree import fill_rows, lay_out
from bosrow.evals.scoring import ScoredSequence, TransformerModel, fit, make_batches, score, token_scores


def plain_score(model, sequence):
    """The slow and obvious way: one sequence, all logits, a sum in float64."""
    log_p = torch.log_softmax(model(torch.tensor([sequence.tokens]))[0].double(), dim=-1)
    places = range(max(sequence.start, 1), len(sequence.tokens))
    return math.fsum(float(log_p[place - 1, sequence.tokens[place]]) for place in places)


def test_a_bigram_model_is_scored_as_by_hand():
    table = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    scores = score(
        Bigram(table), [ScoredSequence([0, 1, 1, 0], 1), ScoredSequence([0, 1, 1, 0], 3)], batch_size=1, world=ALONE
    )
    assert scores == pytest.approx([math.log(0.5 * 0.75 * 0.25), math.log(0.25)])


def test_the_first_token_has_no_probability_and_is_left_out():
    table = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    sequence = ScoredSequence([1, 1], 0)
    assert sequence.scored == 1
    assert score(Bigram(table), [sequence], batch_size=1, world=ALONE) == pytest.approx([math.log(0.75)])
    assert score(Bigram(table), [ScoredSequence([1], 0)], batch_size=1, world=ALONE) == [0.0]


def test_a_common_beginning_stands_in_the_tree_once():
    layout = lay_out([[7, 8, 1], [7, 8, 2], [7, 8, 2, 3]])
    assert layout.tokens == [7, 8, 1, 2, 3]
    assert layout.positions == [0, 1, 2, 2, 3]
    assert layout.ends == [5, 5, 3, 5, 5]
    assert layout.nodes == [[0, 1, 2], [0, 1, 3], [0, 1, 3, 4]]


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine

short_lists = st.lists(st.integers(0, 2), min_size=1, max_size=6)


@patient
@given(st.lists(short_lists, min_size=1, max_size=5))
def test_in_a_tree_a_token_sees_its_own_beginning_and_nothing_else(inputs):
    layout = lay_out(sorted(inputs))
    for tokens, nodes in zip(sorted(inputs), layout.nodes, strict=True):
        assert [layout.tokens[node] for node in nodes] == tokens
        for node, position in zip(nodes, range(len(nodes)), strict=True):
            seen = [other for other in range(node + 1) if node < layout.ends[other]]
            assert seen == nodes[: position + 1]
            assert layout.positions[node] == position


sequences = st.lists(st.integers(0, 3), min_size=2, max_size=12).flatmap(
    lambda tokens: st.integers(0, len(tokens) - 1).map(lambda start: ScoredSequence(tokens, start))
)


@patient
@given(st.lists(short_lists, max_size=12), st.integers(1, 12))
def test_rows_hold_every_sequence_once_and_no_more_tokens_than_asked(inputs, most):
    rows = fill_rows(inputs, most)
    assert sorted(number for row in rows for number in row) == list(range(len(inputs)))
    for row in rows:
        assert len(row) == 1 or len(lay_out([inputs[number] for number in row]).tokens) <= most


@settings(patient, max_examples=30)
@given(st.lists(sequences, min_size=1, max_size=20), st.integers(1, 4))
def test_trees_in_batches_score_as_plain_passes_do(some, batch_size):
    model = gpt2(seq_len=12)
    found = score(TransformerModel(model), some, batch_size=batch_size, world=ALONE)
    np.testing.assert_allclose(found, [plain_score(model, sequence) for sequence in some], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tile", [(2, 128), (1024, 1), (3, 50), (1, 127)])
def test_a_wide_output_layer_is_taken_in_tiles_without_a_trace(monkeypatch, tile):
    some = [ScoredSequence([5, 6, 7, 8, 9], 1), ScoredSequence([5, 6, 127, 0], 2), ScoredSequence([1, 2, 3], 1)]
    whole = score(language_model(), some, batch_size=1, world=ALONE)
    monkeypatch.setattr("bosrow.evals.scoring.TILES", {"cpu": tile})
    np.testing.assert_allclose(score(language_model(), some, batch_size=1, world=ALONE), whole, rtol=1e-6)


def test_batches_hold_no_more_tokens_than_asked_and_every_row_once():
    some = [ScoredSequence([length] * length, 1) for length in (3, 30, 5, 9, 9, 2)]
    alone = make_batches(some, batch_tokens=20, merge=False)
    assert [[len(layout.tokens) for layout in batch.layouts] for batch in alone] == [[29], [8, 8], [4, 2, 1]]
    merged = make_batches(some, batch_tokens=20, merge=True)
    assert [[len(layout.tokens) for layout in batch.layouts] for batch in merged] == [[1 + 2 + 4 + 8 + 29]]
    for batches in (alone, merged):
        assert sorted(number for batch in batches for row in batch.sequences for number in row) == list(range(6))


def test_what_exceeds_the_model_is_cut_on_the_left():
    assert fit(ScoredSequence(list(range(9)), 5), 8) == ScoredSequence(list(range(9)), 5)
    assert fit(ScoredSequence(list(range(10)), 5), 8) == ScoredSequence(list(range(1, 10)), 4)
    whole, short = ScoredSequence(list(range(20)), 5), fit(ScoredSequence(list(range(20)), 5), 8)
    assert short == ScoredSequence(list(range(11, 20)), 0)
    assert (whole.scored, short.scored) == (15, 8)


def test_scores_of_tokens_come_one_by_one_where_they_are_asked_for():
    model = gpt2()
    sequence = ScoredSequence([4, 9, 1, 7], 2)
    ((number, values),) = token_scores(TransformerModel(model), [sequence], batch_size=1, world=ALONE)
    assert number == 0
    assert len(values) == 2
    assert values.sum() == pytest.approx(plain_score(model, sequence), rel=1e-6)
