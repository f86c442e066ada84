"""report.html: one file that shows a report, without network or script, in light, dark and print.

Promise: every text is escaped, and a content security policy lets nothing in but the page's own style sheet. Tables
become lists of values where the screen is narrow, so nothing scrolls sideways.
"""

import base64
import hashlib
from html import escape

from bosrow.report import chart
from bosrow.report.blocks import Block, Cell, Chart, Charts, Items, Report, Table, Text

STYLE = (
    """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1d21; --soft: #596069; --rule: #dfe2e6; --wash: #f5f6f8;
  --good: #1a7335; --bad: #b3261e; --c0: #3b6fb5; --c1: #d9662b; --c2: #2a8c66; --c3: #a2479b; --c4: #8a6d0b;
  --c5: #2b8ea6; --c6: #c23f5d; --c7: #6b6f76; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --ink: #e6e8eb; --soft: #a2a9b2; --rule: #33383f;
  --wash: #1d2026; --good: #6fcf8a; --bad: #ff8a80; --c0: #7aa9e6; --c1: #f0955f; --c2: #5fc7a0; --c3: #d88ad1;
  --c4: #d3b24a; --c5: #69c3d8; --c6: #ee8099; --c7: #a5abb3; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1240px; padding: 28px 20px 60px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 18px; }
h2 { font-size: 1.15rem; margin: 44px 0 10px; padding-top: 14px; border-top: 1px solid var(--rule); }
h3 { font-size: 0.98rem; margin: 18px 0 6px; }
p, ul { margin: 6px 0; max-width: 82ch; }
ul { padding-left: 1.2em; }
li { margin: 3px 0; }
.verdict { background: var(--wash); border-left: 6px solid var(--soft); border-radius: 4px; padding: 16px 20px; }
.verdict.better { border-color: var(--good); } .verdict.worse { border-color: var(--bad); }
.verdict .word { font-size: 1.9rem; font-weight: 650; line-height: 1.2; margin: 0; }
.verdict.better .word { color: var(--good); } .verdict.worse .word { color: var(--bad); }
.verdict .headline { font-size: 1.1rem; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .dim { color: var(--soft); }
.strong { font-weight: 600; } p.strong { margin-top: 14px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(350px, 100%), 1fr)); gap: 22px 28px;
  align-items: start; margin: 10px 0 16px; }
figure { margin: 0; max-width: 460px; break-inside: avoid; }
figcaption { font-size: 0.85rem; color: var(--soft); line-height: 1.4; }
figcaption strong { display: block; color: var(--ink); font-size: 0.95rem; margin-bottom: 4px; }
.caption { font-size: 0.85rem; color: var(--soft); margin-top: 4px; }
table { border-collapse: collapse; min-width: 55%; font-size: 0.88rem; font-variant-numeric: tabular-nums;
  margin: 8px 0; }
caption { text-align: left; font-weight: 600; padding: 6px 0; }
th, td { text-align: right; padding: 5px 0 5px 20px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { font-weight: 600; color: var(--soft); }
th:first-child, td:first-child { padding-left: 0; }
th.words, td.words { text-align: left; min-width: 8em; }
th, td { overflow-wrap: break-word; } th { overflow-wrap: anywhere; min-width: 5em; }
td.number { white-space: nowrap; }
footer { margin-top: 48px; padding-top: 12px; border-top: 1px solid var(--rule); font-size: 0.85rem;
  color: var(--soft); }
@media screen and (max-width: 980px) {
  body { padding: 18px 14px 40px; }
  table { width: 100%; }
  table, tbody, tr, td, caption { display: block; }
  thead { display: none; }
  tr { padding: 8px 0; border-bottom: 1px solid var(--rule); }
  td, td:first-child { display: flex; justify-content: space-between; gap: 14px; border: 0; padding: 2px 0;
    text-align: right; overflow-wrap: anywhere; }
  td.number { white-space: normal; }
  td.words { text-align: right; min-width: 0; }
  td::before { content: attr(data-name); color: var(--soft); text-align: left; flex: 0 0 42%; }
  td.words:first-child { font-weight: 600; justify-content: flex-start; text-align: left; }
  td:first-child::before { content: none; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb; --wash: #f3f3f3; --good: #14602b; --bad: #9b1c15;
    --c0: #2f62a8; --c1: #c9541a; --c2: #1f7d58; --c3: #8f3689; --c4: #735a05; --c5: #1b7388; --c6: #a92b49;
    --c7: #55595f; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2 { break-after: avoid; margin-top: 22px; }
  tr, .verdict, li { break-inside: avoid; }
  table { font-size: 7.6pt; }
  th, td { padding-left: 6px; overflow-wrap: anywhere; }
  th { min-width: 0; }
  th.words, td.words { min-width: 6em; }
  td.number { white-space: normal; }
  .charts { grid-template-columns: repeat(2, 1fr); }
}
"""
    + chart.STYLE
)


def page(report: Report) -> str:
    """The whole page."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = [f"<h1>{escape(report.title)}</h1>", _verdict(report)]
    body += [
        f"<section><h2>{escape(section.title)}</h2>{''.join(map(_block, section.blocks))}</section>"
        for section in report.sections
    ]
    body.append(f"<footer>{escape(report.footer)}</footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _verdict(report: Report) -> str:
    parts = [
        f'<div class="verdict {escape(report.verdict)}">',
        f'<p class="word">{escape(report.verdict.capitalize())}</p>',
        f'<p class="headline">{escape(report.headline)}</p>',
        f"<p>{escape(report.sentence)}</p>",
        f'<div class="bad">{_list(report.reasons)}</div>' if report.reasons else "",
        f"<p>{escape(report.decide)}</p>",
        _list(report.caveats) if report.caveats else "",
        "</div>",
    ]
    return "".join(parts)


def _list(items: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _block(block: Block) -> str:
    match block:
        case Text(text, tone):
            return f'<p class="{tone}">{escape(text)}</p>'
        case Items(items):
            return _list(items)
        case Table():
            return _table(block)
        case Charts(charts):
            return f'<div class="charts">{"".join(map(_figure, charts))}</div>' if charts else ""


def _figure(one: Chart) -> str:
    return (
        f"<figure><figcaption><strong>{escape(one.title)}</strong></figcaption>{chart.draw(one)}"
        f'<p class="caption">{escape(one.caption)}</p></figure>'
    )


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    words = ["words" if place < table.text_columns else "" for place in range(len(table.columns))]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(column)}</th>'
        for column, kind in zip(table.columns, words, strict=True)
    )
    rows = "".join(f"<tr>{''.join(map(_cell, row, table.columns, words))}</tr>" for row in table.rows)
    note = f'<p class="caption">{escape(table.note)}</p>' if table.note else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def _cell(cell: Cell, name: str, words: str) -> str:
    number = "number" if any(letter.isdigit() for letter in cell.text) and len(cell.text) < 24 else ""
    kinds = " ".join(filter(None, (cell.tone, words or number)))
    return f'<td class="{kinds}" data-name="{escape(name)}">{escape(cell.text)}</td>'
