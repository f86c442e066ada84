"""lm-evaluation-harness on local files: `python harness.py MODEL_DIR TASK ITEMS.jsonl BATCH_SIZE OUT.json`.

For comparison. MODEL_DIR is what `bosrow export` wrote, model and tokenizer. Needs the extra `oracle`; no network. The
tasks are the harness's own definitions, with the field names of the shared files: HellaSwag's context is ready in
`query`, so its endings are taken as they are too.
"""

import json
import os
import sys
import time
from pathlib import Path

COMMON = {"dataset_path": "json", "output_type": "multiple_choice", "test_split": "test", "num_fewshot": 0}
METRIC_NAMES = {
    "hellaswag": ["acc", "acc_norm"],
    "arc_easy": ["acc", "acc_norm"],
    "blimp": ["acc"],
    "winogrande": ["acc"],
}


def task_config(task: str, items: Path) -> dict:
    """The harness's definition of `task` over a jsonl file."""
    fields = {
        "hellaswag": {"doc_to_text": "{{query}}", "doc_to_target": "{{label}}", "doc_to_choice": "endings"},
        "arc_easy": {"doc_to_text": "{{query}}\nAnswer:", "doc_to_target": "{{gold}}", "doc_to_choice": "choices"},
        "blimp": {"doc_to_text": "", "doc_to_target": 0, "doc_to_choice": "{{[sentence_good, sentence_bad]}}"},
        "winogrande": {
            "doc_to_text": lambda doc: doc["gold"],
            "doc_to_target": lambda doc: doc["continuation"],
            "doc_to_choice": lambda doc: doc["context_options"],
        },
    }[task]
    metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in METRIC_NAMES[task]]
    return {
        **COMMON,
        **fields,
        "task": f"local_{task}",
        "dataset_kwargs": {"data_files": {"test": str(items)}},
        "metric_list": metrics,
    }


def run(model_dir: str, task: str, items: Path, batch_size: int) -> dict:
    """Log-probabilities of each item's choices, the metrics by item, and the seconds after loading the model."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    class Timed(HFLM):
        """The seconds of encoding and scoring alone, without what the harness does around them."""

        seconds = 0.0

        def loglikelihood(self, *arguments, **more):
            began = time.perf_counter()
            answers = super().loglikelihood(*arguments, **more)
            self.seconds += time.perf_counter() - began
            return answers

    harness = Timed(pretrained=model_dir, dtype="float32", batch_size=batch_size, device="cpu")
    began = time.perf_counter()
    outcome = simple_evaluate(harness, tasks=[task_config(task, items)], bootstrap_iters=0)
    seconds = time.perf_counter() - began
    samples = sorted(outcome["samples"][f"local_{task}"], key=lambda sample: sample["doc_id"])
    return {
        "seconds": harness.seconds,
        "seconds_with_overhead": seconds,
        "logprobs": [[float(response[0][0]) for response in sample["resps"]] for sample in samples],
        **{name: [sample[name] for sample in samples] for name in METRIC_NAMES[task]},
    }


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    model_dir, task, items, batch_size, out = sys.argv[1:]
    Path(out).write_text(json.dumps(run(model_dir, task, Path(items), int(batch_size))))
