"""What inspect counts, against counting token by token; what policies foretells, against real preparations."""

import json
from itertools import pairwise

import numpy as np
import pytest
from corpora import POLICIES, prepared
from oracles.survey import contexts, cuts, held, least_pieces, tokens_of_rows

from bosrow.cli import main
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import open_rows
from bosrow.inspect.findings import length_bins, small_numbers
from bosrow.inspect.survey import least_cuts, survey, survey_rows, survey_stream


@pytest.mark.parametrize("policy", POLICIES)
def test_a_survey_counts_what_counting_token_by_token_finds(made, policy):
    provenance = Provenance(made[policy])
    found, rows = survey(provenance), tokens_of_rows(made[policy])
    documents = len(provenance.documents)
    assert found.rows == len(rows)
    assert found.in_rows.tolist() == held(rows, documents)
    assert found.cuts.tolist() == cuts(_train_and_val(provenance, rows), documents, stream=policy == "stream")
    starts = np.zeros(33, int)
    added = np.zeros(33, int)
    for row in rows:
        for column, (_, offset) in enumerate(row):
            starts[column] += offset == 0
            added[column] += offset is None
    assert found.starts.tolist() == starts.tolist()
    assert found.added_starts.tolist() == added.tolist()
    assert (added.sum() > 0) == (policy == "keep")
    context = contexts(rows)
    assert found.mean_context == pytest.approx(np.mean(context))
    expected = [np.mean([one >= least for one in context]) for least in range(33)]
    assert found.context_at_least.tolist() == pytest.approx(expected)


def _train_and_val(provenance, rows):
    """The rows of both splits; with an empty row between them, since a stream does not go on from one to the other."""
    first = provenance.manifest.shards[0].split
    here = provenance.manifest.rows_of(first)
    return [*rows[:here], [], *rows[here:]]


def test_pieces_of_rows_and_cuts_add_up_to_the_ledger(made):
    for policy in POLICIES:
        provenance = Provenance(made[policy])
        found, ledgers = survey(provenance), provenance.manifest.ledger.values()
        assert found.cuts.sum() == sum(ledger["cuts"] for ledger in ledgers)
        assert found.in_rows.sum() == sum(ledger["tokens_placed"] for ledger in ledgers)
        assert found.pieces_per_row.sum() == found.rows
        assert found.added_starts.sum() == sum(ledger["added_bos"] for ledger in ledgers)


def test_a_stream_foretold_from_lengths_is_the_stream_that_is_made(made, tmp_path):
    prepared(tmp_path / "stream", data_files=(made["source"],), policy="stream", val_fraction=0.0)
    provenance = Provenance(tmp_path / "stream")
    real, foretold = survey(provenance), survey_stream(provenance.documents.lengths().astype(np.int64), 33)
    assert real.rows > 100
    for name in ("rows", "mean_context", "least_cuts"):
        assert getattr(real, name) == getattr(foretold, name)
    for name in ("lengths", "in_rows", "cuts", "pieces_per_row", "starts", "added_starts", "stretches"):
        assert getattr(real, name).tolist() == getattr(foretold, name).tolist(), name


@pytest.mark.parametrize("policy", ["crop", "stream"])
def test_without_provenance_bos_alone_tell_starts_and_context(made, policy):
    known = survey(Provenance(made[policy]))
    found = survey_rows([open_rows(made[policy], split) for split in ("train", "val")])
    assert found.rows == known.rows
    assert found.mean_context == pytest.approx(known.mean_context)
    for name in ("starts", "stretches", "pieces_per_row"):
        assert getattr(found, name).tolist() == getattr(known, name).tolist(), name
    assert len(found.lengths) == 0


def test_least_cuts_are_those_of_taking_away_row_by_row():
    for row_tokens in (2, 3, 9):
        lengths = np.arange(1, 60)
        assert least_cuts(lengths, row_tokens) == sum(least_pieces(n, row_tokens) - 1 for n in lengths.tolist())


def test_length_bins_double_and_hold_every_document(made):
    found = survey(Provenance(made["crop"]))
    bins = length_bins(found)
    for one in bins:
        inside = (found.lengths >= one.least) & (found.lengths <= one.most)
        assert one.documents == inside.sum()
        assert (one.tokens, one.in_rows) == (found.lengths[inside].sum(), found.in_rows[inside].sum())
    assert sum(one.documents for one in bins) == len(found.lengths)
    assert all(later.least == earlier.most + 1 for earlier, later in pairwise(bins))


def test_a_long_histogram_of_small_numbers_ends_with_the_rest():
    counts = np.zeros(100, int)
    counts[[1, 2, 50, 99]] = 7, 1, 2, 3
    labels, values = zip(*small_numbers(counts), strict=True)
    assert (labels[0], labels[-1], len(labels)) == ("1", "16 or more", 16)
    assert (values[0], values[1], values[-1], sum(values)) == (7, 1, 5, 13)


def test_policies_foretells_what_each_policy_makes(made, tmp_path, capsys):
    asked = ["--data_files", made["source"], "--seq_len", "32", "--buffer_docs", "20", "--workers", "0"]
    assert main(["policies", *asked, "--json"]) == 0
    foretold = {line["policy"]: line for line in json.loads(capsys.readouterr().out)["policies"]}
    assert set(foretold) == set(POLICIES)
    for policy, line in foretold.items():
        folder = tmp_path / policy
        prepared(folder, data_files=(made["source"],), policy=policy, val_fraction=0.0)
        provenance = Provenance(folder)
        (ledger,) = (one for one in provenance.manifest.ledger.values() if one["documents_read"])
        rows = tokens_of_rows(folder)
        lengths, in_rows = provenance.documents.lengths().tolist(), held(rows, len(provenance.documents))
        found = cuts(rows, len(provenance.documents), stream=policy == "stream")
        # What no row holds of a crop policy's document that has a row was cropped; one without any row is in the tail.
        cropped = [policy.startswith("crop") and 0 < here < all_ for here, all_ in zip(in_rows, lengths, strict=True)]
        assert line["rows"] == len(rows)
        assert line["lost"] == pytest.approx(ledger["tokens_cropped"] / ledger["tokens_read"])
        assert line["documents_cut"] == pytest.approx(
            np.mean([a or b > 0 for a, b in zip(cropped, found, strict=True)])
        )
        assert line["cuts_per_document"] == pytest.approx(np.mean(found))
        assert line["mean_context"] == pytest.approx(np.mean(contexts(rows)))
        if policy in ("keep", "stream"):
            least = sum(least_pieces(tokens, 33) - 1 for tokens in in_rows)
            assert line["cuts_over_least"] == pytest.approx(sum(found) / least)
            assert line["cuts_over_least"] >= 1
            assert line["lost"] == 0
        else:
            assert line["cuts_over_least"] is None
            assert line["lost"] > 0.1


def test_policies_reads_a_data_set_of_any_policy_like_its_text(made, capsys):
    tables = []
    for source in (["--data_files", made["source"]], ["--from", made["crop"]], ["--from", made["stream"]]):
        assert main(["policies", *map(str, source), "--seq_len", "64", "--workers", "0", "--json"]) == 0
        tables.append(json.loads(capsys.readouterr().out)["policies"])
    assert tables[0] == tables[1] == tables[2]


def test_policies_reads_no_more_than_the_sample_asked_for(made, capsys):
    asked = ["--data_files", made["source"], "--seq_len", "32", "--workers", "0", "--sample_docs", "40"]
    assert main(["policies", *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["documents"] == 40
    assert found["tokens"] == Provenance(made["keep"]).documents.lengths()[:40].sum()


def test_policies_prints_a_line_for_each_policy_and_explains_it(made, capsys):
    assert main(["policies", "--data_files", made["source"], "--seq_len", "32", "--workers", "0"]) == 0
    shown = capsys.readouterr().out
    table = [line.split() for line in shown.splitlines()[2:7]]
    assert table[0] == ["policy", "lost", "docs", "cut", "cuts/doc", "cuts/least", "rows", "context"]
    assert [line[0] for line in table[1:]] == list(POLICIES)
    assert "take it if in doubt" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seq_len", "32"], "no corpus"),
        (["--data_files", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--from", "BARE"], "--no_provenance"),
        (["--data_files", "SOURCE", "--sample_docs", "-1"], "--sample_docs is -1"),
        (["--data_files", "SOURCE", "--from", "BARE"], "takes the place of"),
        (["--data_files", "SOURCE", "--text_field", "txt"], "txt"),
    ],
)
def test_policies_refuses_what_it_cannot_read(made, capsys, arguments, message):
    named = {"BARE": str(made["bare"]), "SOURCE": made["source"]}
    assert main(["policies", "--workers", "0", *(named.get(one, one) for one in arguments)]) == 2
    assert message in capsys.readouterr().err
