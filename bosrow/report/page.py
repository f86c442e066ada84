"""Pages from templates: each one file, without network or script, light, dark and in print.

Promise: jinja2 escapes every text, and a content security policy lets nothing in but the page's own style sheet, by
its hash. Cost: jinja2 is imported here, by the verbs that write pages alone; compiling a template takes some
milliseconds.
"""

import base64
import hashlib
from typing import Any
from xml.etree.ElementTree import Element

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bosrow.report.blocks import Block, Cell, Report
from bosrow.report.chart import Chart
from bosrow.report.drawing import draw
from bosrow.report.style import style_sheet
from bosrow.report.svg import shape, svg_text

HERE = "bosrow.report"
WIDEST_NUMBER = 24  # characters of a cell that is not broken into lines


def report_page(report: Report) -> str:
    """report.html: the whole page."""
    return page(HERE, "report.html.jinja", report=report)


def page(package: str, template: str, style: str = "", **content: Any) -> str:
    """The page that a template of `package` makes of `content`. `style` is added to the style sheet of all pages."""
    loader = ChoiceLoader([PackageLoader(package), PackageLoader(HERE)])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"chart": _chart, "svg": _svg}
    environment.tests |= {"numeric": _is_numeric}
    environment.globals |= {"kind": _kind}
    style = style_sheet("page.css") + style_sheet("chart.css") + style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(style=Markup(style), style_sha256=digest, **content)


def chart_file(chart: Chart) -> str:
    """The chart as an SVG file of its own, on light or dark paper as its viewer prefers."""
    drawn = draw(chart)
    drawn.insert(0, shape("style", text=style_sheet("chart.css")))
    return svg_text(drawn) + "\n"


def _chart(chart: Chart) -> Markup:
    return _svg(draw(chart))


def _svg(element: Element) -> Markup:
    return Markup(svg_text(element))  # safe: the library that wrote it has escaped its texts


def _is_numeric(cell: Cell) -> bool:
    return any(letter.isdigit() for letter in cell.text) and len(cell.text) < WIDEST_NUMBER


def _kind(block: Block) -> str:
    return type(block).__name__
