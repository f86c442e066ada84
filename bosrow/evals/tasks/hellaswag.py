"""HellaSwag (Zellers et al. 2019): which of four endings goes on from a context, by one of three rules.

- llmc: `ctx` as it is; the norm is per token (as in llm.c's script).
- reference: `ctx_a` and `ctx_b`, its first letter in upper case, cleaned; the norm is per token.
- harness: `activity_label`: `ctx_a` and `ctx_b`, capitalized (which lowers its other letters), cleaned; the
  norm is per character (as lm-evaluation-harness has it).

An item with `query` has its context there, ready, under every rule, and its endings are left as they are.
"""

import re
from functools import partial
from typing import Literal

from bosrow.evals.benchmark import Benchmark, multiple_choice
from bosrow.evals.items import Item, ItemsOnHub, Record, label, text, texts

Rule = Literal["llmc", "reference", "harness"]

HUB = ItemsOnHub(dataset="Rowan/hellaswag", split="validation")


def clean(raw: str) -> str:
    """Without the marks of WikiHow's articles: a title ends a sentence, other brackets go.

    >>> clean("Cut it. [title] Mix it. [step] Use  a bowl.")
    'Cut it.. Mix it. Use a bowl.'
    """
    without = re.sub(r"\[.*?\]", "", raw.strip().replace(" [title]", ". "))
    return without.replace("  ", " ")


def context_of(record: Record, rule: Rule) -> str:
    """The context of a record without `query`."""
    if rule == "llmc":
        return text(record, "ctx")
    first, second = text(record, "ctx_a"), text(record, "ctx_b")
    if rule == "reference":
        return clean(f"{first} {second[:1].upper()}{second[1:]}")
    return clean(f"{text(record, 'activity_label')}: {first} {second.capitalize()}")


def parse(record: Record, rule: Rule) -> Item:
    """An item from the official fields, or from `query`, `endings` and `label`."""
    endings = texts(record, "endings")
    if record.get("query") is not None:
        context = text(record, "query")
    else:
        context = context_of(record, rule)
        if rule != "llmc":
            endings = [clean(ending) for ending in endings]
    choices = tuple((context, f" {ending}") for ending in endings)
    return Item(choices=choices, label=label(record, "label", len(endings)))


def benchmark(rule: Rule, hub: ItemsOnHub = HUB) -> Benchmark:
    """HellaSwag by one rule."""
    return Benchmark(
        name="hellaswag",
        rule=rule,
        bos=False,
        hub=hub,
        parse=partial(parse, rule=rule),
        summarize=partial(multiple_choice, norm="character" if rule == "harness" else "token"),
    )
