"""Where the ranks of one start of a run meet, apart from those of the starts before it.

torchrun keeps one key-value store over all its restarts, and torch (still in 2.13) writes the ranks' addresses into it
under the same names each time: ranks that are started again read the addresses of dead ones and hang
(https://github.com/pytorch/pytorch/issues/135712). TORCHELASTIC_RESTART_COUNT tells starts apart on one machine, but
each machine counts its own. So the main rank chooses a name for this start, and here the others learn it.

Promise: nothing that a dead rank left in the store is believed. Cost: one round trip a rank, at the start.
"""

import os
import secrets
from datetime import timedelta

import torch.distributed as dist

QUEUE = "bosrow/messages_to_main"


def store_of_this_start(rank: int, size: int, timeout: timedelta) -> dist.Store | None:
    """A part of torchrun's store that this start of the ranks has to itself; None where torchrun keeps no store."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=False, timeout=timeout)
    return dist.PrefixStore(agreed_name(store, rank, size), store)


def agreed_name(store: dist.Store, rank: int, size: int) -> str:
    """A new name that the main rank of this start has chosen, on each of its `size` ranks.

    Another rank asks under a key that nobody has used before, and confirms the answer. The main rank answers whoever
    asks, the dead too, until all the living have confirmed. Raises DistError if a rank does not come within the
    store's timeout.
    """
    if rank > 0:
        question = f"bosrow/question_{secrets.token_hex(16)}"
        store.queue_push(QUEUE, f"{question} asked")
        name = store.get(question).decode()
        store.queue_push(QUEUE, f"{name} {rank}")
        return name
    name = f"bosrow/start_{secrets.token_hex(16)}"
    confirmed: set[str] = set()
    while len(confirmed) < size - 1:
        subject, word = store.queue_pop(QUEUE).decode().split()
        if word == "asked":
            store.set(subject, name)
        elif subject == name:
            confirmed.add(word)
    return name
