"""`bosrow compare`: reads run folders and writes report.html, report.md, report.json and the charts as SVG.

Promise: report.json holds everything, the other two are made from it alone. The verdict does not change the exit
status: an inconclusive comparison is a result. Cost: seconds for tens of runs.
"""

import json
from pathlib import Path

from bosrow.compare.compare_options import CompareOptions
from bosrow.compare.comparison import comparison_of
from bosrow.compare.report.sections import headline, sections
from bosrow.compare.result import ComparisonResult, as_json
from bosrow.compare.runs import read_run
from bosrow.errors import OptionError
from bosrow.files import replace_file
from bosrow.report.blocks import ChartsBlock, Report
from bosrow.report.chart import Chart
from bosrow.report.markdown import markdown
from bosrow.report.page import chart_file, report_page

CHARTS = "charts"


def compare_runs(options: CompareOptions) -> None:
    """Compare the runs, write the report, print the verdict. Raises UserError before anything is written."""
    runs = [read_run(path) for path in options.runs]
    if options.out.exists() and not options.out.is_dir():
        raise OptionError(f"--out {options.out} is a file; a folder was required")
    result = comparison_of(runs, control=options.control, treatment=options.treatment, strict=options.strict)
    write_report(result, options.out)
    if options.json:
        print(_json_text(result))
        return
    print("\n".join(summary(result, options.out)))


def report_of(result: ComparisonResult) -> Report:
    """The report on a comparison, for a page and for Markdown."""
    names = ""
    if result.pairs:
        names = f": {result.pairs[0].treatment} against {result.pairs[0].control}"
    runs = sum(len(arm.seeds) + len(arm.noise_seeds) for arm in result.arms)
    return Report(
        title=f"Comparison of training runs{names}",
        verdict=result.verdict,
        headline=headline(result),
        sentence=result.sentence,
        reasons=result.reasons,
        caveats=result.caveats,
        decide=result.to_decide.text,
        sections=sections(result),
        footer=f"bosrow {result.bosrow_version}, from {runs} runs. The numbers behind it: report.json.",
    )


def write_report(result: ComparisonResult, out: Path) -> None:
    """Write the three reports and the charts into `out`, each atomically."""
    report = report_of(result)
    (out / CHARTS).mkdir(parents=True, exist_ok=True)
    for chart in charts_of(report):
        replace_file(out / CHARTS / f"{chart.name}.svg", chart_file(chart).encode())
    replace_file(out / "report.md", markdown(report, CHARTS).encode())
    replace_file(out / "report.html", report_page(report).encode())
    replace_file(out / "report.json", _json_text(result).encode() + b"\n")


def _json_text(result: ComparisonResult) -> str:
    return json.dumps(as_json(result), indent=1, allow_nan=False)


def charts_of(report: Report) -> list[Chart]:
    """All charts of a report, in order."""
    blocks = [block for section in report.sections for block in section.blocks if isinstance(block, ChartsBlock)]
    return [chart for block in blocks for chart in block.charts]


def summary(result: ComparisonResult, out: Path) -> list[str]:
    """What is printed: the verdict, what it would take to decide, what to look at, where the report is."""
    lines = [result.sentence]
    lines += [f"  inconclusive by rule: {reason}" for reason in result.reasons]
    lines.append(result.to_decide.text)
    lines += result.caveats
    lines += [f"differs: {one.name}" for one in result.settings.different]
    lines += [f"{run.name}: {'; '.join(run.ailments)}" for run in result.runs if run.ailments]
    return [*lines, f"report: {out / 'report.html'}"]
