"""Compressed text files: recognized by their names and first bytes, and decompressed while they are read.

gzip, bzip2, xz and zstd are read, including several streams in one file, zero bytes after a stream, and zstd's largest
window (`zstd --long=31`). Other compressions and archives are refused, with a message that names them. So is a
compressed file whose name does not say that it is compressed.

Promise: no byte is returned that `gzip -dc` and its like would not give. A stream that was cut short gives all of its
bytes before it raises. A damaged stream raises at once: bytes before the place where damage shows may be wrong too.
Cost: memory for the window that the file was compressed with (at most 2 GiB for zstd, 64 MB for the others at their
usual settings), and at most 67 MB for the output of one decompression call.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, BinaryIO, NamedTuple

import zstandard

from bosrow.errors import BadRowError, MachineError

UNPACKED_BYTES = 1 << 20  # that bz2 and lzma return at once
ZSTD_WINDOW_BYTES = 1 << 31  # the largest there is on any machine


class Decoder(NamedTuple):
    """How one kind is decompressed: `make` gives a decoder for one stream, which takes `feed_bytes` at once.

    64 kB of deflate decompress to at most 67 MB, and so do 2 kB of zstd.
    """

    make: Callable[[], Any]
    feed_bytes: int


DECODERS = {
    "gzip": Decoder(lambda: zlib.decompressobj(wbits=31), 1 << 16),
    "bzip2": Decoder(bz2.BZ2Decompressor, 1 << 16),
    "xz": Decoder(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), 1 << 16),
    "zstd": Decoder(lambda: zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj(), 1 << 11),
}
DAMAGE = (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError, EOFError, ValueError)  # bz2 raises OSError

COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
UNREAD = {".lz4": "LZ4", ".zip": "zip", ".7z": "7-Zip"}  # known, so that x.jsonl.lz4 counts as lines of JSON
FIRST_BYTES = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "LZ4",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
    b"LZIP": "lzip",
    b"\x1f\x9d": "compress",
} | {b"BZh%d" % level + magic: "bzip2" for level in range(1, 10) for magic in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")}


def compression_of(name: str) -> str | None:
    """The compression that a file's name stands for; None if it is not one that is read."""
    return COMPRESSIONS.get(PurePath(name).suffix.lower())


def without_compression(name: str) -> str:
    """A name without its last ending if that stands for a compression: x.jsonl for x.jsonl.gz."""
    suffix = PurePath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in COMPRESSIONS | UNREAD else name


def recognized(data: bytes) -> str | None:
    """The kind of compression or archive that a file begins with, by its first bytes `data`; None if it is neither."""
    if data[257:262] == b"ustar":
        return "tar"
    return next((kind for first, kind in FIRST_BYTES.items() if data.startswith(first)), None)


def check_plain(name: str, data: bytes) -> None:
    """Raise BadRowError if a file is still compressed after what its name says; `data` is how it then begins."""
    kind = recognized(data)
    if kind is None:
        return
    outer = compression_of(name)
    what = f"{name} is in {kind} format" + (f" inside its {outer} compression" if outer else "")
    ending = next((ending for ending, known in COMPRESSIONS.items() if known == kind), None)
    if ending is not None and outer is None:
        raise BadRowError(f"{what}, but its name does not say so; rename it to end in {ending}")
    raise BadRowError(f"{what}; decompress it, or compress the text once with gzip, bzip2, xz or zstd")


def unpacked(stream: BinaryIO, name: str) -> "BinaryIO | Unpacked":
    """The text in an open file, decompressed if its name says that it is compressed."""
    kind = compression_of(name)
    return Unpacked(stream, name, kind) if kind else stream


class Unpacked:
    """A compressed stream as a stream of its text."""

    def __init__(self, packed: BinaryIO, name: str, kind: str) -> None:
        self._packed, self._name, self._kind = packed, name, kind
        self._chunks = self._unpack()
        self._chunk = b""  # decompressed and not yet read
        self._fault: str | None = None  # why there is no more, if the stream did not end as it should

    def read(self, size: int = -1) -> bytes:
        """`size` bytes (-1: all); fewer only at the end.

        Raises BadRowError if the stream is damaged. If it was cut short, the call after its last bytes raises.
        """
        parts, length = [], 0
        while size < 0 or length < size:
            self._chunk = self._chunk or next(self._chunks, b"")
            if not self._chunk:
                break
            parts.append(self._chunk if size < 0 else self._chunk[: size - length])
            length += len(parts[-1])
            self._chunk = self._chunk[len(parts[-1]) :]
        if self._fault and (size < 0 or not parts):
            raise BadRowError(self._fault)
        return b"".join(parts)

    def _unpack(self) -> Iterator[bytes]:
        decoder, whole, given = None, 0, False  # whole: complete streams so far; given: whether this one gave bytes
        while data := self._packed.read(DECODERS[self._kind].feed_bytes):
            while data:
                if decoder is None:
                    data = data.lstrip(b"\0") if whole else data  # zeros that tapes and block devices add
                    if not data:
                        break
                    decoder, given = DECODERS[self._kind].make(), False
                try:
                    for chunk in _stretches(decoder, data):
                        if chunk:
                            given = True
                            yield chunk
                except DAMAGE as error:
                    self._tell(error, data, whole, given)
                    return
                data = b""
                if decoder.eof:
                    data, decoder, whole = decoder.unused_data, None, whole + 1
        if decoder is not None:
            self._fault = f"{self._name} was cut short: its {self._kind} stream does not end"

    def _tell(self, error: Exception, data: bytes, whole: int, given: bool) -> None:
        if "Allocation error" in str(error):
            raise MachineError(
                f"{self._name} cannot be decompressed: there is no memory for its window, which may take 2 GiB "
                "(zstd --long); compress it with a smaller window, or use a machine with more memory"
            ) from error
        if whole and not given:
            self._fault = f"{self._name} has other bytes after its {self._kind} stream ({error})"
            return
        found = None if whole or given else recognized(data)
        what = f"is in {found} format, not" if found not in (None, self._kind) else "is damaged or not"
        raise BadRowError(f"{self._name} {what} {self._kind} ({error})") from error


def _stretches(decoder: Any, data: bytes) -> Iterator[bytes]:
    """What `data` decompresses to, in parts if the decoder can stop."""
    if not isinstance(decoder, bz2.BZ2Decompressor | lzma.LZMADecompressor):
        yield decoder.decompress(data)
        return
    yield decoder.decompress(data, UNPACKED_BYTES)
    while not (decoder.needs_input or decoder.eof):
        yield decoder.decompress(b"", UNPACKED_BYTES)
