"""What `bosrow eval` and the evaluations inside a training run can be told; every default stands here."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bosrow.errors import OptionError
from bosrow.flags import Help, did_you_mean, option

TASKS = ("hellaswag", "ewok", "blimp", "arc_easy", "winogrande", "bits_per_byte", "rows")


@dataclass(frozen=True, kw_only=True)
class ItemOptions:
    """Where HellaSwag, EWoK and held-out documents come from, and HellaSwag's rule."""

    hellaswag_rule: Literal["llmc", "reference", "harness"] = option(
        "reference",
        group="HellaSwag",
        help="how texts are made and acc_norm is computed; never compare numbers of two rules",
    )
    hellaswag_data: Path | None = option(
        None, group="HellaSwag", metavar="FILE", help="read items from this jsonl(.gz), not from the Hub"
    )
    hellaswag_dataset: str = option("Rowan/hellaswag", group="HellaSwag", metavar="NAME", help="data set on the Hub")
    hellaswag_dataset_config: str | None = option(None, group="HellaSwag", metavar="NAME", help="configuration of it")
    hellaswag_split: str = option("validation", group="HellaSwag", metavar="NAME", help="split of it")
    hellaswag_local_files_only: bool = option(
        False, group="HellaSwag", help="use the Hub's local cache, without network"
    )
    hellaswag_max_examples: int = option(0, group="HellaSwag", help="score the first N items; 0: all")
    ewok_data: Path | None = option(
        None,
        group="EWoK",
        metavar="PATH",
        help="its items: jsonl, csv, parquet (.gz too) or a folder of these; EWoK is gated, so bosrow does not ship it",
    )
    heldout: Path | None = option(
        None,
        group="held-out documents",
        metavar="DIR",
        help="score the val documents of this data set, made by --policy keep or stream",
    )
    heldout_max_documents: int = option(0, group="held-out documents", help="score the first N documents; 0: all")

    def __post_init__(self) -> None:
        for name in ("hellaswag_max_examples", "heldout_max_documents"):
            if getattr(self, name) < 0:
                raise OptionError(f"--{name} is {getattr(self, name)}; 0 or more is required")


@dataclass(frozen=True, kw_only=True)
class TrainingEvaluationOptions(ItemOptions):
    """Evaluations inside a training run. An interval of 0 turns one off, at the end of training too."""

    hellaswag_max_examples: int = option(4096, group="HellaSwag", help="score the first N items; 0: all")
    hellaswag_every: int = option(500, group="HellaSwag", help="steps between evaluations; 0: never")
    hellaswag_batch_size: int = option(8, group="HellaSwag", help="rows of the model's length at once")
    ewok_every: int = option(250, group="EWoK", help="steps between evaluations; 0: never")
    ewok_batch_size: int = option(4, group="EWoK", help="rows of the model's length at once")
    skip_final_ewok: bool = option(False, group="EWoK", help="do not evaluate it after the last step")
    heldout_every: int = option(500, group="held-out documents", help="steps between evaluations; 0: never")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hellaswag_every", "ewok_every", "heldout_every"):
            if getattr(self, name) < 0:
                raise OptionError(f"--{name} is {getattr(self, name)}; 0 or more is required")
        for name in ("hellaswag_batch_size", "ewok_batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name} is {getattr(self, name)}; at least 1 is required")


@dataclass(frozen=True, kw_only=True)
class EvalOptions(ItemOptions):
    """Options of `bosrow eval`."""

    HELP: ClassVar = Help(
        groups=(
            *("models and tasks", "HellaSwag", "EWoK", "other benchmarks", "held-out documents", "rows"),
            *("output", "running"),
        ),
        examples=(
            "bosrow eval experiments/my_run/ckpt_final_step0020000 --tasks hellaswag,blimp",
            "bosrow eval run_a/ckpt_final_step0020000 run_b/ckpt_final_step0020000 \\\n"
            "  --tasks bits_per_byte --heldout corpus_keep --out side_by_side",
        ),
    )

    checkpoints: tuple[Path, ...] = option(
        positional=True,
        group="models and tasks",
        metavar="CHECKPOINT",
        help="checkpoints of 'bosrow train', or GPT-2 folders in Hugging Face's format",
    )
    tasks: str = option(
        group="models and tasks", metavar="TASKS", help=f"one or more of {', '.join(TASKS)}, separated by commas"
    )
    out: Path | None = option(None, group="output", metavar="DIR", help="folder for scores, summary.json and plots")
    bos: Literal["yes", "no", "both"] | None = option(
        None,
        group="models and tasks",
        help="put BOS before each context (default: yes for blimp and ewok, no for the other tasks)",
    )
    blimp_data: Path | None = option(
        None, group="other benchmarks", metavar="PATH", help="read items from here, not from the Hub"
    )
    arc_easy_data: Path | None = option(
        None, group="other benchmarks", metavar="PATH", help="read items from here, not from the Hub"
    )
    winogrande_data: Path | None = option(
        None, group="other benchmarks", metavar="PATH", help="read items from here, not from the Hub"
    )
    stride: int = option(0, group="held-out documents", help="tokens between windows; 0: half a window")
    rows: tuple[Path, ...] = option(
        (), group="rows", metavar="DIR", help="compute the loss on the val rows of these data sets"
    )
    max_rows: int = option(0, group="rows", help="use N rows, evenly spaced; 0: all")
    tokenizer: str | None = option(
        None,
        group="models and tasks",
        metavar="NAME",
        help="tokenizer to use (default: the checkpoint's, else GPT-2's)",
    )
    batch_size: int = option(8, group="running", help="rows of the model's length at once")
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", group="running", help="auto: a GPU if there is one")
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto", group="running", help="of the model; auto: bfloat16 on CUDA, else float32"
    )
    json: bool = option(False, group="output", help="print the summary as JSON instead of a table")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.task_names:
            raise OptionError(f"--tasks names none; there are: {', '.join(TASKS)}")
        for name in self.task_names:
            if name not in TASKS:
                near = did_you_mean(name, TASKS)
                question = f"; did you mean {near}?" if near else ""
                raise OptionError(f"--tasks has {name!r}; there are: {', '.join(TASKS)}{question}")
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
