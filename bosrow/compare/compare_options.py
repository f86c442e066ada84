"""What `bosrow compare` and `bosrow ab` can be told; every default stands here."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bosrow.errors import OptionError
from bosrow.flags import Help, option


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `bosrow compare`."""

    HELP: ClassVar = Help(
        groups=("runs", "output"),
        examples=(
            "bosrow compare runs/stream_seed* runs/crop_seed* --out comparison",
            "bosrow compare runs/* --out comparison --treatment keep --strict",
        ),
    )

    runs: tuple[Path, ...] = option(
        positional=True,
        group="runs",
        metavar="RUN",
        help="run folders of 'bosrow train'; runs on one data set are an arm",
    )
    out: Path = option(group="output", metavar="DIR", help="folder for report.html, .md, .json and figures")
    control: str | None = option(
        None,
        group="runs",
        metavar="ARM",
        help="arm to compare with, by name or letter (default: A, else the stream arm)",
    )
    treatment: str | None = option(
        None, group="runs", metavar="ARM", help="arm that the verdict is about (default: B, else the first other arm)"
    )
    strict: bool = option(
        False, group="runs", help="refuse runs that differ in more than their data, instead of showing it in red"
    )
    json: bool = option(False, group="output", help="print report.json instead of the verdict")

    def __post_init__(self) -> None:
        if not self.runs:
            raise OptionError("no run folders were given; 'bosrow compare RUN RUN... --out DIR' takes at least one")
        resolved = [path.resolve() for path in self.runs]
        twice = {str(path) for path in resolved if resolved.count(path) > 1}
        if twice:
            raise OptionError(f"given twice: {', '.join(sorted(twice))}; a run counts once")
        if self.control is not None and self.control == self.treatment:
            raise OptionError(f"--control and --treatment are both {self.control!r}; two arms are compared")
