"""Charts and strips as SVG: lengths that stand for numbers, text that stays text, colours that tell apart."""

import doctest
import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bosrow.inspect.findings
import bosrow.inspect.survey
import bosrow.report.histograms
import bosrow.report.numbers
from bosrow.inspect.row_picture import Palette, StripPiece, draw_strip
from bosrow.report.histograms import PLOT_HEIGHT, PLOT_WIDTH, Series, bars, lines, round_steps

MODULES = (bosrow.inspect.findings, bosrow.inspect.survey, bosrow.report.histograms, bosrow.report.numbers)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_are_true(module):
    found = doctest.testmod(module, extraglobs={"np": __import__("numpy")})
    assert found.attempted > 0
    assert found.failed == 0


def rects(svg, kind):
    """Width and height of each rectangle of a class, in order."""
    return [
        (float(one.get("width")), float(one.get("height")))
        for one in ElementTree.fromstring(svg).iter("rect")
        if one.get("class") == kind
    ]


def test_bars_are_as_high_as_their_numbers():
    series = [Series(name="a", kind="kept", values=[10, 20]), Series(name="b", kind="lost", values=[0, 5])]
    svg = bars(series, ["first", "second"], [(0, "0")], x_label="x", y_label="y")
    (_, first), (_, second) = rects(svg, "kept")
    ((_, lost),) = rects(svg, "lost")
    assert second == pytest.approx(2 * first, abs=0.02)
    assert lost == pytest.approx(first / 2, abs=0.02)
    assert second + lost <= PLOT_HEIGHT


def test_a_bar_far_above_all_others_is_broken_and_says_its_value():
    series = [Series(name="rows", kind="own", values=[1000, 10, 5])]
    svg = bars(series, ["0", "1", "2"], [], x_label="x", y_label="y")
    heights = [height for _, height in rects(svg, "own")]
    assert heights[0] == pytest.approx(PLOT_HEIGHT)
    assert heights[1] == pytest.approx(2 * heights[2], abs=0.02)
    assert 'class="gap"' in svg
    assert ">1k</text>" in svg


@pytest.mark.parametrize("values", [[], [0], [0, 0], [7], [7, 0]])
def test_charts_of_little_are_drawn(values):
    for svg in (
        bars([Series(name="n", kind="own", values=values)], ["x"] * len(values), [], x_label="x", y_label="y"),
        lines([Series(name="n", kind="own", values=values)], [], x_label="x", y_label="y"),
    ):
        assert ElementTree.fromstring(svg).tag == "svg"
        assert "nan" not in svg


def test_text_is_escaped():
    nasty = "<script>&\"'</script>"
    svg = bars(
        [Series(name=nasty, kind="own", values=[1])],
        [nasty],
        [(0.5, nasty)],
        x_label=nasty,
        y_label=nasty,
        line=Series(name=nasty, kind="stream", values=[1]),
        mark=(0.5, nasty),
    )
    texts = [one.text for one in ElementTree.fromstring(svg).iter("text")]
    assert texts.count(nasty) == 4
    assert "<script>" not in svg


@given(st.floats(1e-6, 1e15))
def test_steps_of_an_axis_are_round_few_and_not_beyond_the_top(most):
    steps = round_steps(most)
    assert 3 <= len(steps) <= 7
    assert steps[0] == 0
    assert steps[-1] <= most * (1 + 1e-6)


def test_a_strip_is_divided_as_its_row():
    strip = [
        StripPiece(document=4, column=0, length=30, added_bos=False, headless=True, goes_on=False),
        StripPiece(document=9, column=30, length=50, added_bos=True, headless=False, goes_on=False),
        StripPiece(document=4, column=80, length=20, added_bos=False, headless=False, goes_on=True),
    ]
    svg = f"<svg>{draw_strip(strip, Palette(), 100, at=(0, 0), size=(PLOT_WIDTH, 10))}</svg>"
    width = PLOT_WIDTH / 100
    assert rects(svg, "d0") == [(pytest.approx(30 * width, abs=0.01), 10), (pytest.approx(20 * width, abs=0.01), 10)]
    assert rects(svg, "d1") == [(pytest.approx(50 * width, abs=0.01), 10)]
    assert (len(rects(svg, "headless")), len(rects(svg, "added")), len(rects(svg, "bos"))) == (1, 1, 1)
    assert svg.count('class="cut"') == 1


def test_a_document_keeps_its_colour_and_a_new_one_differs_from_its_neighbour():
    palette = Palette()
    first = [palette.of(document, document - 1 if document else None) for document in range(40)]
    assert all(one != other for one, other in itertools.pairwise(first))
    assert [palette.of(document, None) for document in range(40)] == first
    palette.closed = True
    assert palette.of(40, 39) == "other"
    assert palette.of(7, None) == first[7]
