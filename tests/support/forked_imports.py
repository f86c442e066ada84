"""What the server of `forked` imports: the parts of training. Nothing may run in it before a fork."""

import matplotlib.figure  # noqa: F401
import torch

import bosrow.cli
import bosrow.evals.command
import bosrow.train.command
import bosrow.train.loop  # noqa: F401

torch.set_num_threads(1)
