"""What `bosrow eval` and the evaluations inside a training run can be told; every default stands here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bosrow.errors import OptionError
from bosrow.flags import option

TASKS = ("hellaswag", "ewok", "blimp", "arc_easy", "winogrande", "bits_per_byte", "rows")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Where HellaSwag, EWoK and held-out documents come from, and HellaSwag's rule."""

    hellaswag_rule: Literal["llmc", "reference", "harness"] = option(
        "reference", help="how its text is made and how acc_norm is taken: three rules, three numbers"
    )
    hellaswag_data: Path | None = option(
        None, metavar="FILE", help="its items in a local jsonl(.gz), instead of the Hub"
    )
    hellaswag_dataset: str = option("Rowan/hellaswag", help="its data set on the Hugging Face Hub")
    hellaswag_dataset_config: str | None = option(None, help="that data set's configuration")
    hellaswag_split: str = option("validation", help="that data set's split")
    hellaswag_local_files_only: bool = option(False, help="take it from the local cache of the Hub, without network")
    hellaswag_max_examples: int = option(0, help="only its first so many items; 0: all")
    ewok_data: Path | None = option(
        None,
        metavar="PATH",
        help="EWoK's items: jsonl, csv, parquet (.gz too) or a folder of such; it is gated and not bundled",
    )
    heldout: Path | None = option(
        None, metavar="DATA_DIR", help="a lossless data set (--policy stream or keep), whose val documents are scored"
    )
    heldout_max_documents: int = option(0, help="only its first so many documents; 0: all")

    def __post_init__(self) -> None:
        for name in ("hellaswag_max_examples", "heldout_max_documents"):
            if getattr(self, name) < 0:
                raise OptionError(f"--{name} is {getattr(self, name)}; 0 or more is required")


@dataclass(frozen=True, kw_only=True)
class TrainingEvaluationOptions(SourceOptions):
    """Evaluations inside a training run. An interval of 0 turns one off, at the end of training too."""

    hellaswag_max_examples: int = option(4096, help="only its first so many items; 0: all")
    hellaswag_every: int = option(500, help="steps between evaluations on HellaSwag, without BOS")
    hellaswag_batch_size: int = option(8, help="rows of the model's length (or as many tokens) that are scored at once")
    ewok_every: int = option(250, help="steps between evaluations on EWoK, with BOS; needs --ewok_data")
    ewok_batch_size: int = option(4, help="rows of the model's length (or as many tokens) that are scored at once")
    skip_final_ewok: bool = option(False, help="no EWoK after the last step")
    heldout_every: int = option(500, help="steps between evaluations of bits per byte; needs --heldout")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hellaswag_every", "ewok_every", "heldout_every"):
            if getattr(self, name) < 0:
                raise OptionError(f"--{name} is {getattr(self, name)}; 0 or more is required")
        for name in ("hellaswag_batch_size", "ewok_batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name} is {getattr(self, name)}; at least 1 is required")


@dataclass(frozen=True, kw_only=True)
class EvalOptions(SourceOptions):
    """Options of `bosrow eval`."""

    checkpoints: tuple[Path, ...] = option(
        positional=True, metavar="CHECKPOINT", help="checkpoints of 'bosrow train', or GPT-2 folders of Hugging Face"
    )
    tasks: str = option(help=f"one or more of {', '.join(TASKS)}, with commas between")
    out: Path | None = option(None, metavar="DIR", help="folder for the items' scores, summary.json and plots")
    bos: Literal["yes", "no", "both"] | None = option(
        None, help="BOS before each context (default: as each task has it: yes for blimp and ewok, no for the others)"
    )
    blimp_data: Path | None = option(
        None, metavar="PATH", help="its items in a local file or folder, instead of the Hub"
    )
    arc_easy_data: Path | None = option(
        None, metavar="PATH", help="its items in a local file or folder, instead of the Hub"
    )
    winogrande_data: Path | None = option(
        None, metavar="PATH", help="its items in a local file or folder, instead of the Hub"
    )
    stride: int = option(0, help="bits_per_byte: tokens between windows; 0: half the model's length")
    rows: tuple[Path, ...] = option(
        (), metavar="DATA_DIR", help="task rows: data sets on whose val rows each model's loss is taken"
    )
    max_rows: int = option(0, help="task rows: so many rows, evenly spaced; 0: all")
    tokenizer: str | None = option(None, help="tokenizer (default: the checkpoint's own, else GPT-2's)")
    batch_size: int = option(8, help="rows of the model's length (or as many tokens) that are scored at once")
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", help="auto: a GPU where there is one")
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", help="of the model; auto: bfloat16 on CUDA")
    json: bool = option(False, help="print the summary as JSON instead of a table")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.task_names:
            raise OptionError(f"--tasks names none; there are: {', '.join(TASKS)}")
        for name in self.task_names:
            if name not in TASKS:
                raise OptionError(f"--tasks has {name!r}; there are: {', '.join(TASKS)}")
        if "bits_per_byte" in self.task_names and self.heldout is None:
            raise OptionError("--tasks bits_per_byte needs --heldout DATA_DIR, a data set of policy stream or keep")
        if "rows" in self.task_names and not self.rows:
            raise OptionError("--tasks rows needs --rows DATA_DIR..., data sets with val rows")
        if self.batch_size < 1:
            raise OptionError(f"--batch_size is {self.batch_size}; at least 1 is required")
        for name in ("stride", "max_rows"):
            if getattr(self, name) < 0:
                raise OptionError(f"--{name} is {getattr(self, name)}; 0 or more is required")

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks in the order given, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.tasks.split(",") if name.strip()))
