"""Which rank of how many this process is.

Looked at in this order: explicit arguments, an initialised process group, torchrun's RANK and WORLD_SIZE, Slurm's
variables inside an srun step; without any of them it is one process. What contradicts an initialised process group is
refused: ranks with wrong numbers would silently read the same rows twice, or leave some out.
"""

import os

import torch.distributed as dist

from bosrow.errors import OptionError

SPECIAL_STEPS = 0xFFFFFFF0  # ids from here on are Slurm's own: the shell of sbatch or salloc, not a step of srun


def rank_and_size(
    rank: int | None = None, world_size: int | None = None, group: dist.ProcessGroup | None = None
) -> tuple[int, int]:
    """The rank of this process, from 0, and the number of ranks.

    `group` is the process group that counts; by default it is the one of all ranks. Raises OptionError for numbers that
    contradict it or each other.
    """
    joined = _in_group(group)
    if rank is not None and world_size is not None:
        given = _checked(rank, world_size, "rank", "world_size")
        if joined not in (None, given):
            raise OptionError(
                f"rank {given[0]} of {given[1]} was asked for, but in the initialised process group this process is "
                f"rank {joined[0]} of {joined[1]}; leave rank and world_size out, or give as `group` the one whose "
                "ranks share the rows"
            )
        return given
    if rank is not None or world_size is not None:
        raise OptionError("rank and world_size belong together; give both, or neither")
    if group is not None and joined is not None:
        return joined
    launched = _from_launcher()
    if joined is not None and launched not in (None, joined):
        raise OptionError(
            f"RANK={launched[0]} and WORLD_SIZE={launched[1]} in the environment contradict the initialised process "
            f"group, in which this process is rank {joined[0]} of {joined[1]}; unset them, or give rank and world_size"
        )
    return joined or launched or _from_slurm() or (0, 1)


def local_rank_and_size() -> tuple[int, int]:
    """The rank of this process among those that torchrun started on its machine, and their number; else (0, 1)."""
    rank, size = os.environ.get("LOCAL_RANK", "0"), os.environ.get("LOCAL_WORLD_SIZE")
    if size is None and rank.isdecimal():  # another launcher, which does not say how many there are
        return int(rank), 1
    return _checked(rank, size or "1", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def _in_group(group: dist.ProcessGroup | None) -> tuple[int, int] | None:
    if not dist.is_available() or not dist.is_initialized():
        return None
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    if rank < 0:
        raise OptionError("this process is not in the process group that was given; give the one it belongs to")
    return rank, size


def _from_launcher() -> tuple[int, int] | None:
    rank, size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None and size is None:
        return None
    if rank is None or size is None:
        there, lacking = ("RANK", "WORLD_SIZE") if size is None else ("WORLD_SIZE", "RANK")
        raise OptionError(
            f"{there} is set in the environment, but {lacking} is not; set both, as torchrun does, or none"
        )
    return _checked(rank, size, "RANK", "WORLD_SIZE")


def _from_slurm() -> tuple[int, int] | None:
    names = ("SLURM_STEP_ID", "SLURM_PROCID")
    size = os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS"))
    step, rank = map(os.environ.get, names)
    if size is None or step is None or rank is None or not step.isdigit() or int(step) >= SPECIAL_STEPS:
        return None
    found = _checked(rank, size, "SLURM_PROCID", "SLURM_NTASKS")
    return found if found[1] > 1 else None


def _checked(rank: int | str, size: int | str, rank_name: str, size_name: str) -> tuple[int, int]:
    try:
        numbers = [value if type(value) is int else int(str(value)) for value in (rank, size)]
    except ValueError:
        numbers = [-1, 0]
    if not 0 <= numbers[0] < numbers[1]:
        raise OptionError(
            f"{rank_name} is {rank!s} and {size_name} is {size!s}; whole numbers were required, "
            f"{rank_name} from 0 to {size_name} - 1"
        )
    return numbers[0], numbers[1]
