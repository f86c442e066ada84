"""bosrow: text into training rows that start where documents start.

`open_rows(DATA_DIR, split)` gives the rows of a prepared data set; everything else is behind the
command line (`bosrow --help`) and the modules that it names.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bosrow.dataset.rows import Rows, open_rows

__version__ = "0.1.0"
__all__ = ["Rows", "__version__", "open_rows"]


def __getattr__(name: str) -> Any:
    """Import numpy only when rows are asked for, so that `import bosrow` stays instant."""
    if name in ("open_rows", "Rows"):
        from bosrow.dataset import rows

        return getattr(rows, name)
    raise AttributeError(f"module 'bosrow' has no attribute {name!r}")
