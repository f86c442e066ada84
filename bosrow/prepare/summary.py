"""What `bosrow prepare` prints at its end: the ledger as a table, the loss in one line, cost and files."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from bosrow.dataset.ledger import Ledger
from bosrow.dataset.ledger_table import ledger_table, loss_line
from bosrow.report.numbers import percent


def print_summary(folder: Path, meta: dict[str, Any]) -> None:
    """Print what was made, where every token went, what it cost, where it is, and what to do next."""
    own = meta["bosrow"]
    ledgers = {split: Ledger.from_json(ledger) for split, ledger in own["ledger"].items()}
    console = Console(highlight=False)
    rows = " and ".join(f"{ledger.rows:,} {split} rows" for split, ledger in ledgers.items() if ledger.rows)
    console.print()
    console.print(
        Text.assemble((f"{folder}", "bold"), f": {rows} of {meta['row_tokens']:,} tokens, policy {own['policy']}\n"),
        soft_wrap=True,
    )
    console.print(ledger_table(ledgers))
    loss = loss_line(ledgers)
    if loss:
        console.print()
        console.print(Text(loss, "yellow"), soft_wrap=True)
    if empty := own["source"]["empty_texts"]:
        share = percent(empty / meta["docs_processed"])
        text = f"{empty:,} documents ({share}) are empty texts: rows hold only a BOS for each"
        console.print()
        console.print(Text(text, "yellow"), soft_wrap=True)
    console.print(f"\n{_cost(meta)}; {_files(own)}\n", soft_wrap=True)
    data_dir = shlex.quote(str(folder))
    console.print(Text(f"next: bosrow inspect {data_dir}"), soft_wrap=True)
    console.print(Text(f"      bosrow train --data_dir {data_dir}"), soft_wrap=True)


def _cost(meta: dict[str, Any]) -> str:
    seconds = meta["elapsed_seconds"]
    return f"{seconds:,.1f} s, {meta['throughput_tokens_per_sec'] / 1e6:,.2f} million tokens a second"


def _files(own: dict[str, Any]) -> str:
    named = []
    for name, files in (("shard", own["shards"]), ("provenance file", own["provenance"])):
        if files:
            total = decimal(sum(file["bytes"] for file in files))
            named.append(f"{len(files):,} {name}{'s' * (len(files) != 1)} ({total})")
    return ", ".join([*named, "meta.json"])
