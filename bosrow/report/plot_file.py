"""A picture by matplotlib in a PNG file, in one style for all; matplotlib is imported when a picture is drawn."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bosrow.files import replace_file


@contextmanager
def plot_file(path: Path, inches: tuple[float, float]) -> Iterator[Any]:
    """A figure to draw on; what was drawn replaces `path` at the end, atomically."""
    import matplotlib as mpl
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    image = io.BytesIO()
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=inches, dpi=130, layout="constrained")
        yield figure
        figure.savefig(image, format="png")
    replace_file(path, image.getvalue())
