"""Charts and strips as SVG: lengths that stand for numbers, text that stays text, colours that tell apart."""

import doctest
import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bosrow.inspect.findings
import bosrow.inspect.survey
import bosrow.report.axes
import bosrow.report.numbers
import bosrow.report.svg
import bosrow.report.then_and_now
from bosrow.inspect.row_picture import Palette, StripPiece, draw_strip
from bosrow.report.axes import BOTTOM, HEIGHT, Scale, padded, ticks
from bosrow.report.chart import BarChart, BinCounts, ChartSeries, LineChart, PointChart, Tick
from bosrow.report.drawing import Y_NAME, draw
from bosrow.report.page import chart_file
from bosrow.report.svg import Box, svg_text

MODULES = (
    *(bosrow.inspect.findings, bosrow.inspect.survey, bosrow.report.axes, bosrow.report.numbers, bosrow.report.svg),
    bosrow.report.then_and_now,
)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_are_true(module):
    found = doctest.testmod(module, extraglobs={"np": __import__("numpy")})
    assert found.attempted > 0
    assert found.failed == 0


def bars(stacked, bins, **more):
    settings = {"title": "t", "caption": "", "x_label": "x", "y_label": "y", "ticks": []} | more
    return BarChart(name="bars", stacked=stacked, bins=bins, **settings)


def lines(series, **more):
    return LineChart(name="lines", title="t", caption="", x_label="x", y_label="y", series=series, **more)


def points(series, rows):
    return PointChart(name="points", title="t", caption="", x_label="x", series=series, rows=rows)


def rects(drawn, kind):
    """Width and height of each rectangle of a class, in order."""
    return [
        (float(one.get("width")), float(one.get("height"))) for one in drawn.iter("rect") if one.get("class") == kind
    ]


def test_bars_are_as_high_as_their_numbers():
    drawn = draw(bars([BinCounts("a", 2, [10, 20]), BinCounts("b", 6, [0, 5])], ["first", "second"]))
    (_, _), (_, first), (_, second) = rects(drawn, "f2")  # the first stands in the legend
    (_, _), (_, lost) = rects(drawn, "f6")
    assert second == pytest.approx(2 * first, abs=0.02)
    assert lost == pytest.approx(first / 2, abs=0.02)
    assert second + lost <= HEIGHT - BOTTOM - Y_NAME


def test_a_bar_far_above_all_others_is_broken_and_says_its_value():
    drawn = draw(bars([BinCounts("rows", 0, [1000, 10, 5])], ["0", "1", "2"]))
    heights = [height for _, height in rects(drawn, "f0")]
    assert heights[0] == pytest.approx(HEIGHT - BOTTOM - Y_NAME)
    assert heights[1] == pytest.approx(2 * heights[2], abs=0.02)
    assert [one for one in drawn.iter("path") if one.get("class") == "gap"]
    assert "1k" in [one.text for one in drawn.iter("text")]


@pytest.mark.parametrize("values", [[], [0], [0, 0], [7], [7, 0]])
def test_charts_of_little_are_drawn(values):
    places = list(range(len(values)))
    for chart in (
        bars([BinCounts("n", 0, values)], ["x"] * len(values)),
        lines([ChartSeries("n", 0, places, values)], y_range=(0.0, 1.0), percent=True),
        points([ChartSeries("n", 0, values, places)], ["x"] * len(values)),
    ):
        svg = svg_text(draw(chart))
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert "nan" not in svg


def test_a_line_goes_through_its_points_and_a_gap_stays_one():
    series = ChartSeries("loss", 1, [0, 1, 2, 3, 4], [1.0, 2.0, None, 3.0, 1.0], [0.5] * 5, [3.5] * 5)
    drawn = draw(lines([series], y_range=(0.0, 4.0)))
    path = [one.get("d") for one in drawn.iter("path") if one.get("class") == "line c1"][-1]  # after the legend's
    segments = [[tuple(map(float, point.split())) for point in part.split("L")] for part in path.split("M")[1:]]
    assert [len(segment) for segment in segments] == [2, 2]
    (x0, y0), (x1, y1), (x3, y3), (x4, y4) = (point for segment in segments for point in segment)
    assert x1 - x0 == pytest.approx((x3 - x1) / 2, abs=0.02)
    assert x4 - x3 == pytest.approx(x1 - x0, abs=0.02)
    assert y0 - y1 == pytest.approx((y1 - y3), abs=0.02)
    assert y4 == y0
    assert [one.get("class") for one in drawn.iter("path") if "band" in one.get("class")] == ["band f1"]


def test_text_is_escaped():
    nasty = "<script>&\"'</script>"
    for chart in (
        bars(
            [BinCounts(nasty, 0, [1])],
            [nasty],
            title=nasty,
            ticks=[Tick(0.5, nasty)],
            x_label=nasty,
            y_label=nasty,
            steps=BinCounts(nasty, 1, [1]),
            mark=Tick(0.5, nasty),
        ),
        lines([ChartSeries(nasty, 0, [0, 1], [0, 1])]),
        points([ChartSeries(nasty, 0, [1], [0])], [nasty]),
    ):
        svg = chart_file(chart)
        texts = [one.text for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert texts.count(nasty) == {BarChart: 6, LineChart: 1, PointChart: 2}[type(chart)]
        assert "<script>" not in svg


@given(st.floats(-1e15, 1e15), st.floats(1e-6, 1e15))
def test_steps_of_an_axis_are_round_few_and_inside(low, length):
    high = low + length
    if high - low < 1e-9 * abs(low):
        return  # a range of nothing but rounding
    steps = ticks(low, high)
    assert 2 <= len(steps) <= 6
    room = 1e-6 * (high - low)
    assert low - room <= steps[0]
    assert steps[-1] <= high + room


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_range_is_widened_and_never_empty(one, other):
    low, high = padded(min(one, other), max(one, other))
    assert low < min(one, other)
    assert max(one, other) < high
    scale = Scale(low, high, 10, 90)
    assert 10 <= scale(one) <= 90


def test_a_strip_is_divided_as_its_row():
    strip = [
        StripPiece(document=4, column=0, length=30, added_bos=False, headless=True, goes_on=False),
        StripPiece(document=9, column=30, length=50, added_bos=True, headless=False, goes_on=False),
        StripPiece(document=4, column=80, length=20, added_bos=False, headless=False, goes_on=True),
    ]
    drawn = draw_strip(strip, Palette(), 100, Box(0, 0, 300, 10))
    width = 3
    assert rects(drawn, "d0") == [(pytest.approx(30 * width, abs=0.01), 10), (pytest.approx(20 * width, abs=0.01), 10)]
    assert rects(drawn, "d1") == [(pytest.approx(50 * width, abs=0.01), 10)]
    assert (len(rects(drawn, "headless")), len(rects(drawn, "added")), len(rects(drawn, "bos"))) == (1, 1, 1)
    assert [one.get("class") for one in drawn.iter("path")] == ["cut"]


def test_a_document_keeps_its_colour_and_a_new_one_differs_from_its_neighbour():
    palette = Palette()
    first = [palette.of(document, document - 1 if document else None) for document in range(40)]
    assert all(one != other for one, other in itertools.pairwise(first))
    assert [palette.of(document, None) for document in range(40)] == first
    palette.closed = True
    assert palette.of(40, 39) == "other"
    assert palette.of(7, None) == first[7]
