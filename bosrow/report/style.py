"""The style sheets that lie beside the templates of a package."""

from importlib import resources


def style_sheet(name: str, package: str = "bosrow.report") -> str:
    """The text of a style sheet."""
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")
