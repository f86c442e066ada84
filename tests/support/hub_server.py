"""A small Hugging Face Hub on loopback: what the real clients ask for when they resolve and read a data set.

Serves data set info, tree, paths-info and resolve (HEAD, GET, ranges); large-file formats answer with a
redirect to a signed address on another origin, as the Hub does. Every request is recorded, bytes of file
contents are counted by file, and `hub.fault` may answer any request with a `Fault` instead. Standard
library only.
"""

import hashlib
import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

TOKEN = "hf_loopbacktokenthatmustneverbeprinted"
LARGE_FILES = (".parquet", ".gz", ".zst")
PAGE_ENTRIES = 1000

INFO = re.compile(r"/api/(?:datasets|models)/(?P<dataset>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?")
LISTING = re.compile(
    r"/api/(?:datasets|models)/(?P<dataset>[^/]+/[^/]+)/(?P<kind>tree|paths-info)/(?P<revision>[^/]+)(/(?P<path>.*))?"
)
RESOLVE = re.compile(r"(?:/datasets)?/(?P<dataset>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
STORAGE = re.compile(r"/storage/(?P<sha256>[0-9a-f]{64})/(?P<path>.+)")


@dataclass(frozen=True)
class Request:
    """One request as `hub.fault` and `hub.requests` see it; `number` counts from 0 since the last `reset`."""

    number: int
    method: str
    kind: str  # info, tree, paths-info, resolve, storage, other
    path: str  # inside the repository where the address has one, else the address
    range: str | None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong. A `status` of None with `reset` drops the connection before any answer."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0  # wait before the answer; alone, it is a stall and then the true answer
    reset: bool = False
    body_bytes: int | None = None  # send the true answer's headers, but only so much of its body


@dataclass
class Repository:
    """A data set on the server: commits (a commit is path -> bytes), and the names that point to them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False


class Hub:
    """The server; `url` is what HF_ENDPOINT has to be. Use as `hub.add("owner/name", {"a.parquet": b"..."})`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.bytes_served: Counter[str] = Counter()
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self.lock = threading.Lock()
        handler = type("BoundHandler", (_Handler,), {"hub": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.storage_url = f"http://localhost:{self.port}"  # another origin, so that clients must drop their token
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def add(self, dataset: str, files: dict[str, bytes], *, gated: bool = False, private: bool = False) -> str:
        """Commit `files` as the new head of `dataset`; returns the commit's 40 hexadecimal digits."""
        repository = self.repositories.setdefault(dataset, Repository())
        repository.gated, repository.private = gated, private
        digest = hashlib.sha1(dataset.encode())
        for path, content in sorted(files.items()):
            digest.update(path.encode() + b"\0" + hashlib.sha1(content).digest())
        commit = digest.hexdigest()
        repository.commits[commit] = dict(files)
        repository.refs["main"] = commit
        return commit

    def add_folder(self, dataset: str, folder: Path) -> str:
        """Commit every file below `folder`."""
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.add(dataset, files)

    def reset(self) -> None:
        """Forget data sets, requests, counts and faults."""
        self.repositories.clear()
        self.requests.clear()
        self.bytes_served.clear()
        self.fault = lambda request: None

    def record(self, method: str, kind: str, path: str, requested: str | None) -> Fault | None:
        """Note a request and ask `fault` about it."""
        with self.lock:
            request = Request(len(self.requests), method, kind, path, requested)
            self.requests.append(request)
        return None if kind == "other" else self.fault(request)  # the client asks a thing of its own once a process

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, as in tests of stalls, is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes; without this each answer waits 40 ms

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests look at `hub.requests` instead."""

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        kind, parts = _parse(address.path)
        self.fault = self.hub.record(self.command, kind, parts.get("path", address.path), self.headers.get("Range"))
        if self.fault:
            time.sleep(self.fault.delay_seconds)
            if self.fault.reset:
                return self._drop()
            if self.fault.status:
                return self._answer(self.fault.status, b"", self.fault.headers)
        if kind == "storage":
            return self._storage(parts["sha256"], parts["path"])
        return self._repository(kind, parts)

    def _repository(self, kind: str, parts: dict[str, str]) -> None:
        repository = self.hub.repositories.get(parts.get("dataset", ""))
        authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if "Authorization" in self.headers and not authorized:
            return self._refuse(401, None, "Invalid credentials in Authorization header")
        if repository is None or (repository.private and not authorized):
            return self._refuse(404 if authorized else 401, "RepoNotFound", "Repository not found")
        revision = parts.get("revision", "main")
        commit = revision if revision in repository.commits else repository.refs.get(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        if kind == "info":
            return self._json(self._info(parts["dataset"], repository, commit))
        if kind == "tree":
            return self._tree(files, parts.get("path", ""))
        if kind == "paths-info":
            wanted = parse_qs(self.body.decode())["paths"]
            return self._json([_entry(path, files[path]) for path in wanted if path in files])
        if repository.gated and not authorized:
            return self._refuse(401, "GatedRepo", "Access to this data set is restricted. Please log in.")
        return self._resolve(commit, files, parts["path"])

    def _info(self, dataset: str, repository: Repository, commit: str) -> dict:
        siblings = [{"rfilename": path} for path in sorted(repository.commits[commit])]
        gated = "auto" if repository.gated else False
        return {"id": dataset, "sha": commit, "private": repository.private, "gated": gated, "siblings": siblings}

    def _tree(self, files: dict[str, bytes], folder: str) -> None:
        prefix = folder + "/" if folder else ""
        below = [path for path in files if path.startswith(prefix)]
        if not below and folder:
            return self._refuse(404, "EntryNotFound", f"{folder} does not exist")
        entries = {}
        for path in sorted(below):
            parents = path.removeprefix(prefix).split("/")[:-1]
            for depth in range(len(parents)):
                name = prefix + "/".join(parents[: depth + 1])
                entries[name] = {
                    "type": "directory",
                    "path": name,
                    "size": 0,
                    "oid": hashlib.sha1(name.encode()).hexdigest(),
                }
            entries[path] = _entry(path, files[path])
        if self.query.get("recursive", "false").lower() != "true":
            entries = {name: entry for name, entry in entries.items() if "/" not in name.removeprefix(prefix)}
        start = int(self.query.get("cursor", 0))
        page = list(entries.values())[start : start + PAGE_ENTRIES]
        headers = {}
        if start + PAGE_ENTRIES < len(entries):
            query = f"recursive={self.query.get('recursive', 'false')}&cursor={start + PAGE_ENTRIES}"
            headers["Link"] = f'<{self.hub.url}{urlsplit(self.path).path}?{query}>; rel="next"'
        return self._json(page, headers)

    def _resolve(self, commit: str, files: dict[str, bytes], path: str) -> None:
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if path not in files:
            return self._refuse(404, "EntryNotFound", "Entry not found", headers)
        content = files[path]
        if not path.endswith(LARGE_FILES):
            return self._content(path, content, headers | {"ETag": f'"{_git_blob_id(content)}"'})
        sha256 = hashlib.sha256(content).hexdigest()
        headers |= {
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": f'"{sha256}"',
            "ETag": f'"{_git_blob_id(content)}"',
        }
        location = f"{self.hub.storage_url}/storage/{sha256}/{quote(path)}?Signature=secret"
        return self._answer(302, b"", headers | {"Location": location})

    def _storage(self, sha256: str, path: str) -> None:
        assert "Authorization" not in self.headers, "a client sent its token to the storage's origin"
        for repository in self.hub.repositories.values():
            for files in repository.commits.values():
                if path in files and hashlib.sha256(files[path]).hexdigest() == sha256:
                    return self._content(path, files[path], {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})
        return self._answer(404, b"", {})

    def _content(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        status = 200
        if requested := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first = int(requested[1])
            last = min(int(requested[2] or len(content) - 1), len(content) - 1)
            if first >= len(content):
                return self._answer(416, b"", headers | {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[first : last + 1], 206
        if self.command != "HEAD":
            with self.hub.lock:
                self.hub.bytes_served[path] += len(content)
        return self._answer(status, content, headers)

    def _refuse(self, status: int, code: str | None, message: str, headers: dict[str, str] | None = None) -> None:
        codes = {"X-Error-Code": code} if code else {}
        self._answer(status, b"", {"X-Error-Message": message, **codes, **(headers or {})})

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        short = self.fault.body_bytes if self.fault else None
        self.wfile.write(body[:short])
        if short is not None and short < len(body):
            self.wfile.flush()
            self.close_connection = True

    def _drop(self) -> None:
        """Close with RST, as a crashed server or a firewall does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def _parse(path: str) -> tuple[str, dict[str, str]]:
    """An address's kind and its parts."""
    for kind, pattern in (("storage", STORAGE), ("resolve", RESOLVE), ("listing", LISTING), ("info", INFO)):
        if match := pattern.fullmatch(path):
            parts = {name: unquote(value) for name, value in match.groupdict().items() if value}
            return parts.get("kind", kind), parts
    return "other", {}


def _entry(path: str, content: bytes) -> dict:
    entry: dict = {"type": "file", "path": path, "size": len(content), "oid": _git_blob_id(content)}
    if path.endswith(LARGE_FILES):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


def _git_blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
