"""`bosrow compare`: reads run folders and writes report.html, report.md, report.json and the charts as SVG.

Promise: report.json holds everything, the other two are made from it alone. The verdict does not change the exit
status: an inconclusive comparison is a result. Cost: seconds for tens of runs.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from bosrow.compare.compare_options import CompareOptions
from bosrow.compare.comparison import comparison_of
from bosrow.compare.report.sections import headline, sections
from bosrow.compare.runs import read_run
from bosrow.errors import OptionError
from bosrow.files import replace_file
from bosrow.report import chart
from bosrow.report.blocks import Chart, Charts, Report
from bosrow.report.markdown import markdown
from bosrow.report.page import STYLE, page

CHARTS = "charts"


def compare_runs(options: CompareOptions) -> None:
    """Compare the runs, write the report, print the verdict. Raises UserError before anything is written."""
    runs = [read_run(path) for path in options.runs]
    if options.out.exists() and not options.out.is_dir():
        raise OptionError(f"--out {options.out} is a file; a folder was required")
    found = comparison_of(runs, control=options.control, treatment=options.treatment, strict=options.strict)
    content = plain(found)
    write_report(content, options.out)
    if options.json:
        print(json.dumps(content, indent=1, allow_nan=False))
        return
    print("\n".join(summary(content, options.out)))


def plain(value: Any) -> Any:
    """`value` as JSON has it: null for numbers that are not finite, no numpy types."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report_of(content: dict[str, Any]) -> Report:
    """The report that `content`, which is report.json, makes."""
    primary = content["primary"]
    names = f": {primary['treatment']} against {primary['control']}" if "control" in primary else ""
    seeds = sum(len(arm["seeds"]) + len(arm["noise_seeds"]) for arm in content["arms"])
    return Report(
        title=f"Comparison of training runs{names}",
        verdict=content["verdict"],
        headline=headline(content),
        sentence=content["sentence"],
        reasons=content["reasons"],
        caveats=content["caveats"],
        decide=content["to_decide"]["text"],
        sections=sections(content),
        footer=f"bosrow {content['bosrow_version']}, from {seeds} runs. The numbers behind it: report.json.",
    )


def write_report(content: dict[str, Any], out: Path) -> None:
    """Write the three reports and the charts into `out`, each atomically."""
    report = report_of(content)
    (out / CHARTS).mkdir(parents=True, exist_ok=True)
    for one in charts_of(report):
        replace_file(out / CHARTS / f"{one.name}.svg", standalone(one).encode())
    replace_file(out / "report.md", markdown(report, CHARTS).encode())
    replace_file(out / "report.html", page(report).encode())
    replace_file(out / "report.json", json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def charts_of(report: Report) -> list[Chart]:
    """All charts of a report, in order."""
    blocks = [block for section in report.sections for block in section.blocks if isinstance(block, Charts)]
    return [one for block in blocks for one in block.charts]


def standalone(one: Chart) -> str:
    """The chart as a file of its own, on white or dark paper as the viewer prefers."""
    head, inside, tail = chart.draw(one).partition(">")
    variables = STYLE[: STYLE.index("* {")]
    return f"{head}{inside}<style>{variables}{chart.STYLE}</style>{tail}\n"


def summary(content: dict[str, Any], out: Path) -> list[str]:
    """What is printed: the verdict, what it would take to decide, what to look at, where the report is."""
    lines = [content["sentence"]]
    lines += [f"  inconclusive by rule: {reason}" for reason in content["reasons"]]
    lines.append(content["to_decide"]["text"])
    lines += content["caveats"]
    lines += [f"differs: {one['knob']}" for one in content["knobs"]["different"]]
    lines += [f"{run['name']}: {'; '.join(run['ailments'])}" for run in content["runs"] if run["ailments"]]
    return [*lines, f"report: {out / 'report.html'}"]
