"""The options of `bosrow verify`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bosrow.errors import OptionError
from bosrow.flags import Help, option


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Options of `bosrow verify`."""

    HELP: ClassVar = Help(
        groups=("data set", "checks", "output"),
        examples=("bosrow verify corpus_rows", "bosrow verify corpus_rows --checksums"),
    )

    data_dir: Path = option(
        positional=True, group="data set", metavar="DATA_DIR", help="a folder made by 'bosrow prepare'"
    )
    quick: bool = option(False, group="checks", help="check meta.json, names, sizes and counts; read no shard")
    checksums: bool = option(False, group="checks", help="check only the SHA-256 of every file, as after a copy")
    json: bool = option(False, group="output", help="print one JSON object")

    def __post_init__(self) -> None:
        if self.quick and self.checksums:
            raise OptionError("--quick reads no file and --checksums reads all; give one of them")
