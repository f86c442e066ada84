"""The options of `bosrow ab`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bosrow.flags import Help, option


@dataclass(frozen=True, kw_only=True)
class AbOptions:
    """Options of `bosrow ab`."""

    HELP: ClassVar = Help(
        groups=("experiment",),
        examples=("bosrow ab launch/ab_sample.toml --dry_run", "bosrow ab launch/ab_124m.toml"),
    )

    experiment: Path = option(
        positional=True,
        group="experiment",
        metavar="EXPERIMENT.toml",
        help="arms, seeds, model, steps, source and evaluation",
    )
    dry_run: bool = option(False, group="experiment", help="show the plan, and stop")
