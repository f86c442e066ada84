"""bosrow's training step beside the leanest plain GPT-2 loop and transformers' GPT-2: same shapes, turn by turn.

    python benchmarks/bench_train.py                      all shapes and precisions, compiled too, and 1 and 2 ranks
    python benchmarks/bench_train.py --shapes 16M --rounds 3

Each loop lives in a process of its own, so that its peak memory is its own; the processes are asked for a few steps in
turn, round after round, so that all see the same machine. Reports tokens a second (median, lowest and highest of the
rounds) and peak memory in MiB (beside it, what the process held before the model was made). Scaling is that of real
`bosrow train` runs with 1 thread a rank, from their scalars.jsonl. The last line is one JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from side_by_side import report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
HERE = Path(__file__)
VOCAB_SIZE = 50304
SHAPES = {  # layers, heads, width, T, B, steps a round
    "16M": (4, 4, 256, 256, 8, 2),
    "124M": (12, 12, 768, 256, 2, 1),
}
LOOPS = ("bosrow", "plain", "transformers")
ADAMW = {"lr": 3e-4, "betas": (0.9, 0.95), "weight_decay": 0.1, "fused": True}


def bosrow_loop(shape: str, dtype: str, compiled: bool) -> Callable[[], object]:
    """One step of bosrow's trainer, as bosrow.train.loop takes it."""
    import torch

    from bosrow.distributed.world import World
    from bosrow.model.gpt2 import GPT2, ModelConfig
    from bosrow.train.optimizer import make_optimizer, optimizer_step
    from bosrow.train.train_options import TrainOptions

    layers, heads, width, length, rows, _ = SHAPES[shape]
    config = ModelConfig(vocab_size=VOCAB_SIZE, seq_len=length, n_layer=layers, n_head=heads, n_embd=width)
    model = GPT2(config)
    optimizer = make_optimizer(model, TrainOptions(data_dir=Path("unused"), learning_rate=ADAMW["lr"]))
    if compiled:
        model.compile()
    world = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))

    def step() -> object:
        return optimizer_step(
            model, optimizer, torch.randint(VOCAB_SIZE, (2, rows, length)).unbind(), micro_batch_size=rows,
            learning_rate=ADAMW["lr"], grad_clip=1.0, dtype=getattr(torch, dtype), world=world, stop_asked=bool,
        )  # fmt: skip

    return step


def usual_step(model, loss_of: Callable[..., object], shape: str, dtype: str) -> Callable[[], object]:
    """Forward, backward, clipping, AdamW, and the loss for the log: what the other two loops do alike."""
    import torch

    *_, length, rows, _ = SHAPES[shape]
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)

    def step() -> float:
        x, y = torch.randint(VOCAB_SIZE, (2, rows, length))
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = loss_of(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def plain_loop(shape: str, dtype: str, compiled: bool) -> Callable[[], object]:
    """GPT-2 in as little torch as will do: nn.Linear, SDPA, tied head, F.cross_entropy over all logits."""
    import torch.nn.functional as F
    from torch import nn

    layers, heads, width, length, _, _ = SHAPES[shape]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = (part.view(B, T, heads, -1).transpose(1, 2) for part in self.qkv(self.norm_1(x)).split(C, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
            return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(VOCAB_SIZE, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, VOCAB_SIZE, bias=False)
            nn.init.normal_(self.tokens.weight, std=0.02)
            self.head.weight = self.tokens.weight

        def forward(self, x, y):
            hidden = self.norm(self.blocks(self.tokens(x) + self.places.weight))
            return F.cross_entropy(self.head(hidden).flatten(0, 1), y.flatten())

    model = Plain()
    if compiled:
        model.compile()
    return usual_step(model, model, shape, dtype)


def transformers_loop(shape: str, dtype: str, compiled: bool) -> Callable[[], object]:
    """transformers' GPT2LMHeadModel with torch's AdamW."""
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.loss.loss_utils import ForCausalLMLoss

    layers, heads, width, length, _, _ = SHAPES[shape]
    config = GPT2Config(
        vocab_size=VOCAB_SIZE, n_positions=length, n_embd=width, n_layer=layers, n_head=heads,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    model.loss_function = ForCausalLMLoss
    model.train()
    if compiled:
        model.compile()
    return usual_step(model, lambda x, y: model(input_ids=x, shift_labels=y, labels=y).loss, shape, dtype)


def child(loop: str, shape: str, dtype: str, compiled: bool, threads: int) -> None:
    """Steps on demand: each line of input asks for a round and is answered by its tokens a second."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    import transformers  # noqa: F401  # in every process, so that none has less to hold than another

    before = peak_mib()
    step = globals()[f"{loop}_loop"](shape, dtype, compiled)
    step(), step()
    print("ready", flush=True)
    *_, length, rows, steps = SHAPES[shape]
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        seconds = time.perf_counter() - began
        print(json.dumps([steps * rows * length / seconds, before, peak_mib()]), flush=True)


def peak_mib() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(shape: str, dtype: str, variants: list[tuple[str, bool]], rounds: int, threads: int) -> Iterator[dict]:
    """One result for each of `variants` (loop, compiled), measured turn by turn."""
    processes = []
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    for loop, compiled in variants:
        arguments = ["--child", loop, shape, dtype, str(int(compiled)), str(threads)]
        process = subprocess.Popen(
            [sys.executable, str(HERE), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert process.stdout.readline().strip() == "ready", f"{loop} did not start"
        processes.append(process)
    answers: list[list] = [[] for _ in variants]
    for _ in range(rounds):
        for process, found in zip(processes, answers, strict=True):
            process.stdin.write("\n")
            process.stdin.flush()
            found.append(json.loads(process.stdout.readline()))
    for (loop, compiled), process, found in zip(variants, processes, answers, strict=True):
        process.communicate()
        speeds = [speed for speed, _, _ in found]
        yield {
            "shape": shape, "dtype": dtype, "loop": loop, "compiled": compiled,
            "tokens_per_second": statistics.median(speeds), "lowest": min(speeds), "highest": max(speeds),
            "start_mib": round(found[-1][1]), "peak_mib": round(found[-1][2]),
        }  # fmt: skip


def scaling(steps: int) -> dict:
    """Tokens a second of `bosrow train`, 16M parameters, 1 thread a rank, on 1 and on 2 ranks."""
    from synthetic import write_data_set

    speeds = {}
    layers, heads, width, length, rows, _ = SHAPES["16M"]
    with tempfile.TemporaryDirectory() as place:
        data = write_data_set(Path(place) / "data", train_rows=512, seq_len=length, vocab_size=50257, shard_rows=512)
        for ranks in (1, 2):
            run_dir = Path(place) / str(ranks)
            torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "-m"] if ranks > 1 else []
            flags = (
                f"--seq_len {length} --n_layer {layers} --n_head {heads} --n_embd {width} --micro_batch_size {rows} "
            )
            flags += f"--total_batch_tokens {length * rows * 4} --max_train_steps {steps} --device cpu "
            flags += "--eval_every 0 --save_every 0 --exposure_every 0 --hellaswag_every 0"
            command = [sys.executable, "-m", *torchrun, "bosrow", "train", "--data_dir", str(data)]
            subprocess.run(
                [*command, "--run_dir", str(run_dir), *flags.split()],
                check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            lines = [json.loads(line) for line in (run_dir / "scalars.jsonl").read_text().splitlines()]
            speeds[ranks] = [line["tokens_per_second"] for line in lines if line["type"] == "scalars"][1:]
    one, two = (statistics.median(speeds[ranks]) for ranks in (1, 2))
    return {"one_rank": speeds[1], "two_ranks": speeds[2], "scaling": two / one}


HEADING = f"{'shape':<7}{'dtype':<10}{'loop':<24}{'tokens/s':>10}{'lowest':>9}{'highest':>9}{'peak MiB':>10}"


def table_line(result: dict) -> str:
    """A result of `measure` under HEADING."""
    name = result["loop"] + (", compiled" if result["compiled"] else "")
    widths = (("tokens_per_second", 10), ("lowest", 9), ("highest", 9))
    speeds = "".join(f"{result[key]:>{width},.0f}" for key, width in widths)
    return f"{result['shape']:<7}{result['dtype']:<10}{name:<24}{speeds}{result['peak_mib']:>10,}"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tokens_per_second_and_peak_memory_of_a_training_step(benchmark, capsys, dtype):
    """16M parameters, turn by turn; the other shapes and torch.compile take `python benchmarks/bench_train.py`."""
    variants = [(loop, False) for loop in LOOPS]
    results = benchmark.pedantic(lambda: list(measure("16M", dtype, variants, rounds=3, threads=2)), rounds=1)
    report(capsys, f"train {dtype}", [HEADING, *map(table_line, results)], loops=results)


def test_tokens_per_second_of_two_ranks_against_one(benchmark, capsys):
    """1 thread a rank."""
    found = benchmark.pedantic(lambda: scaling(6), rounds=1)
    lines = [f"1 -> 2 ranks, 1 thread each: {found['scaling']:.2f} times the tokens a second (aim: 1.7)"]
    report(capsys, "train ranks", lines, **found)


def main() -> None:
    """Run what was asked for and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--compiled", nargs="*", type=int, default=[0, 1], help="0: as written, 1: by torch.compile")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scaling_steps", type=int, default=7, help="steps of each run of the scaling; 0: none")
    options = parser.parse_args()
    report: dict = {"benchmark": "train", "threads": options.threads, "loops": []}
    print(HEADING)
    for shape in options.shapes:
        for dtype in options.dtypes:
            variants = [(loop, bool(compiled)) for compiled in options.compiled for loop in LOOPS]
            for result in measure(shape, dtype, variants, options.rounds, options.threads):
                report["loops"].append(result)
                print(table_line(result), flush=True)
    if options.scaling_steps:
        report["scaling"] = scaling(options.scaling_steps)
        print(f"1 -> 2 ranks, 1 thread each: {report['scaling']['scaling']:.2f} times the tokens a second")
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        loop, shape, dtype, compiled, threads = sys.argv[2:]
        child(loop, shape, dtype, compiled == "1", int(threads))
    else:
        main()
