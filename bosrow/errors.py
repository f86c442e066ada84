"""The error tree. A message says what was found, what was required, and what to do next.

BosrowError            exit 1
├── UserError          exit 2   what the user asked for, or gave, cannot be used
│   ├── OptionError             a flag's value, or flags that exclude each other
│   ├── SourceError             a corpus that is not there, or cannot be read
│   ├── BadRowError             one row or file inside a corpus is unusable
│   └── DataSetError            a data set that is incomplete, damaged, or another one
├── MachineError       exit 1   the disk, the memory or a process failed
└── Interrupted        exit 75  stopped by a signal, after a checkpoint
"""


class BosrowError(Exception):
    """Anything bosrow says to a person instead of a traceback."""

    exit_status = 1


class UserError(BosrowError):
    """The user can mend this."""

    exit_status = 2


class OptionError(UserError):
    """A flag has a value that cannot be used, or flags exclude each other."""


class SourceError(UserError):
    """The corpus is not there, or not readable as asked."""


class BadRowError(SourceError):
    """A row (or a whole file) of the corpus is unusable; the message names file and row."""


class DataSetError(UserError):
    """A data directory is incomplete, damaged, of another version, or not the one expected."""


class MachineError(BosrowError):
    """Disk, memory or a process failed; the same command goes on later."""


class Interrupted(BosrowError):
    """A signal arrived; a checkpoint was written and the same command goes on."""

    exit_status = 75


def first_line(error: BaseException) -> str:
    """An error in at most 200 characters."""
    text = str(getattr(error, "strerror", None) or error)  # without the path, which differs from machine to machine
    return text.split("\n")[0][:200] or type(error).__name__
