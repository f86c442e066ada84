"""Reads a file on the Hub by HTTP ranges: only the bytes that are asked for."""

import io
from typing import Any, BinaryIO

from bosrow.errors import BosrowError, MachineError
from bosrow.hub.errors import passing_wait_of_file, reason, refusal
from bosrow.hub.retries import retrying

READ_AHEAD_BYTES = 8 << 20
KEPT_RANGES = 2  # the bytes of a Parquet column are read twice, and there are two columns: text and id


def open_file(dataset: str, revision: str, path: str, size: int | None = None) -> BinaryIO:
    """Open one file for reading, seekable. With `size` in bytes (from HubFile), one request less is needed.

    Parquet files are not buffered: each read is one request for exactly those bytes, since pyarrow asks for whole
    column chunks. Other files are read ahead by 8 MiB.
    Raises SourceError if the Hub refuses the file, MachineError if it cannot be read after several tries.
    """
    file = _RangeFile(dataset, revision, path, size)
    if path.endswith((".parquet", ".geoparquet", ".gpq")):
        return file  # type: ignore[return-value]
    return io.BufferedReader(file, READ_AHEAD_BYTES)


class _RangeFile(io.RawIOBase):
    """A file on the Hub, read by HTTP ranges."""

    def __init__(self, dataset: str, revision: str, path: str, size: int | None) -> None:
        from huggingface_hub import hf_hub_url

        self.dataset, self.revision = dataset, revision
        self.name = f"hf://datasets/{dataset}@{revision}/{path}"
        self.url = hf_hub_url(dataset, path, repo_type="dataset", revision=revision)
        self.position = 0
        self.latest: list[tuple[int, bytes]] = []  # the ranges read last: first byte, and bytes
        self.size = self._ask_size() if size is None else size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = max(0, start + offset)
        return self.position

    def read(self, size: int | None = -1) -> bytes:
        end = self.size if size is None or size < 0 else min(self.position + size, self.size)
        if end <= self.position:
            return b""
        data = self._remembered(self.position, end)
        if data is None:
            data = self._read_range(self.position, end)
            self.latest = [*self.latest, (self.position, data)][-KEPT_RANGES:]
        self.position = end
        return data

    def _remembered(self, start: int, end: int) -> bytes | None:
        """The bytes of a range that was just read, if kept: Parquet dictionaries are read before their columns."""
        for begin, data in self.latest:
            if begin <= start and end <= begin + len(data):
                return data[start - begin : end - begin]
        return None

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _read_range(self, start: int, end: int) -> bytes:
        from huggingface_hub.utils import httpx

        retry = retrying(f"reading {self.name}", passing_wait_of_file)
        try:
            return retry(self._request, start, end)
        except httpx.HTTPError as error:
            raise self._given_up(error, f", tried {retry.statistics['attempt_number']} times") from error

    def _request(self, start: int, end: int) -> bytes:
        """One request to the Hub's own address. It redirects to a signed address, which expires and so is not kept."""
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, httpx

        response = get_session().get(
            self.url,
            headers=build_hf_headers() | {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"},
            timeout=HF_HUB_DOWNLOAD_TIMEOUT,
        )
        hf_raise_for_status(response)
        if len(response.content) != end - start:
            raise httpx.RemoteProtocolError(f"{len(response.content)} bytes where {end - start} were asked for")
        return response.content

    def _ask_size(self) -> int:
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.utils import httpx

        try:
            size = get_hf_file_metadata(self.url, retry_on_errors=True).size
        except httpx.HTTPError as error:
            raise self._given_up(error, "") from error
        if size is None:
            raise MachineError(f"{self.name}: the Hub does not tell the file's size")
        return size

    def _given_up(self, error: Exception, tries: str) -> BosrowError:
        refused = refusal(error, self.dataset, self.revision)
        return refused or MachineError(
            f"{self.name} cannot be read ({reason(error)}{tries}); when the network is back, the same command goes on"
        )
