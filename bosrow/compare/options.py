"""What `bosrow compare` and `bosrow ab` can be told; every default stands here."""

from dataclasses import dataclass
from pathlib import Path

from bosrow.errors import OptionError
from bosrow.flags import option


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `bosrow compare`."""

    runs: tuple[Path, ...] = option(
        positional=True, metavar="RUN", help="run folders of 'bosrow train': several seeds on each data set"
    )
    out: Path = option(metavar="DIR", help="folder for report.html, report.md, report.json and the figures")
    control: str | None = option(
        None, metavar="ARM", help="the arm that is compared with, by name or letter (default: A, else the stream arm)"
    )
    treatment: str | None = option(
        None, metavar="ARM", help="the arm that the verdict is about (default: B, else the first other one)"
    )
    strict: bool = option(False, help="refuse runs that differ in more than their data, instead of showing it in red")
    json: bool = option(False, help="print report.json instead of the verdict")

    def __post_init__(self) -> None:
        if not self.runs:
            raise OptionError("no run folders were given; 'bosrow compare RUN RUN... --out DIR' takes at least one")
        resolved = [path.resolve() for path in self.runs]
        twice = {str(path) for path in resolved if resolved.count(path) > 1}
        if twice:
            raise OptionError(f"given twice: {', '.join(sorted(twice))}; a run counts once")
        if self.control is not None and self.control == self.treatment:
            raise OptionError(f"--control and --treatment are both {self.control!r}; two arms are compared")


@dataclass(frozen=True, kw_only=True)
class AbOptions:
    """Options of `bosrow ab`."""

    experiment: Path = option(
        positional=True, metavar="EXPERIMENT.toml", help="arms, seeds, model, steps, source and evaluation"
    )
    dry_run: bool = option(False, help="show the plan, and leave")
