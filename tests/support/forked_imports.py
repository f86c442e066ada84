"""What the server of `forked` imports, and no more than that: nothing may run in it before a fork."""

import datasets.load  # noqa: F401
import matplotlib.figure  # noqa: F401
import torch
import torch._dynamo  # which the first optimizer would import, and takes longest

import bosrow.cli
import bosrow.evals.command
import bosrow.train.command
import bosrow.train.loop  # noqa: F401
from bosrow.prepare import command  # noqa: F401

torch.set_num_threads(1)
