"""bosrow's scorer and lm-evaluation-harness side by side: the same model, items and threads, turn by turn.

    bosrow export CHECKPOINT --out_dir MODEL
    python benchmarks/bench_evals.py --model MODEL --data FOLDER [--items 300] [--repeats 3]

FOLDER holds hellaswag_val, blimp, arc_easy_test and winogrande_val as .jsonl.gz. Needs the extra `oracle`. Reports, for
each task, seconds (median and spread of the repeats) of encoding and scoring alone, without the harness's work around
them, and whether the answers are the same, item by item. The last line is one JSON object.
"""

import argparse
import contextlib
import functools
import gzip
import io
import json
import operator
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "oracles"))

import harness
import numpy as np
import torch

from bosrow.distributed.world import World
from bosrow.evals.benchmark import Benchmark, Outcome, best, evaluate
from bosrow.evals.catalogue import load_benchmark
from bosrow.evals.eval_options import EvalOptions
from bosrow.evals.scoring import TransformerModel
from bosrow.model.pretrained_tokenizer import tokenizer_of
from bosrow.tokenizers.tokenizer import Tokenizer
from bosrow.train import load_model

ALONE = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))
FILES = {"hellaswag": "hellaswag_val", "blimp": "blimp", "arc_easy": "arc_easy_test", "winogrande": "winogrande_val"}


def bosrow_run(
    model: TransformerModel, tokenizer: Tokenizer, task: str, items: Path, batch_size: int
) -> tuple[float, Benchmark, Outcome]:
    """Seconds of encoding and scoring, what was run, and the outcome."""
    options = EvalOptions(checkpoints=(), tasks=task, hellaswag_rule="harness", **{f"{task}_data": items})
    benchmark, loaded = load_benchmark(task, options)
    began = time.perf_counter()
    outcome = evaluate(model, tokenizer, benchmark, loaded, bos=benchmark.bos, world=ALONE, batch_size=batch_size)
    return time.perf_counter() - began, benchmark, outcome


def write_items(source: Path, items: Path, count: int) -> None:
    """About `count` lines of `source` (0: all), evenly spaced; `datasets` requires the same fields in all of them."""
    with gzip.open(source, "rt") as file:
        records = [json.loads(line) for line in file]
    names = functools.reduce(operator.and_, (record.keys() for record in records))
    chosen = records[:: max(1, len(records) // count) if count else 1]
    items.write_text("".join(json.dumps({name: record[name] for name in names}) + "\n" for record in chosen))


def compare(benchmark: Benchmark, outcome: Outcome, theirs: dict) -> dict:
    """Share of items with the same answer, the largest difference of a log-probability, and all items that differ."""
    answers = [
        {
            "item": item.number,
            "bosrow": [best(score.logprobs), benchmark.summarize([item], [score]).get("accuracy_norm")],
            "harness": [best(np.array(logprobs)), norm],
            "bosrow_logprobs": score.logprobs.tolist(),
            "harness_logprobs": logprobs,
        }
        for item, score, logprobs, norm in zip(
            outcome.items,
            outcome.scores,
            theirs["logprobs"],
            theirs.get("acc_norm", [None] * len(outcome.items)),
            strict=True,
        )
    ]
    differing = [answer for answer in answers if answer["bosrow"] != answer["harness"]]
    differences = [np.subtract(answer["bosrow_logprobs"], answer["harness_logprobs"]) for answer in answers]
    return {
        "items": len(answers),
        "same_answers": 1 - len(differing) / len(answers),
        "largest_difference": max(float(np.abs(difference).max()) for difference in differences),
        "differing": differing,
    }


def main() -> None:
    """Run all tasks and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a folder that 'bosrow export' wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder with the jsonl.gz files")
    parser.add_argument("--tasks", default=",".join(FILES))
    parser.add_argument("--items", type=int, default=0, help="items of each task, evenly spaced; 0: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--harness_batch_size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network, config = load_model(options.model)
    tokenizer = tokenizer_of(Path(options.model), config, None)
    report: dict = {"benchmark": "evals", "model": options.model, "parameters": config.parameters, "tasks": {}}
    print(f"{'task':<12}{'items':>8}{'bosrow s':>20}{'harness s':>20}{'ratio':>8}{'same':>9}{'largest diff':>14}")
    for task in options.tasks.split(","):
        with tempfile.TemporaryDirectory() as place:
            items = Path(place) / f"{task}.jsonl"
            write_items(options.data / f"{FILES[task]}.jsonl.gz", items, options.items)
            ours, theirs = [], []
            for _ in range(options.repeats):
                seconds, benchmark, outcome = bosrow_run(
                    TransformerModel(network), tokenizer, task, items, options.batch_size
                )
                ours.append(seconds)
                with contextlib.redirect_stderr(io.StringIO()):
                    found = harness.run(options.model, task, items, options.harness_batch_size)
                theirs.append(found["seconds"])
        result = compare(benchmark, outcome, found)
        result |= {"bosrow_seconds": ours, "harness_seconds": theirs}
        result["ratio"] = statistics.median(theirs) / statistics.median(ours)
        report["tasks"][task] = result
        shown = [f"{statistics.median(s):.2f} ({min(s):.2f}-{max(s):.2f})" for s in (ours, theirs)]
        print(
            f"{task:<12}{result['items']:>8,}{shown[0]:>20}{shown[1]:>20}{result['ratio']:>8.1f}"
            f"{result['same_answers']:>9.3%}{result['largest_difference']:>14.1e}",
            flush=True,
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
