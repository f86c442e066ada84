"""Records become the texts that each rule says, scores become the figures that each rule says."""

import gzip
import json
import math

import numpy as np
import pytest
from tiny import ALONE, Characters, language_model

from bosrow.errors import UserError
from bosrow.evals.benchmark import ItemScore, evaluate, mean_and_error, multiple_choice
from bosrow.evals.items import BadItemError, Item, read_items, tokenize_items
from bosrow.evals.tasks import arc_easy, blimp, ewok, hellaswag, winogrande

WIKIHOW = {
    "ind": 4,
    "activity_label": "Home and Garden",
    "ctx_a": "[header] How to mix Paint [title] Choose a bowl. [step] Take  one [substeps] of glass.",
    "ctx_b": "then John",
    "ctx": "[header] How to mix Paint [title] Choose a bowl. [step] Take  one [substeps] of glass. then John",
    "endings": ["pours [step] water.", "drinks [title] Rest.", "sings  a song.", "left."],
    "label": "2",
    "source_id": "wikihow~4",
}


def written(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def score(logprobs, tokens):
    return ItemScore(logprobs=np.array(logprobs, np.float64), tokens=np.array(tokens))


def test_hellaswag_by_llmc_is_the_raw_context_and_a_space():
    item = hellaswag.parse(WIKIHOW, "llmc")
    assert [context for context, _ in item.choices] == [WIKIHOW["ctx"]] * 4
    assert [ending for _, ending in item.choices] == [f" {ending}" for ending in WIKIHOW["endings"]]
    assert item.label == 2


def test_hellaswag_by_reference_is_cleaned_and_raises_one_letter():
    item = hellaswag.parse(WIKIHOW, "reference")
    assert item.choices[0] == (" How to mix Paint. Choose a bowl. Take one of glass. Then John", " pours water.")
    assert [ending for _, ending in item.choices[1:]] == [" drinks. Rest.", " sings a song.", " left."]


def test_hellaswag_by_harness_has_the_activity_and_lowers_the_rest():
    item = hellaswag.parse(WIKIHOW, "harness")
    assert item.choices[0][0] == "Home and Garden: How to mix Paint. Choose a bowl. Take one of glass. Then john"


@pytest.mark.parametrize("rule", ["llmc", "reference", "harness"])
def test_a_ready_query_is_the_context_under_every_rule(rule):
    record = {"query": "Roof: [x] a man.  he", "endings": ["[y] sits.", "runs."], "label": 0}
    assert hellaswag.parse(record, rule).choices == (
        ("Roof: [x] a man.  he", " [y] sits."),
        ("Roof: [x] a man.  he", " runs."),
    )


@pytest.mark.parametrize(
    ("rule", "norm", "right"), [("llmc", "token", 0), ("reference", "token", 0), ("harness", "character", 1)]
)
def test_the_norm_of_hellaswag_goes_by_its_rule(rule, norm, right):
    item = Item(choices=(("a", " bb"), ("a", " cccccccc")), label=right)
    result = hellaswag.benchmark(rule).summarize([item], [score([-4.0, -6.0], [4, 2])])
    assert result["norm"] == norm
    assert result["accuracy"] == (right == 0)
    assert result["accuracy_norm"] == 1.0


def test_arc_easy_reads_both_formats_alike():
    ours = {"query": "Question: Why?", "choices": ["so", "thus", "hence"], "gold": 1}
    hub = {"question": "Why?", "choices": {"text": ["so", "thus", "hence"], "label": ["A", "B", "C"]}, "answerKey": "B"}
    assert arc_easy.parse(ours) == arc_easy.parse(hub)
    assert arc_easy.parse(ours).choices[1] == ("Question: Why?\nAnswer:", " thus")


def test_winogrande_reads_both_formats_alike():
    ours = {"context_options": ["Al saw Bo so Al", "Al saw Bo so Bo"], "continuation": "hid.", "gold": 1}
    hub = {"sentence": "Al saw Bo so _ hid.", "option1": "Al", "option2": "Bo", "answer": "2"}
    assert winogrande.parse(ours) == winogrande.parse(hub)
    assert winogrande.parse(hub).choices == (("Al saw Bo so Al", " hid."), ("Al saw Bo so Bo", " hid."))


def pair(paradigm, phenomenon, field="syntax"):
    record = {"sentence_good": "He is.", "sentence_bad": "He are.", "UID": paradigm}
    return blimp.parse(record | {"linguistics_term": phenomenon, "field": field})


def test_blimp_counts_each_paradigm_the_same():
    items = [pair("one", "a"), pair("one", "a"), pair("one", "a"), pair("two", "a"), pair("three", "b", "semantics")]
    scores = [score([-1, -2], [3, 3])] * 3 + [score([-2, -1], [3, 3])] * 2
    result = blimp.summarize(items, scores)
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert {name: group["accuracy"] for name, group in result["groups"]["field"].items()} == {
        "semantics": 0.0,
        "syntax": 0.75,
    }
    assert result["groups"]["phenomenon"]["a"]["items"] == 4


def test_blimp_without_bos_leaves_the_first_token_out():
    without = tokenize_items([pair("one", "a")], Characters(), bos=False, context_tokens=48).sequences
    with_bos = tokenize_items([pair("one", "a")], Characters(), bos=True, context_tokens=48).sequences
    assert [sequence.scored for sequence in without] == [len(" He is.") - 1, len(" He are.") - 1]
    assert [sequence.scored for sequence in with_bos] == [len(" He is."), len(" He are.")]
    assert with_bos[0].tokens[0] == Characters.spec.bos_token_id


EWOK = {
    "Domain": "social",
    "Context1": "Ann helps Bob.",
    "Context2": "Ann harms Bob.",
    "Target1": "Bob smiles.",
    "Target2": "Bob cries out.",
    "ContextType": "direct",
}


def test_ewok_compares_targets_and_apart_from_that_contexts():
    item = ewok.parse(EWOK)
    assert item.choices == (
        ("Ann helps Bob.", " Bob smiles."),
        ("Ann helps Bob.", " Bob cries out."),
        ("Ann harms Bob.", " Bob cries out."),
        ("Ann harms Bob.", " Bob smiles."),
    )
    result = ewok.summarize([item], [score([-10, -14, -13, -12], [2, 4, 4, 2])])
    by_sum, by_mean = result["sum"], result["mean"]
    assert (by_sum["margin_official"], by_sum["margin_symmetric"], by_sum["margin"]) == (4, -1, 1.5)
    assert (by_sum["accuracy_official"], by_sum["accuracy_symmetric"], by_sum["accuracy"]) == (1, 0, 1)
    assert by_sum["paper_score"] == 1.0  # -10 > -12 and -13 > -14
    assert by_mean["margin_official"] == pytest.approx(-5 + 3.5)
    assert by_mean["margin_symmetric"] == pytest.approx(-3.25 + 6)
    assert result["accuracy"] == by_sum["accuracy"]


def test_ewok_ties_are_wrong_and_shown_and_half_a_point_in_the_paper():
    items = [ewok.parse(EWOK), ewok.parse(EWOK | {"Domain": "physical", "ContextType": "indirect"})]
    scores = [score([-5, -5, -5, -5], [2, 2, 2, 2]), score([-1, -2, -1, -2], [1, 1, 1, 1])]
    by_sum = ewok.summarize(items, scores)["sum"]
    assert (by_sum["accuracy"], by_sum["tie_rate"], by_sum["paper_score"]) == (0.5, 0.5, 0.75)
    assert by_sum["groups"]["domain"]["physical"]["accuracy"] == 1.0
    assert set(by_sum["groups"]) == {"domain", "ContextType"}
    assert by_sum["macro_accuracy"] == 0.5


def test_ewok_items_carry_four_scores_by_sum_and_by_mean():
    outcome = evaluate(
        language_model(), Characters(), ewok.benchmark(), [ewok.parse(EWOK)], bos=True, batch_size=1, world=ALONE
    )
    (line,) = ewok.item_lines(outcome)
    (scores,) = outcome.scores
    assert line["sum"]["T2|C1"] == scores.logprobs[1]
    assert line["mean"]["T2|C1"] == pytest.approx(scores.logprobs[1] / len(" Bob cries out."))
    assert line["sum"]["m"] == pytest.approx((line["sum"]["m1"] + line["sum"]["m2"]) / 2)
    assert line["domain"] == "social"


def test_standard_errors_and_chance():
    assert mean_and_error([1, 0, 0, 1]) == (0.5, pytest.approx(math.sqrt(0.25 / 3)))
    items = [Item(choices=(("", " a"),) * n, label=0) for n in (2, 4)]
    assert multiple_choice(items, [score([-1, -2], [1, 1]), score([-1] * 4, [1] * 4)])["chance"] == 0.375


def test_an_item_with_a_score_that_is_not_finite_is_wrong_and_counted():
    item = Item(choices=(("", " a"), ("", " b")), label=0)
    assert multiple_choice([item], [score([math.nan, -1], [1, 1])])["accuracy"] == 0


def test_a_choice_without_a_token_to_score_is_counted():
    items = [Item(choices=(("", "a"), ("", "ab")), label=1), Item(choices=(("x", "a"), ("x", "ab")), label=1)]
    outcome = evaluate(
        language_model(), Characters(), hellaswag.benchmark("llmc"), items, bos=False, batch_size=1, world=ALONE
    )
    assert outcome.result["unscored"] == 1


def test_contexts_longer_than_the_model_are_cut_on_the_left_and_counted():
    items = [Item(choices=(("x" * length, " yes"), ("x" * length, " no")), label=0) for length in (20, 44, 60)]
    prepared = tokenize_items(items, Characters(), bos=False, context_tokens=48)
    assert (prepared.truncated, prepared.clipped) == (1, 0)
    assert len(prepared.sequences[4].tokens) == 49
    assert prepared.sequences[4].scored == len(" yes")
    long_choice = Item(choices=(("x", " " + "y" * 60), ("x", " no")), label=0)
    assert tokenize_items([long_choice], Characters(), bos=False, context_tokens=48).clipped == 1


def test_space_at_the_end_of_a_context_belongs_to_the_continuation():
    group = tokenize_items(
        [Item(choices=(("ab ", "c"), ("ab ", "d")), label=0)], Characters(), bos=False, context_tokens=9
    ).sequences
    assert [sequence.start for sequence in group] == [2, 2]


def test_items_are_numbered_by_their_line(tmp_path):
    record = {"query": "q", "endings": ["a", "b"], "label": 0}
    path = tmp_path / "items.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(f"{json.dumps(record)}\n\n{json.dumps(record)}\n")
    parse = hellaswag.benchmark("reference").parse
    assert [item.number for item in read_items(path, parse)] == [0, 2]
    assert len(read_items(path, parse, max_items=1)) == 1


def test_ewok_is_read_from_a_folder_of_tables(tmp_path):
    header = ",".join(EWOK)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(header + "\n" + ",".join(EWOK.values()) + "\n")
    written(tmp_path / "c.jsonl", [EWOK])
    (tmp_path / "README.md").write_text("not items")
    items = read_items(tmp_path, ewok.parse)
    assert [item.number for item in items] == [0, 1, 2]
    assert {item.choices for item in items} == {ewok.parse(EWOK).choices}


def test_a_parquet_file_of_the_hub_is_read(tmp_path):
    import pyarrow
    import pyarrow.parquet

    record = {"question": "Why?", "choices": {"text": ["so", "thus"], "label": ["A", "B"]}, "answerKey": "B"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([record]), tmp_path / "arc.parquet")
    assert read_items(tmp_path / "arc.parquet", arc_easy.parse)[0].label == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"endings": ["a", "b"], "label": 0}, "line 1: the field 'ctx_a' is missing; there are: 'endings', 'label'"),
        ({"query": "q", "endings": [], "label": 0}, "'endings' holds 0 choices, at least 2 are required"),
        ({"query": "q", "endings": "ab", "label": 0}, "'endings' is no list of strings"),
        ({"query": 7, "endings": ["a", "b"], "label": 0}, "'query' is a int, a string was required"),
        ({"query": "q", "endings": ["a", "b"], "label": 2}, "'label' is 2, an index from 0 to 1 was required"),
        ({"query": "q", "endings": ["a", "b"], "label": ""}, "'label' is ''"),
    ],
)
def test_a_bad_record_is_named_by_file_and_line(tmp_path, record, message):
    path = written(tmp_path / "items.jsonl", [record])
    with pytest.raises(UserError, match=r"items\.jsonl") as error:
        read_items(path, hellaswag.benchmark("reference").parse)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.jsonl", b"", "holds no items"),
        ("items.jsonl", b"{]\n", "line 1 is not valid JSON"),
        ("items.jsonl", b"[1]\n", "holds a JSON list, an object was required"),
        ("items.jsonl", b"\xff\xfe\n", "cannot be read"),
        ("items.jsonl.gz", b"{}", "cannot be read"),
        ("items.parquet", b"PAR1", "cannot be read"),
        ("items.zip", b"PK", "must end in .jsonl"),
    ],
)
def test_an_unreadable_file_is_told_plainly(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read_items(tmp_path / name, hellaswag.benchmark("reference").parse)
    assert message in str(error.value)
    assert name in str(error.value)


def test_a_missing_file_and_a_folder_without_items_are_told_plainly(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        read_items(tmp_path / "none.jsonl", ewok.parse)
    with pytest.raises(UserError, match="holds no file that ends in"):
        read_items(tmp_path, ewok.parse)


def test_a_record_of_the_wrong_task_is_refused():
    with pytest.raises(BadItemError, match="'sentence_good'"):
        blimp.parse(WIKIHOW)
    with pytest.raises(BadItemError, match="no blank"):
        winogrande.parse({"sentence": "Al hid.", "option1": "a", "option2": "b", "answer": "1"})
    with pytest.raises(BadItemError, match="answerKey"):
        arc_easy.parse({"question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"})
