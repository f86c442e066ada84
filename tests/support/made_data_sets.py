"""One small corpus, prepared by every policy, for the tests that look at data sets."""

import json
from types import MappingProxyType

from corpora import POLICIES, documents, prepared

HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'></p></article></body>",
    "\x1b[31mred\x1b[0m \x00 \x07 [bold]markup[/bold] &amp; &lt; ]]> \ufffe <|endoftext|>",
    "abc \u202egnp.exe\u202c \u2066x\u2069 \u2028 \u200f שלום مرحبا " + "w" * 300,
)


def make_data_sets(folder):
    """A read-only folder for each policy; the corpus has hostile texts and ids all over, and its own text."""
    texts = [
        text for n, text in enumerate(documents(150, seed=5)) for text in (text, *([HOSTILE[n % 3]] * (n % 8 == 0)))
    ]
    source = write_source(folder / "<b>corpus<i>.jsonl", texts)
    for policy in POLICIES:
        prepared(folder / policy, data_files=(source,), policy=policy, val_fraction=0.1, id_field="id")
    prepared(folder / "bare", data_files=(source,), policy="keep", val_fraction=0.1, no_provenance=True)
    return MappingProxyType({policy: folder / policy for policy in (*POLICIES, "bare")} | {"source": source})


def write_source(path, texts):
    """One JSON object a line, with an id that would like to be markup."""
    path.write_text(
        "".join(json.dumps({"id": f"<i>{n}</i>\x1b[7m", "text": text}) + "\n" for n, text in enumerate(texts))
    )
    return str(path)
