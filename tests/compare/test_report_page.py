"""report.html in a real browser, and as text: nothing sticks out, overlaps, is fetched or run."""

import base64
import hashlib
import json
import re

import pytest
from browser import OVERLAPPING_TEXTS, STICKING_OUT, Browser, needs_chromium
from compare_folders import write_experiment, write_run

from bosrow.cli import main
from bosrow.compare.command import report_of
from bosrow.compare.result import from_json
from bosrow.report.page import report_page

NASTY = "<script>window.hacked=1</script>|`*[x](y)"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of four arms, one with a hostile name, and a run that differs from the others."""
    place = tmp_path_factory.mktemp("report")
    runs = write_experiment(place / "runs", arms="ABC")
    for seed in (1, 2, 3):
        arm = {"arm": "E", "name": NASTY}
        runs.append(write_run(place / f"nasty_{seed}", seed, arm=arm, options={"learning_rate": 0.1, "val_rows": seed}))
    assert main(["compare", *map(str, runs), "--out", str(place / "out")]) == 0
    return place / "out"


@pytest.fixture(scope="module")
def browser():
    with Browser() as one:
        yield one


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_the_page_keeps_its_shape(report, browser, width, dark):
    path = report / "report.html"
    browser.complaints.clear()
    browser.open(path.as_uri(), width, dark=dark)
    assert browser.evaluate(STICKING_OUT) == []
    assert browser.evaluate(OVERLAPPING_TEXTS) == []
    assert browser.evaluate("document.querySelectorAll('svg').length") > 8
    smallest = (
        "Math.min(...[...document.querySelectorAll('svg text')].map((one) => one.getBoundingClientRect().height))"
    )
    assert browser.evaluate(smallest) >= 12  # pixels of a line: text in figures stays readable
    assert browser.requests() == [path.as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("window.hacked") is None


@needs_chromium
def test_the_page_keeps_its_shape_in_print(report, browser):
    browser.open((report / "report.html").as_uri(), 720)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(STICKING_OUT) == []
    assert browser.evaluate(OVERLAPPING_TEXTS) == []
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.call("Emulation.setEmulatedMedia", media="")


@needs_chromium
def test_each_chart_is_a_picture_of_its_own(report, browser):
    for path in sorted((report / "charts").glob("*.svg")):
        browser.complaints.clear()
        browser.open(path.as_uri(), 500)
        assert browser.complaints == []
        assert browser.evaluate("document.querySelectorAll('text').length") > 4
        assert browser.evaluate(OVERLAPPING_TEXTS) == []


def test_names_are_text_on_the_page_and_in_markdown(report):
    html = (report / "report.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;window.hacked=1&lt;/script&gt;" in html
    assert "\\<script\\>" in (report / "report.md").read_text()


def test_nothing_but_the_pages_own_style_may_load(report):
    html = (report / "report.html").read_text()
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert not re.search(r'\bstyle="|https?://(?!www\.w3\.org/2000/svg)|\bsrc=|\bhref=', html)


def test_report_json_alone_makes_the_page(report):
    content = json.loads((report / "report.json").read_text())
    assert report_page(report_of(from_json(content))) == (report / "report.html").read_text()


def test_markdown_tables_have_as_many_cells_in_each_line(report):
    tables = re.findall(r"(?:^\|.*\n)+", (report / "report.md").read_text(), re.MULTILINE)
    assert len(tables) > 6
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


def test_markdown_shows_every_chart(report):
    shown = set(re.findall(r"\(charts/(\w+)\.svg\)", (report / "report.md").read_text()))
    assert shown == {path.stem for path in (report / "charts").iterdir()}


def test_each_figure_says_how_many_seeds_stand_behind_it(report):
    captions = re.findall(r'</svg><p class="caption">(.*?)</p>', (report / "report.html").read_text())
    assert captions
    assert [caption for caption in captions if not re.search(r"\d", caption)] == []
