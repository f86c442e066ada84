"""WinoGrande (Sakaguchi et al. 2019): whom a sentence speaks of, by partial scoring (Trinh and Le 2018).

The two contexts differ in the name put for the blank; the words after it are scored, as lm-evaluation-harness does.
"""

from bosrow.evals.benchmark import Benchmark, multiple_choice
from bosrow.evals.items import BadItemError, Item, ItemsOnHub, Record, label, text, texts


def parse(record: Record) -> Item:
    """An item from `sentence`, `option1`, `option2`, `answer`, or `context_options`, `continuation`, `gold`."""
    if "sentence" in record:
        before, blank, after = text(record, "sentence").partition("_")
        if not blank:
            raise BadItemError("'sentence' has no blank '_'")
        contexts = [before + text(record, "option1"), before + text(record, "option2")]
        right = {"1": 0, "2": 1}.get(text(record, "answer"), -1)
        if right < 0:
            raise BadItemError(f"'answer' is {record['answer']!r}, '1' or '2' was required")
    else:
        contexts, after = texts(record, "context_options"), text(record, "continuation")
        right = label(record, "gold", len(contexts))
    return Item(choices=tuple((context, f" {after.strip()}") for context in contexts), label=right)


def benchmark() -> Benchmark:
    """WinoGrande's validation items, zero-shot."""
    return Benchmark(
        name="winogrande",
        rule="the words after the name are scored",
        bos=False,
        hub=ItemsOnHub(dataset="allenai/winogrande", config="winogrande_xl", split="validation"),
        parse=parse,
        summarize=multiple_choice,
    )
