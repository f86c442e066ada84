"""What a run will be, before anything is made or changed: its rows, model, batch plan, folder and identity.

Promise: every mistake in options and data is found here, on every rank, and reported in one message. Cost: reading the
data sets' meta.json, and one stat per file.
"""

import dataclasses
import functools
import sys
from typing import Any

import torch

from bosrow import __version__
from bosrow.dataset.batch_plan import BatchPlan, plan_batch
from bosrow.dataset.mixture import Mixture
from bosrow.distributed.device import choose_dtype
from bosrow.distributed.world import World
from bosrow.errors import OptionError
from bosrow.model.gpt2 import ModelConfig
from bosrow.model.pretrained import read_config, weights_sha256
from bosrow.train.run_folder import RunFolder, run_dir_of
from bosrow.train.run_identity import IDENTITY, STAGE, stages_of
from bosrow.train.schedule import Schedule, Stage
from bosrow.train.trackers import require_packages
from bosrow.train.train_options import TrainOptions

SHAPE = ("vocab_size", "n_embd", "n_head", "n_layer")


class Setup:
    """What a run will be, from its options and data. Raises UserError for what cannot be trained."""

    def __init__(self, options: TrainOptions, world: World) -> None:
        require_packages(options)
        self.options = options
        self.world = world
        self.data = Mixture(options.data_dir, seq_len=options.seq_len)
        self.val_rows = self.data.val_rows() if options.eval_every else None
        self.fingerprint = self.data.fingerprint
        self.config = self._model_config()
        self.plan = plan_batch(
            total_batch_tokens=options.total_batch_tokens,
            micro_batch_size=options.micro_batch_size,
            seq_len=options.seq_len,
            world_size=world.size,
        )
        self.dtype = choose_dtype(options.dtype, world.device)
        self.run_dir = run_dir_of(options, self.config, self.fingerprint)
        self.earlier_stages = self._earlier_stages()
        own = Stage(**{name: getattr(options, name) for name in STAGE})
        self.schedule = Schedule((*self.earlier_stages, own))

    def _model_config(self) -> ModelConfig:
        """The shape asked for, or that of --init_from. Raises OptionError if it does not fit the data."""
        options = self.options
        if options.init_from is not None:
            config = read_config(options.init_from)
            self._require_no_other_shape(config)
        else:
            config = ModelConfig(
                vocab_size=options.vocab_size or self.data.manifest.vocab_size,
                seq_len=options.seq_len,
                n_embd=options.n_embd,
                n_head=options.n_head,
                n_layer=options.n_layer,
                bos_token_id=self.data.manifest.bos_token_id,
            )
        needed = self.data.manifest.vocab_size
        if config.vocab_size < needed:
            raise OptionError(
                f"the model has a vocabulary of {config.vocab_size}, but {', '.join(options.data_dir)} was made with "
                f"one of {needed}; use {'another model' if options.init_from else f'--vocab_size {needed}'}"
            )
        if config.seq_len < options.seq_len:
            raise OptionError(f"{options.init_from} has {config.seq_len} positions, but --seq_len is {options.seq_len}")
        return config

    def _earlier_stages(self) -> tuple[Stage, ...]:
        """With --extend, the stages of the run in the folder before the one that the options ask for."""
        if not self.options.extend:
            return ()
        recorded = RunFolder(self.run_dir).recorded_identity()
        if self.options.run_dir is None or recorded is None:
            raise OptionError(f"--extend: {self.run_dir} holds no run; name the folder of a finished one by --run_dir")
        stages = stages_of(recorded)
        return stages if self.options.max_train_steps > stages[-1].max_train_steps else stages[:-1]

    def _require_no_other_shape(self, config: ModelConfig) -> None:
        """Raise OptionError if a flag asks for another shape than that of --init_from."""
        for field in dataclasses.fields(self.options):
            asked = getattr(self.options, field.name)
            if field.name in SHAPE and asked not in (field.default, getattr(config, field.name)):
                raise OptionError(
                    f"--{field.name} is {asked}, but the model of --init_from {self.options.init_from} "
                    f"has {getattr(config, field.name)}; leave the flag out"
                )

    @functools.cached_property  # computed once: the folder of --init_from may be removed during the run
    def identity(self) -> dict[str, Any]:
        """What a run must have in common with a checkpoint to go on from it."""
        start = self.options.init_from
        return {
            "data": self.fingerprint,
            **{f"model.{name}": value for name, value in dataclasses.asdict(self.config).items()},
            **{name: getattr(self.options, name) for name in IDENTITY},
            "init_from": weights_sha256(start) if start else None,
            **({"earlier_stages": [*map(dataclasses.asdict, self.earlier_stages)]} if self.earlier_stages else {}),
        }

    def described(self, plan: BatchPlan) -> dict[str, Any]:
        """The contents of config.json: the options, and all that was derived from them."""
        named = self.options.data_dir
        return {
            "options": dataclasses.asdict(self.options) | {"data_dir": named[0] if len(named) == 1 else named},
            "model": dataclasses.asdict(self.config) | {"parameters": self.config.parameters},
            "identity": self.identity,
            "schedule": str(self.schedule),
            "batch": dataclasses.asdict(plan) | {"tokens_per_step": plan.tokens_per_step},
            "data": {
                "fingerprint": self.fingerprint,
                "policy": self.data.manifest.policy,
                "train_rows": len(self.data.rows),
                "val_rows": sum(part.manifest.rows_of("val") for part in self.data.parts),
                "data_sets": [
                    {
                        "data_dir": str(part.data_dir),
                        "fingerprint": part.manifest.fingerprint,
                        "policy": part.manifest.policy,
                        "train_rows": len(part),
                        "share": share / sum(self.data.shares),
                    }
                    for part, share in zip(self.data.parts, self.data.shares, strict=True)
                ],
            },
            "device": str(self.world.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "versions": {"bosrow": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        }
