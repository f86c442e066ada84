"""`bosrow train` with one fault on one rank, for torchrun: python faulty_rank.py train ... with FAULT set.

FAULT is "nan:RANK:FROM:COUNT" (the loss of these steps is not a number on that rank), or "die:RANK:STEP:FILE"
(the rank is killed in that step, once: FILE remembers it), or "stop:RANK:CALL" (SIGTERM comes to that rank alone, in
the forward pass of that number), or "slow:RANK:FROM" (each step from this one on takes half a second, so that a test
has the time to send a signal).
"""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

from bosrow.cli import main
from bosrow.model.gpt2 import GPT2, Transformer
from bosrow.train import loop

kind, rank, *rest = os.environ["FAULT"].split(":")
steps = 0
passes = itertools.count(1)
step, forward, states = loop.optimizer_step, GPT2.forward, Transformer.states


def counted_step(*arguments, **named):
    """A step that knows its number, and may be slow, or the rank's last."""
    global steps
    steps += 1
    if kind == "die" and steps == int(rest[0]) and not Path(rest[1]).exists():
        Path(rest[1]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "slow" and steps >= int(rest[0]):
        time.sleep(0.5)
    return step(*arguments, **named)


def spoiled_forward(*arguments, **named):
    """A loss that is not a number, where FAULT says so."""
    loss = forward(*arguments, **named)
    return loss * float("nan") if kind == "nan" and int(rest[0]) <= steps < int(rest[0]) + int(rest[1]) else loss


def stopped_states(*arguments, **named):
    """A forward pass in which a signal may come."""
    if kind == "stop" and next(passes) == int(rest[0]):
        signal.raise_signal(signal.SIGTERM)
    return states(*arguments, **named)


if __name__ == "__main__":
    if os.environ.get("RANK", "0") == rank:
        loop.optimizer_step = counted_step
        GPT2.forward = spoiled_forward
        Transformer.states = stopped_states
    sys.exit(main(sys.argv[1:]))
