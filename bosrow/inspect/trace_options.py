"""The options of `bosrow trace`. What decides the order of training has the trainer's names and defaults."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bosrow.dataset.mixture import weighted_paths
from bosrow.dataset.order_options import OrderOptions
from bosrow.errors import OptionError
from bosrow.flags import Help, option, same_as

ASKED = ("row", "position", "step", "document")


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """Options of `bosrow trace`: one of `ASKED`, and for a step what the training was started with."""

    HELP: ClassVar = Help(
        groups=("data set", "question", "training asked about", "output"),
        examples=(
            "bosrow trace corpus_rows --row 7 --text",
            "bosrow trace corpus_rows --step 1200 --total_batch_tokens 524288 --rank 0",
        ),
    )

    data_dir: Path = option(
        positional=True, group="data set", metavar="DATA_DIR", help="a folder made by 'bosrow prepare'"
    )
    row: int | None = option(None, group="question", help="which documents are in row N? (from 0)")
    position: int | None = option(
        None, group="question", help="which row is at place N of the training order? (from 0)"
    )
    step: int | None = option(None, group="question", help="which rows did step N read? (from 1, as logged)")
    document: int | None = option(None, group="question", help="in which rows is document N, and when? (from 0)")
    split: Literal["train", "val"] = option("train", group="question", help="split of --row or --position")
    text: bool = option(False, group="output", help="print the text of each piece")
    seed: int = same_as(OrderOptions, "seed", group="training asked about")
    total_batch_tokens: int = same_as(OrderOptions, "total_batch_tokens", group="training asked about")
    micro_batch_size: int = same_as(OrderOptions, "micro_batch_size", group="training asked about")
    world_size: int = option(1, group="training asked about", help="number of ranks")
    rank: int | None = option(None, group="training asked about", help="with --step: only the rows of rank N")
    max_train_steps: int = same_as(OrderOptions, "max_train_steps", group="training asked about")
    json: bool = option(False, group="output", help="print one JSON object")

    def __post_init__(self) -> None:
        if weighted_paths((str(self.data_dir),))[0][0] != self.data_dir:
            raise OptionError(
                f"{self.data_dir}: trace knows the order of a run on one data set, not on a mixture by weights; "
                "the exposures/ of such a run name each row's data set and shard"
            )
        asked = [name for name in ASKED if getattr(self, name) is not None]
        if len(asked) != 1:
            found = " and ".join(f"--{name}" for name in asked) or "nothing"
            raise OptionError(f"asked for {found}; give one of --row, --position, --step and --document")
        least = {"row": 0, "position": 0, "step": 1, "document": 0, "seed": 0, "total_batch_tokens": 1}
        least |= {"micro_batch_size": 1, "world_size": 1, "rank": 0, "max_train_steps": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise OptionError(f"--{name} is {value}; it must be at least {bound}")
        if self.rank is not None and self.rank >= self.world_size:
            raise OptionError(
                f"--rank is {self.rank}; with --world_size {self.world_size} it is 0 to {self.world_size - 1}"
            )
        if self.rank is not None and self.step is None:
            raise OptionError("--rank chooses rows of a --step")
        if self.split == "val" and (self.step is not None or self.document is not None):
            raise OptionError("--split val goes with --row or --position: training steps read train rows alone")
        for name in ("position", "step", "max_train_steps"):
            value = getattr(self, name)
            if value is not None and value >= 1 << 40:
                raise OptionError(f"--{name} is {value}; less than 2**40 is possible")
