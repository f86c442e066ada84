"""The options of the verbs that show data and change nothing: inspect and policies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bosrow.data.options import PrepareOptions
from bosrow.errors import OptionError
from bosrow.options import option, same_as

SOURCE = ("dataset", "config", "revision", "data_files", "split", "text_field", "tokenizer")
PACKING = ("seq_len", "buffer_docs", "buffer_tokens", "workers")


@dataclass(frozen=True, kw_only=True)
class PoliciesOptions:
    """Options of `bosrow policies`: the source and sizes as `bosrow prepare` takes them."""

    dataset: str | None = same_as(PrepareOptions, "dataset")
    config: str | None = same_as(PrepareOptions, "config")
    revision: str | None = same_as(PrepareOptions, "revision")
    data_files: tuple[str, ...] = same_as(PrepareOptions, "data_files")
    from_dir: Path | None = option(
        None, flag="from", metavar="DATA_DIR", help="the documents of a prepared data set, of any policy; reads no text"
    )
    split: str = same_as(PrepareOptions, "split")
    text_field: str = same_as(PrepareOptions, "text_field")
    tokenizer: str = same_as(PrepareOptions, "tokenizer")
    seq_len: int = same_as(PrepareOptions, "seq_len")
    buffer_docs: int = same_as(PrepareOptions, "buffer_docs")
    buffer_tokens: int = same_as(PrepareOptions, "buffer_tokens")
    workers: int = same_as(PrepareOptions, "workers")
    sample_docs: int = option(20000, help="how many documents to read, from the first on; 0 means all")
    json: bool = option(False, help="print one JSON object")

    def __post_init__(self) -> None:
        if self.sample_docs < 0:
            raise OptionError(f"--sample_docs is {self.sample_docs}; it must be at least 0")
        self.preparation("crop")

    def preparation(self, policy: str) -> PrepareOptions:
        """The `bosrow prepare` that is tried out (its out_dir is never touched)."""
        given = {name: getattr(self, name) for name in SOURCE + PACKING}
        return PrepareOptions(out_dir=Path(), policy=policy, from_dir=self.from_dir, **given)


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Options of `bosrow inspect`."""

    data_dir: Path = option(positional=True, help="a folder made by 'bosrow prepare'")
    rows: int | None = option(
        None, help="how many rows to show as text, evenly spaced over the split (default: 1; on a page 8)"
    )
    split: Literal["train", "val"] = option("train", help="the split of these rows")
    html: Path | None = option(None, metavar="FILE", help="write one self-contained page instead")
    svg: Path | None = option(None, metavar="FILE", help="write a picture of a few rows beside stream packing instead")
    json: bool = option(False, help="print one JSON object")

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 0:
            raise OptionError(f"--rows is {self.rows}; it must be at least 0")
        ways = [f"--{name}" for name in ("html", "svg", "json") if getattr(self, name)]
        if len(ways) > 1:
            raise OptionError(f"{' and '.join(ways)} are ways to show a data set; give one of them")
        for path in (self.html, self.svg):
            if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
                raise OptionError(f"{path} cannot be written: give the name of a file in a folder that exists")

    @property
    def rows_shown(self) -> int:
        """How many rows to show as text."""
        return (8 if self.html else 1) if self.rows is None else self.rows
