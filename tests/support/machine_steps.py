"""Serves steps of preparations to a test, one JSON line each way; a program of its own, since it forks.

Asks: {"fault": "", "kill", "torn", "power" or "full", "point": n, "arguments": [...], "folder": ...}; answers: the
status, what was said, and, of a complete data set, a digest of its bytes.
"""

import importlib
import json
import sys
from pathlib import Path

from corpora import contents, digest
from crash_points import run

from bosrow.tokenizers.gpt2 import load_tokenizer


def main() -> None:
    """See the module."""
    for place, value in json.loads(sys.stdin.readline()).items():
        module, name = place.rsplit(".", 1)
        setattr(importlib.import_module(module), name, value)
    load_tokenizer().encode("")  # which reads the vocabulary, here, once, instead of in each child
    for line in sys.stdin:
        step = json.loads(line)
        status, said, _ = run(step, step["fault"], step["point"])
        out_dir = Path(step["folder"]) / "out"
        complete = digest(contents(out_dir)) if (out_dir / "meta.json").exists() else None
        print(json.dumps({"status": status, "said": said, "complete": complete}), flush=True)


if __name__ == "__main__":
    main()
