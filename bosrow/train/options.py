"""What `bosrow train` and `bosrow export` can be told; every default of training stands here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bosrow.errors import OptionError
from bosrow.evals.options import TrainingEvaluationOptions
from bosrow.options import option, require_finite


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingEvaluationOptions):
    """Options of `bosrow train`. An interval of 0 turns a thing off, at the end of training too."""

    data_dir: tuple[str, ...] = option(
        metavar="DIR[:WEIGHT]",
        help="a data set made by 'bosrow prepare', or several, mixed row by row in the proportions of their weights",
    )
    experiments_dir: Path = option(Path("experiments"), help="where run folders are made")
    run_dir: Path | None = option(None, help="the run folder itself, instead of one named from the options")
    resume: Literal["auto", "off"] = option(
        "auto", help="auto: go on from the newest valid checkpoint of the run folder"
    )
    extend: bool = option(
        False,
        help="go on from the finished run of --run_dir to a larger --max_train_steps: moments kept, the learning rate "
        "warmed up anew from 0 to --learning_rate within --warmup_iters steps, then a cosine to the new end",
    )
    init_from: Path | None = option(None, help="start from the weights of a GPT-2 folder in Hugging Face's format")
    seed: int = option(42, help="of the initial weights and of the order of rows; less than 2^64")

    seq_len: int = option(1024, help="tokens predicted in a row; the data set's own")
    total_batch_tokens: int = option(491520, help="tokens of one optimizer step, over all ranks")
    micro_batch_size: int = option(10, help="rows at once on one device, at most")
    max_train_steps: int = option(20000, help="optimizer steps")

    vocab_size: int | None = option(None, help="ids the model knows (default: the data set's, 50257 for GPT-2)")
    n_embd: int = option(768, help="width of the model")
    n_head: int = option(12, help="attention heads of a layer")
    n_layer: int = option(12, help="layers")

    learning_rate: float = option(6e-4, help="peak, after the warm-up")
    warmup_iters: int = option(700, help="steps of linear warm-up; then a cosine")
    learning_rate_decay_frac: float = option(0.0, help="part of the peak that the cosine ends at")
    weight_decay: float = option(0.1, help="AdamW's, on matrices and embeddings alone")
    beta1: float = option(0.9, help="AdamW's")
    beta2: float = option(0.95, help="AdamW's")
    grad_clip: float = option(1.0, help="largest L2 norm of the gradient; 0: no clipping")
    max_skipped_steps: int = option(
        10, help="steps with a non-finite loss or gradient that are passed over before stopping"
    )

    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", help="auto: a GPU where there is one")
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", help="of matrix products; auto: bfloat16 on CUDA")
    compile: bool = option(False, help="compile the model with torch.compile")
    activation_checkpointing: bool = option(False, help="compute layers again in the backward pass, for less memory")
    num_workers: int = option(0, help="processes that read rows; 0: a thread, which is enough")
    timeout_seconds: float = option(600.0, help="how long a rank waits for another one before it gives up")

    eval_every: int = option(200, help="steps between validation losses")
    val_rows: int = option(1024, help="rows of the val split used for it, evenly spaced; 0: all")
    save_every: int = option(2000, help="steps between checkpoints")
    keep_checkpoints: int = option(3, help="newest checkpoints that are kept; 0: all")
    exposure_every: int = option(100, help="steps between records of which rows each rank has read")
    sample_every: int = option(2000, help="steps between samples of generated text")
    tensorboard: bool = option(False, help="write TensorBoard events too (extra 'tensorboard')")
    wandb: str | None = option(None, metavar="PROJECT", help="log to this Weights & Biases project too (extra 'wandb')")
    dry_run: bool = option(False, help="print what would run, and leave")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.data_dir, str | Path):  # one will do in Python
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

    checkpoint: Path = option(positional=True, help="a checkpoint, or a run folder: its newest valid checkpoint")
    out_dir: Path = option(help="the folder to make, in Hugging Face's format")
    tokenizer: Path | None = option(
        None, metavar="FILE", help="the tokenizer.json that the model was trained with, if it is not GPT-2's"
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
