"""The page and the picture in a real browser: nothing sticks out or overlaps, nothing is fetched or run."""

import pytest
from browser import OVERLAPPING_TEXTS, STICKING_OUT, Browser, needs_chromium

from bosrow.cli import main

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser():
    with Browser() as one:
        yield one


@pytest.fixture
def open_page(browser):
    """Open a page with nothing in the console yet."""

    def open_(path, width, **settings):
        browser.complaints.clear()
        browser.open(path.absolute().as_uri(), width, **settings)
        return browser

    return open_


CONTRAST = """(() => {
  const channel = (part) => part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [red, green, blue] = colour.match(/[0-9.]+/g).map(Number);
    return 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = {};
  const texts = "body, header p, .card strong, .card small, .note, .legend li, td, .text, .source";
  for (const name of texts.split(", ")) {
    const one = document.querySelector(name);
    if (!one) continue;
    const [high, low] = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
    found[name] = (high + 0.05) / (low + 0.05);
  }
  return found;
})()"""


@pytest.mark.parametrize("policy", ["crop", "keep", "stream", "bare"])
def test_a_page_of_hostile_documents_stays_in_shape_and_stays_text(made, tmp_path, open_page, policy):
    path = tmp_path / "page.html"
    assert main(["inspect", str(made[policy]), "--html", str(path), "--rows", "200"]) == 0
    for width in (400, 1400):
        for dark in (False, True):
            browser = open_page(path, width, dark=dark)
            assert (
                browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })") is None
            )
            assert browser.evaluate(STICKING_OUT) == []
            assert browser.evaluate(OVERLAPPING_TEXTS) == []
            assert browser.complaints == []
            assert browser.requests() == [path.as_uri()]
            contrast = browser.evaluate(CONTRAST)
            assert min(contrast.values()) >= 4.5, contrast
            assert browser.evaluate("getComputedStyle(document.body).colorScheme") is not None
    assert browser.evaluate("window.hacked") is None
    assert browser.evaluate("document.querySelectorAll('script, img, iframe, a, [onerror], i, b b').length") == 0
    text = browser.evaluate("document.body.textContent")
    assert "<script>window.hacked = 1</script>" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<b>corpus<i>.jsonl" in text


def test_dark_is_dark_and_light_is_light(made, tmp_path, open_page):
    path = tmp_path / "page.html"
    assert main(["inspect", str(made["keep"]), "--html", str(path)]) == 0
    papers = [
        open_page(path, 800, dark=dark).evaluate("getComputedStyle(document.body).backgroundColor")
        for dark in (False, True)
    ]
    light, dark = (sum(map(int, paper.removeprefix("rgb(").rstrip(")").split(", "))) for paper in papers)
    assert light > 600 > 150 > dark


def test_the_page_keeps_its_shape_in_print_and_the_texts_of_charts_stay_readable(made, tmp_path, open_page):
    path = tmp_path / "page.html"
    assert main(["inspect", str(made["crop"]), "--html", str(path)]) == 0
    smallest = "Math.min(...[...document.querySelectorAll('.chart text')].map((t) => t.getBoundingClientRect().height))"
    for width in (400, 800, 1400):
        assert open_page(path, width).evaluate(smallest) >= 12  # pixels of a line
    browser = open_page(path, 720)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(STICKING_OUT) == []
    assert browser.evaluate(OVERLAPPING_TEXTS) == []
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("policy", ["crop", "keep", "stream"])
def test_the_picture_is_well_formed_and_its_texts_stand_apart(made, tmp_path, open_page, policy):
    path = tmp_path / "rows.svg"
    assert main(["inspect", str(made[policy]), "--svg", str(path)]) == 0
    for dark in (False, True):
        browser = open_page(path, 1000, dark=dark)
        assert browser.evaluate("document.documentElement.tagName") == "svg"
        assert browser.evaluate("document.querySelectorAll('rect').length") > 40
        assert browser.evaluate(OVERLAPPING_TEXTS) == []
        assert browser.complaints == []


def test_the_checks_of_this_file_find_what_they_look_for(tmp_path, open_page):
    path = tmp_path / "bad.html"
    path.write_text(
        "<!doctype html><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
        "<p>one text on</p><p>another</p><div>wide</div><script>1</script><img src='https://127.0.0.1:9/x.png'>"
    )
    browser = open_page(path, 400)
    assert browser.evaluate(OVERLAPPING_TEXTS) == []
    assert len(browser.complaints) >= 2  # the script and the image
    assert browser.evaluate("document.querySelectorAll('p')[1].style.marginTop = '-30px'") == "-30px"
    assert browser.evaluate("document.querySelector('div').style.width = '900px'") == "900px"
    assert browser.evaluate(OVERLAPPING_TEXTS) == ["one text on / another"]
    assert "the page scrolls sideways" in browser.evaluate(STICKING_OUT)
