"""The options of `bosrow train` and `bosrow export`, with the defaults of training."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bosrow.dataset.order_options import OrderOptions
from bosrow.errors import OptionError
from bosrow.evals.eval_options import TrainingEvaluationOptions
from bosrow.flags import Help, option, require_finite, same_as


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingEvaluationOptions):
    """Options of `bosrow train`. An interval of 0 turns something off, also at the end of training."""

    HELP: ClassVar = Help(
        groups=(
            *("data", "run", "batch", "model", "optimizer", "device", "validation", "HellaSwag", "EWoK"),
            *("held-out documents", "checkpoints and records"),
        ),
        examples=(
            "bosrow train --data_dir corpus_rows --dry_run",
            "bosrow train --data_dir web_rows:0.7 books_rows:0.3 --run_dir experiments/mix",
            "torchrun --standalone --nproc_per_node=8 -m bosrow train \\\n"
            "  --data_dir corpus_rows --micro_batch_size 32 --compile",
        ),
    )

    data_dir: tuple[str, ...] = option(
        group="data",
        metavar="DIR[:WEIGHT]",
        help="folders made by 'bosrow prepare'; several are mixed row by row in proportion to their weights",
    )
    experiments_dir: Path = option(Path("experiments"), group="run", metavar="DIR", help="folder of run folders")
    run_dir: Path | None = option(None, group="run", metavar="DIR", help="the run folder, instead of a new one there")
    resume: Literal["auto", "off"] = option(
        "auto", group="run", help="auto: go on from the newest valid checkpoint of the run folder"
    )
    extend: bool = option(
        False,
        group="run",
        help="go on from the finished run of --run_dir to a larger --max_train_steps: moments are kept, the learning "
        "rate warms up again from 0 in --warmup_iters steps, then follows a cosine to the new end",
    )
    init_from: Path | None = option(
        None, group="model", metavar="DIR", help="start from this GPT-2 in Hugging Face's format"
    )
    seed: int = same_as(OrderOptions, "seed")

    seq_len: int = option(1024, group="batch", help="predictions per row, as prepared")
    total_batch_tokens: int = same_as(OrderOptions, "total_batch_tokens")
    micro_batch_size: int = same_as(OrderOptions, "micro_batch_size")
    max_train_steps: int = same_as(OrderOptions, "max_train_steps")

    vocab_size: int | None = option(None, group="model", help="size of the vocabulary (default: the data set's)")
    n_embd: int = option(768, group="model", help="width of the model")
    n_head: int = option(12, group="model", help="attention heads per layer")
    n_layer: int = option(12, group="model", help="layers of the model")

    learning_rate: float = option(6e-4, group="optimizer", help="peak, after the warm-up")
    warmup_iters: int = option(700, group="optimizer", help="steps of linear warm-up, then cosine")
    learning_rate_decay_frac: float = option(0.0, group="optimizer", help="final fraction of the peak")
    weight_decay: float = option(0.1, group="optimizer", help="of matrices and embeddings")
    beta1: float = option(0.9, group="optimizer", help="of AdamW")
    beta2: float = option(0.95, group="optimizer", help="of AdamW")
    grad_clip: float = option(1.0, group="optimizer", help="largest norm of the gradient; 0: any")
    max_skipped_steps: int = option(10, group="optimizer", help="most non-finite steps to skip")

    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", group="device", help="auto: a GPU if there is one")
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto", group="device", help="of matrix products; auto: bfloat16 on CUDA, else float32"
    )
    compile: bool = option(False, group="device", help="compile the model with torch.compile")
    activation_checkpointing: bool = option(False, group="device", help="compute activations twice, to save memory")
    num_workers: int = option(0, group="data", help="threads that read rows ahead; 0: one, enough for a disk")
    timeout_seconds: float = option(600.0, group="device", help="how long ranks wait for each other")

    eval_every: int = option(200, group="validation", help="steps between validations; 0: never")
    val_rows: int = option(1024, group="validation", help="val rows, evenly spaced; 0: all")
    save_every: int = option(2000, group="checkpoints and records", help="steps between checkpoints; 0: none")
    keep_checkpoints: int = option(3, group="checkpoints and records", help="newest checkpoints to keep; 0: all")
    exposure_every: int = option(
        100, group="checkpoints and records", help="steps between records of which rows each rank has read; 0: none"
    )
    sample_every: int = option(2000, group="checkpoints and records", help="steps between text samples; 0: none")
    tensorboard: bool = option(
        False, group="checkpoints and records", help="log to TensorBoard too (extra 'tensorboard')"
    )
    wandb: str | None = option(
        None, group="checkpoints and records", metavar="PROJECT", help="log to Weights & Biases too (extra 'wandb')"
    )
    dry_run: bool = option(False, group="run", help="print what would run, and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.data_dir, str | Path):  # Python code may give a single one
            object.__setattr__(self, "data_dir", (str(self.data_dir),))
        require_finite(self)
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise OptionError(f"--{name} is {getattr(self, name)}; more than 0 is required")
        if self.vocab_size is not None and self.vocab_size < 1:
            raise OptionError(f"--vocab_size is {self.vocab_size}; more than 0 is required")
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise OptionError(f"--{name} is {getattr(self, name)}; 0 or more is required")
        if self.seed > MAX_SEED:
            raise OptionError(f"--seed is {self.seed}; at most {MAX_SEED} (2^64 - 1) is possible")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"--{name} is {getattr(self, name)}; 0 or more and less than 1 is required")
        if self.learning_rate_decay_frac > 1:
            raise OptionError(f"--learning_rate_decay_frac is {self.learning_rate_decay_frac}; at most 1 is possible")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of `bosrow export`."""

    HELP: ClassVar = Help(
        groups=("checkpoint", "output"),
        examples=(
            "bosrow export experiments/my_run --out_dir my_model",
            "bosrow export experiments/my_run/ckpt_final_step0020000 --out_dir my_model",
        ),
    )

    checkpoint: Path = option(
        positional=True,
        group="checkpoint",
        metavar="CHECKPOINT",
        help="a checkpoint; or a run folder, for its newest one",
    )
    out_dir: Path = option(group="output", metavar="DIR", help="folder to make, in Hugging Face's format")
    tokenizer: Path | None = option(
        None, group="checkpoint", metavar="FILE", help="the model's tokenizer.json, if it is not GPT-2's"
    )


MAX_SEED = 2**64 - 1  # what torch's generators take
POSITIVE = (
    *("seq_len", "total_batch_tokens", "micro_batch_size", "max_train_steps"),
    *("n_embd", "n_head", "n_layer", "learning_rate", "timeout_seconds"),
)
NOT_NEGATIVE = (
    *("seed", "warmup_iters", "learning_rate_decay_frac", "weight_decay", "grad_clip", "max_skipped_steps"),
    *("num_workers", "eval_every", "val_rows", "save_every", "keep_checkpoints", "exposure_every", "sample_every"),
)
