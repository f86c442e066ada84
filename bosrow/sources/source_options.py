"""The options that say where a corpus is and which part of it is read, with their defaults."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bosrow.errors import OptionError
from bosrow.flags import at_least, option


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """The options that name a corpus. Raises OptionError unless exactly one is named."""

    dataset: str | None = option(
        None,
        group="source",
        metavar="NAME",
        help="data set on the Hugging Face Hub; or the format of --data_files: "
        "parquet, json, text, csv, arrow or webdataset",
    )
    config: str | None = option(None, group="source", metavar="NAME", help="configuration of it, such as sample-10BT")
    revision: str | None = option(None, group="source", metavar="NAME", help="branch, tag or commit of it")
    data_files: tuple[str, ...] = option(
        (),
        group="source",
        metavar="FILE",
        help="local files or globs: parquet, jsonl(.gz|.zst), csv, tsv, arrow or tar; "
        "any other file is one document of plain text",
    )
    from_dir: Path | None = option(
        None, group="source", flag="from", metavar="DIR", help="pack the documents of a prepared data set again"
    )
    allow_lossy: bool = option(False, group="source", help="let --from use a data set that has lost tokens")
    split: str = option("train", group="source", metavar="NAME", help="split to read")
    text_field: str = option("text", group="source", metavar="COLUMN", help="column that holds the text")
    id_field: str | None = option(
        None, group="source", metavar="COLUMN", help="column with a document's id, for the provenance"
    )
    csv_quoting: Literal["quoted", "none"] | None = option(
        None, group="source", help="whether quotes enclose cells (default: quoted in csv, none in tsv files)"
    )
    max_docs: int = option(0, group="source", help="read the first N documents; 0: all")
    on_bad_row: Literal["stop", "skip"] = option("stop", group="source", help="if a row has no usable text")

    def __post_init__(self) -> None:
        if self.from_dir and (self.dataset or self.data_files):
            raise OptionError("--from takes the place of --dataset and --data_files; give one of them")
        if not self.dataset and not self.data_files and not self.from_dir:
            raise OptionError("no corpus: give --dataset NAME (on the Hub), --data_files FILE... or --from DATA_DIR")
        if self.from_dir and self.csv_quoting:
            raise OptionError("--csv_quoting says how CSV files are written, but --from reads no CSV; leave it out")
        at_least(self, max_docs=0)
