"""A tiny experiment: a few hundred short documents, a vocabulary of 400, a model of one layer."""

from pathlib import Path
from typing import Any

from corpora import documents, write_corpus
from vocabularies import write_tokenizer

TRAIN = {
    "seq_len": 32,
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 16,
    "micro_batch_size": 8,
    "total_batch_tokens": 256,
    "max_train_steps": 6,
    "warmup_iters": 2,
    "learning_rate": 1e-2,
    "eval_every": 6,
    "heldout_every": 6,
    "save_every": 2,
    "sample_every": 0,
    "exposure_every": 0,
    "device": "cpu",
}


def tables(corpus: Path, out_dir: Path) -> dict[str, dict[str, Any]]:
    """The experiment's tables ("" is the top), of which a test changes what it is about."""
    return {
        "": {"out_dir": str(out_dir), "seeds": [1, 2, 3]},
        "data": {
            "data_files": [str(corpus / "part_*")],
            "tokenizer": str(corpus / "tokenizer.json"),
            "val_fraction": 0.1,
            "workers": 0,
        },
        "train": dict(TRAIN),
        "evaluation": {},
    }


def write_corpus_and_tokenizer(folder: Path) -> Path:
    """What `tables` reads; returns `folder`."""
    write_corpus(folder, "jsonl", documents(400))
    write_tokenizer(folder)
    return folder


def write_experiment(path: Path, content: dict[str, dict[str, Any]]) -> Path:
    """Write the tables as TOML."""
    lines: list[str] = []
    for name, table in content.items():
        lines += [f"[{name}]"] if name else []
        lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else str(value)
