"""Bits per byte and losses over rows, against sums made the slow way."""

import math

import numpy as np
import pytest
import torch
from synthetic import write_data_set
from tiny import ALONE, Bigram, gpt2

import bosrow
from bosrow.errors import OptionError, UserError
from bosrow.evals.bits_per_byte import HeldOutDocument, bits_per_byte, ratio_and_error, windows
from bosrow.evals.row_losses import distances, row_losses
from bosrow.evals.scoring import TransformerModel

HALVES = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))


def document(number, tokens, size):
    return HeldOutDocument(number, np.array(tokens, np.uint16), size)


def test_a_document_is_scored_from_its_own_bos_as_by_hand():
    scores = bits_per_byte(Bigram(HALVES), [document(7, [1, 1], 3), document(9, [1], 5)], bos_token_id=0, world=ALONE)
    assert scores.numbers == [7, 9]
    assert scores.nats == pytest.approx([-math.log(0.5 * 0.75), math.log(2)])
    assert scores.result["bits_per_byte"] == pytest.approx((1 + math.log2(4 / 3) + 1) / 8)
    own = (1 + math.log2(4 / 3)) / 3, 1 / 5
    assert scores.result["document_bits_per_byte"] == pytest.approx(sum(own) / 2)
    assert scores.result["document_bits_per_byte_stderr"] == pytest.approx(abs(own[0] - own[1]) / 2)
    assert scores.result["tokens"] == 3
    assert scores.result["by_distance"] == [
        {"from": 1, "tokens": 2, "loss": pytest.approx(math.log(2))},
        {"from": 2, "tokens": 1, "loss": pytest.approx(math.log(4 / 3))},
    ]


@pytest.mark.parametrize("stride", [1, 3, 8])
@pytest.mark.parametrize("tokens", [2, 8, 9, 10, 31])
def test_windows_score_each_token_once_with_no_less_context_than_promised(tokens, stride):
    length = 8
    scored = []
    for window in windows(list(range(tokens)), length, stride):
        assert len(window.tokens) <= length + 1
        for place in range(window.start, len(window.tokens)):
            token = window.tokens[place]
            scored.append(token)
            assert place >= min(token, length - stride + 1)
    assert scored == list(range(1, tokens))


def test_long_documents_in_windows_equal_one_pass_a_window():
    model = gpt2(vocab_size=50, seq_len=8)
    tokens = np.random.default_rng(0).integers(1, 50, 30)
    found = bits_per_byte(
        TransformerModel(model), [HeldOutDocument(0, tokens, 30)], bos_token_id=0, world=ALONE, stride=4
    )
    expected = 0.0
    for window in windows([0, *tokens.tolist()], 8, 4):
        log_p = torch.log_softmax(model(torch.tensor([window.tokens[:-1]]))[0].double(), dim=-1)
        expected -= sum(
            float(log_p[place - 1, window.tokens[place]]) for place in range(window.start, len(window.tokens))
        )
    assert found.nats[0] == pytest.approx(expected, rel=1e-5)
    assert found.result["bits_per_byte"] == pytest.approx(expected / math.log(2) / 30, rel=1e-5)


def test_an_empty_document_and_blocks_of_documents_change_nothing(monkeypatch):
    documents = [document(n, [1] * n, n) for n in range(6)]
    whole = bits_per_byte(Bigram(HALVES), documents, bos_token_id=0, world=ALONE)
    monkeypatch.setattr("bosrow.evals.bits_per_byte.DOCUMENTS_AT_ONCE", 2)
    pieces = bits_per_byte(Bigram(HALVES), documents, bos_token_id=0, world=ALONE)
    assert whole.nats[0] == 0
    np.testing.assert_array_equal(pieces.nats, whole.nats)
    assert pieces.result == whole.result


def test_no_documents_and_a_stride_beyond_the_window_are_refused():
    with pytest.raises(UserError, match="no held-out documents"):
        bits_per_byte(Bigram(HALVES), [], bos_token_id=0, world=ALONE)
    with pytest.raises(OptionError, match="1 to 8"):
        bits_per_byte(Bigram(HALVES), [document(0, [1], 1)], bos_token_id=0, world=ALONE, stride=9)


def test_the_error_of_a_ratio_is_found_in_repeated_samples():
    random = np.random.default_rng(1)
    ratios, errors = [], []
    for _ in range(2000):
        sizes = random.integers(10, 1000, 60)
        ratio, error = ratio_and_error(sizes * random.normal(1.5, 0.3, 60), sizes)
        ratios.append(ratio)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.1)


def test_distance_counts_from_the_last_bos_and_is_unknown_before_one():
    assert distances(np.array([0, 5, 6, 0, 7, 8]), bos_token_id=0).tolist() == [1, 2, 3, 1, 2]
    assert distances(np.array([4, 5, 0, 7]), bos_token_id=0).tolist() == [0, 0, 1]


def test_losses_over_rows_equal_a_plain_pass_over_them(tmp_path):
    rows = bosrow.open_rows(write_data_set(tmp_path / "data", val_rows=7), "val")
    model = gpt2(vocab_size=61, seq_len=16)
    scores = row_losses(TransformerModel(model), rows, "data", world=ALONE, batch_size=2)
    result = scores.result
    tokens = torch.from_numpy(rows[:].astype(np.int64))
    losses = model.token_losses(tokens[:, :-1], tokens[:, 1:]).double().numpy()
    is_bos = tokens[:, 1:].numpy() == 0
    assert result["loss"] == pytest.approx(losses.mean(), rel=1e-6)
    assert result["loss_stderr"] == pytest.approx(losses.mean(1).std(ddof=1) / math.sqrt(7), rel=1e-6)
    assert result["by_position"] == pytest.approx(losses.mean(0), rel=1e-5)
    assert result["loss_without_bos_targets"] == pytest.approx(losses[~is_bos].mean(), rel=1e-6)
    assert result["loss_of_bos_targets"] == pytest.approx(losses[is_bos].mean(), rel=1e-6)
    for row, line in enumerate(scores.lines()):
        assert (line["row"], line["tokens"], line["bos_targets"]) == (row, 16, is_bos[row].sum())
        assert line["logprob"] == pytest.approx(-losses[row].sum(), rel=1e-5)
        assert line["bos_logprob"] == pytest.approx(-losses[row][is_bos[row]].sum(), rel=1e-5)
    distance = np.array([distances(row, 0) for row in tokens.numpy()])
    expected = losses[(distance >= 4) & (distance < 8) & ~is_bos]
    (found,) = (part for part in result["by_distance"] if part["from"] == 4)
    assert found["tokens"] == len(expected)
    assert found["loss"] == pytest.approx(expected.mean(), rel=1e-6)


def test_some_rows_are_chosen_evenly(tmp_path):
    rows = bosrow.open_rows(write_data_set(tmp_path / "data", val_rows=10), "val")
    model = TransformerModel(gpt2(vocab_size=61, seq_len=16))
    assert [line["row"] for line in row_losses(model, rows, "data", world=ALONE, max_rows=4).lines()] == [0, 2, 5, 7]
