"""Small corpora in every format, and what a preparation of them left behind."""

import bz2
import csv
import gzip
import hashlib
import io
import itertools
import json
import lzma
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from forked import Forked

from bosrow.packing import table
from bosrow.prepare.command import prepare
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.tokenizers.gpt2 import END_OF_TEXT, load_tokenizer

WORDS = [
    "the",
    "water",
    "of",
    "history",
    "Ångström",
    "learning",
    "x=1",
    "cells",
    "\n\n",
    "therefore",
    "模型",
    "42",
    "😀",
]
POLICIES = tuple(table.POLICIES)


def documents(count: int, seed: int = 0, median_words: int = 25) -> list[str]:
    """Texts of web-like (log-normal) lengths; some are empty, some stand twice."""
    source = random.Random(seed)
    texts = []
    for _ in range(count):
        kind = source.random()
        if kind < 0.02:
            texts.append("")
        elif kind < 0.05 and texts:
            texts.append(source.choice(texts))
        else:
            texts.append(" ".join(source.choices(WORDS, k=1 + int(median_words * source.lognormvariate(0, 1.2)))))
    return texts


def write_corpus(folder: Path, kind: str, texts: list[str], files: int = 2) -> list[str]:
    """Write `texts` in the format `kind`, over several files; the flags of `bosrow prepare` that read them."""
    folder.mkdir(parents=True, exist_ok=True)
    share = -(-len(texts) // files)
    if kind == "text":
        for number, text in enumerate(texts):
            (folder / f"{number:05d}.txt").write_bytes(text.encode())
        return ["--data_files", str(folder / "*.txt")]
    for number in range(files):
        WRITERS[kind](folder / f"part_{number}", number * share, texts[number * share : (number + 1) * share])
    if kind == "lines":
        return ["--dataset", "text", "--data_files", str(folder / "part_*.txt")]
    field = ["--text_field", "txt"] if kind == "webdataset" else []
    return ["--data_files", str(folder / "part_*"), *field]


def _parquet(column: Any, row_group_size: int) -> Any:
    def write(path: Path, first: int, texts: list[str]) -> None:
        ids = [f"id-{first + number}" for number in range(len(texts))]
        table = pa.table({"id": ids, "text": column(texts), "more": list(range(len(texts)))})
        pq.write_table(table, path.with_suffix(".parquet"), row_group_size=row_group_size, compression="zstd")

    return write


def _json_lines(suffix: str, compress: Any) -> Any:
    def write(path: Path, first: int, texts: list[str]) -> None:
        lines = [json.dumps({"text": text, "id": f"id-{first + n}"}) + "\n" for n, text in enumerate(texts)]
        path.with_suffix(suffix).write_bytes(compress("".join(lines).encode()))

    return write


def _lines(path: Path, first: int, texts: list[str]) -> None:
    path.with_suffix(".txt").write_text("".join(text.replace("\n", " ") + "\n" for text in texts))


def _csv(path: Path, first: int, texts: list[str]) -> None:
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(text, f"id-{first + number}", number) for number, text in enumerate(texts)]
        csv.writer(file, lineterminator="\n").writerows([("text", "id", "more"), *rows])


def _tsv(path: Path, first: int, texts: list[str]) -> None:
    """As such files come, without quoting."""
    rows = [f"{text.replace(chr(10), ' ')}\tid-{first + number}\t{number}\n" for number, text in enumerate(texts)]
    path.with_suffix(".tsv").write_text("text\tid\tmore\n" + "".join(rows))


def _arrow(path: Path, first: int, texts: list[str]) -> None:
    table = pa.table({"text": texts, "id": [f"id-{first + number}" for number in range(len(texts))]})
    with pa.OSFile(str(path.with_suffix(".arrow")), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=20)


def _tar(path: Path, first: int, texts: list[str]) -> None:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for number, text in enumerate(texts):
            member = tarfile.TarInfo(f"{first + number:05}.txt")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


WRITERS = {
    "parquet": _parquet(pa.array, 40),
    "parquet-large-string": _parquet(lambda texts: pa.array(texts, pa.large_string()), 1000),
    "parquet-dictionary": _parquet(lambda texts: pa.array(texts).dictionary_encode(), 33),
    "jsonl": _json_lines(".jsonl", bytes),
    "jsonl.gz": _json_lines(".jsonl.gz", gzip.compress),
    "jsonl.zst": _json_lines(".jsonl.zst", zstandard.ZstdCompressor().compress),
    "jsonl.bz2": _json_lines(".jsonl.bz2", bz2.compress),
    "jsonl.xz": _json_lines(".jsonl.xz", lzma.compress),
    "lines": _lines,
    "csv": _csv,
    "tsv": _tsv,
    "arrow": _arrow,
    "webdataset": _tar,
}
KINDS = (*WRITERS, "text")
HANDED_ON = ("csv", "tsv", "arrow", "webdataset")  # whose texts travel with the units
ITERATED = ("arrow", "webdataset")


def prepared(out_dir: Path, **options: Any) -> dict[str, bytes]:
    """Prepare in this process; what it left that must be the same in every run."""
    options = {"seq_len": 32, "shard_rows": 50, "buffer_docs": 20, "workers": 0, "text_field": "text"} | options
    prepare(PrepareOptions(out_dir=out_dir, **options))
    return contents(out_dir)


def contents(out_dir: Path) -> dict[str, bytes]:
    """Every byte of a complete data set that does not speak of time, place or engine."""
    files = {
        str(path.relative_to(out_dir)): path.read_bytes()
        for path in sorted(out_dir.rglob("*"))
        if path.is_file() and path.name not in (".lock", "meta.json")
    }
    meta = json.loads((out_dir / "meta.json").read_bytes())
    for name in ("created_utc", "elapsed_seconds", "throughput_tokens_per_sec", "data_files", "batch_docs"):
        del meta[name]
    del (
        meta["bosrow"]["meta_sha256"],
        meta["bosrow"]["tokenizer"]["engine"],
        meta["bosrow"]["tokenizer"]["engine_version"],
    )
    return files | {"meta.json": json.dumps(meta, sort_keys=True).encode()}


def digest(files: dict[str, bytes]) -> str:
    """A short name for contents, for messages."""
    return hashlib.sha256(b"".join(name.encode() + data for name, data in files.items())).hexdigest()[:12]


def bosrow(*arguments: str | Path, timeout: float = 120, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own: a forked one, unless `settings` of subprocess ask for another."""
    if settings:
        command = [sys.executable, "-m", "bosrow", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **settings)
    process = Forked(["-m", "bosrow", *arguments])
    said = process.communicate(timeout)
    return subprocess.CompletedProcess(arguments, process.wait(), *said)


BAD_LINES = ('{"text": null, "id": "gone"}', '{"text": 7}', "no JSON", "[]")
# The runner of crash_points.py forks, which the threads of `datasets` do not survive: test_iterated.py kills such runs.
SOURCES = (*(kind for kind in KINDS if kind not in ITERATED), "jsonl with bad rows", "tokens", "rows")


def write_source(folder: Path, kind: str, texts: list[str]) -> list[str]:
    """Like `write_corpus`, for every kind of source there is; ids are asked for where there are any."""
    if kind == "tokens":
        folder.mkdir(parents=True)
        ids = [np.append(load_tokenizer().encode(text), END_OF_TEXT) for text in texts]
        for number, half in enumerate(np.array_split(np.concatenate(ids).astype("<u2"), 2)):
            (folder / f"{number}.bin").write_bytes(half.tobytes())
        return ["--data_files", str(folder / "*.bin")]
    if kind == "rows":
        (pattern,) = write_corpus(folder / "texts", "jsonl", texts)[1:]
        prepared(folder / "store", data_files=(pattern,), policy="keep", val_fraction=0.2, id_field="id")
        return ["--from", str(folder / "store")]
    if kind == "jsonl with bad rows":
        flags = write_corpus(folder, "jsonl", texts)
        for path in folder.iterdir():
            lines = path.read_text().splitlines()
            for number, line in zip(range(3, len(lines), 9), itertools.cycle(BAD_LINES), strict=False):
                lines[number] = line
            path.write_text("\n".join(lines))
        return [*flags, "--on_bad_row", "skip"]
    flags = write_corpus(folder, kind, texts)
    return [*flags, "--id_field", "id"] if kind.startswith(("parquet", "jsonl", "csv", "tsv", "arrow")) else flags
