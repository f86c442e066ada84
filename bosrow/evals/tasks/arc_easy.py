"""ARC-easy (Clark et al. 2018): science questions of school, three to five answers, as lm-evaluation-harness asks.

Text: "Question: ...", a new line, "Answer:", and the answer's own words; the norm is per character.
"""

from functools import partial

from bosrow.evals.benchmark import Benchmark, multiple_choice
from bosrow.evals.items import BadItemError, Item, ItemsOnHub, Record, label, text, texts


def parse(record: Record) -> Item:
    """An item from `question`, `choices` (text, label) and `answerKey`, or from `query`, `choices` and `gold`."""
    if "question" in record:
        options = record.get("choices")
        if not isinstance(options, dict):
            raise BadItemError("'choices' is not an object with 'text' and 'label'")
        context, answers, names = (
            f"Question: {text(record, 'question')}",
            texts(options, "text"),
            texts(options, "label"),
        )
        if len(names) != len(answers) or text(record, "answerKey") not in names:
            raise BadItemError(f"'answerKey' is {record['answerKey']!r}, one of {names} was required")
        right = names.index(record["answerKey"])
    else:
        context, answers = text(record, "query"), texts(record, "choices")
        right = label(record, "gold", len(answers))
    return Item(choices=tuple((f"{context}\nAnswer:", f" {answer}") for answer in answers), label=right)


def benchmark() -> Benchmark:
    """ARC-easy, zero-shot."""
    return Benchmark(
        name="arc_easy",
        rule="question and answer as lm-evaluation-harness writes them",
        bos=False,
        hub=ItemsOnHub(dataset="allenai/ai2_arc", config="ARC-Easy", split="test"),
        parse=parse,
        summarize=partial(multiple_choice, norm="character"),
    )
