"""Reads the bytes of a file, compressed or not, for the readers of lines and of CSV."""

from typing import BinaryIO

from bosrow.errors import BadRowError
from bosrow.sources.compression import Unpacked
from bosrow.sources.unit import UNIT_BYTES, damage

UTF8_BOM = b"\xef\xbb\xbf"


def skip_bytes(stream: BinaryIO | Unpacked, name: str, length: int) -> None:
    """Skip `length` bytes. Raises BadRowError if the stream has fewer."""
    while length:
        skipped = len(read_bytes(stream, name, min(length, UNIT_BYTES)))
        if not skipped:
            raise BadRowError(f"{name} became shorter while it was read")
        length -= skipped


def read_bytes(stream: BinaryIO | Unpacked, name: str, size: int) -> bytes:
    """Up to `size` bytes (-1: all). Raises BadRowError if the file is damaged, MachineError for any other fault."""
    try:
        return stream.read(size)
    except OSError as error:
        raise damage(f"{name} cannot be read to its end", error) from None
