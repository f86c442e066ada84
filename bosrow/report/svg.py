"""SVG as a tree of elements. The standard library writes it, and escapes every text and every attribute."""

from collections.abc import Iterable
from typing import NamedTuple
from xml.etree.ElementTree import Element, tostring

NAMESPACE = "http://www.w3.org/2000/svg"


def shape(
    tag: str, inside: Iterable[Element] = (), *, text: str = "", title: str = "", **attributes: str | float | None
) -> Element:
    """An element. Browsers show `title` on hovering. Names of attributes have _ for -, and class_ is class.

    >>> svg_text(shape("text", text="a < b", x=1.5, text_anchor="end"))
    '<text x="1.5" text-anchor="end">a &lt; b</text>'
    """
    found = Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else pixels(value)
            for name, value in attributes.items()
            if value is not None
        },
    )
    if title:
        found.append(shape("title", text=title))
    if text:
        found.text = text
    found.extend(inside)
    return found


class Box(NamedTuple):
    """Where a rectangle is, in pixels."""

    left: float
    top: float
    width: float
    height: float


def rectangle(kind: str, box: Box, *, title: str = "", corner: float | None = None) -> Element:
    """A rectangle of the class `kind`; `corner` is the radius of its corners."""
    left, top, width, height = box
    return shape("rect", title=title, class_=kind, x=left, y=top, width=width, height=height, rx=corner)


def image(
    inside: Iterable[Element], width: float, height: float, label: str, kind: str, *, fills: bool = False
) -> Element:
    """The outermost element of a drawing, of the class `kind`; `label` is what a screen reader says of it.

    With `fills` it takes the size that a page gives it, whatever becomes of its proportions.
    """
    return shape(
        "svg",
        inside,
        xmlns=NAMESPACE,
        class_=kind,
        viewBox=f"0 0 {pixels(width)} {pixels(height)}",
        preserveAspectRatio="none" if fills else None,
        role="img",
        aria_label=label,
    )


def pixels(value: float) -> str:
    """A length with at most two digits behind the point.

    >>> pixels(3.0), pixels(-0.001), pixels(2.345678)
    ('3', '0', '2.35')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def line(*points: tuple[float, float]) -> str:
    """The `d` of a path from point to point.

    >>> line((0, 1), (2.5, 3))
    'M0 1L2.5 3'
    """
    return "M" + "L".join(f"{pixels(x)} {pixels(y)}" for x, y in points)


def svg_text(element: Element) -> str:
    """The element as text, for a page or a file."""
    return tostring(element, encoding="unicode")
