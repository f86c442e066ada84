"""The options of the verbs that show data and change nothing: inspect and policies."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bosrow.errors import OptionError
from bosrow.flags import Help, option, same_as
from bosrow.prepare.prepare_options import PrepareOptions

TOKENS = ("tokenizer", "bos_token", "eos_token", "append_eos")
SOURCE = ("dataset", "config", "revision", "data_files", "split", "text_field", "csv_quoting", *TOKENS)
PACKING = ("seq_len", "buffer_docs", "buffer_tokens", "workers")


@dataclass(frozen=True, kw_only=True)
class PoliciesOptions:
    """Options of `bosrow policies`: the source and sizes as `bosrow prepare` takes them."""

    HELP: ClassVar = Help(
        groups=("source", "tokenizer", "packing", "running", "output"),
        examples=(
            "bosrow policies --data_files 'corpus/*.jsonl' --seq_len 2048",
            "bosrow policies --from corpus_rows --sample_docs 0 --json",
        ),
    )

    dataset: str | None = same_as(PrepareOptions, "dataset")
    config: str | None = same_as(PrepareOptions, "config")
    revision: str | None = same_as(PrepareOptions, "revision")
    data_files: tuple[str, ...] = same_as(PrepareOptions, "data_files")
    from_dir: Path | None = option(
        None, group="source", flag="from", metavar="DIR", help="take the documents of a prepared data set"
    )
    split: str = same_as(PrepareOptions, "split")
    text_field: str = same_as(PrepareOptions, "text_field")
    csv_quoting: Literal["quoted", "none"] | None = same_as(PrepareOptions, "csv_quoting")
    tokenizer: str = same_as(PrepareOptions, "tokenizer")
    bos_token: str | None = same_as(PrepareOptions, "bos_token")
    eos_token: str | None = same_as(PrepareOptions, "eos_token")
    append_eos: bool = same_as(PrepareOptions, "append_eos")
    seq_len: int = same_as(PrepareOptions, "seq_len")
    buffer_docs: int = same_as(PrepareOptions, "buffer_docs")
    buffer_tokens: int = same_as(PrepareOptions, "buffer_tokens")
    workers: int = same_as(PrepareOptions, "workers")
    sample_docs: int = option(20000, group="source", help="read the first N documents; 0: all")
    json: bool = option(False, group="output", help="print one JSON object")

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

    HELP: ClassVar = Help(
        groups=("data set", "output"),
        examples=("bosrow inspect corpus_rows --rows 4", "bosrow inspect corpus_rows --html corpus_rows.html"),
    )

    data_dir: Path = option(
        positional=True, group="data set", metavar="DATA_DIR", help="a folder made by 'bosrow prepare'"
    )
    rows: int | None = option(
        None, group="data set", help="rows to show as text, evenly spaced over the split (default: 1; with --html 8)"
    )
    split: Literal["train", "val"] = option("train", group="data set", help="split that these rows come from")
    html: Path | None = option(None, group="output", metavar="FILE", help="write a page that needs no other file")
    svg: Path | None = option(
        None, group="output", metavar="FILE", help="write a picture of a few rows, beside stream packing"
    )
    json: bool = option(False, group="output", help="print one JSON object")

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
