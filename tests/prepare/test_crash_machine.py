"""Runs, kills, power cuts, full disks, other options, fresh starts in any order: the bytes are those of a quiet run."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from corpora import documents, write_source
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from test_crash_points import ARGUMENTS, COMBINATIONS, CONSTANTS, VAL

PROGRAM = Path(__file__).parents[1] / "support" / "machine_steps.py"
FREE_FLAGS = [[], ["--batch_docs", "3"], ["--checkpoint_seconds", "0.001"], ["--on_bad_row", "skip"]]
CHANGES = [
    ["--seq_len", "17"],
    ["--buffer_docs", "9"],
    ["--shard_rows", "21"],
    ["--no_provenance"],
    ["--max_docs", "50"],
]


class Preparation(RuleBasedStateMachine):
    """One folder, and everything that may happen to it."""

    place: Path
    steps: "subprocess.Popen[str]"
    sources: dict[str, list[str]]
    quiet: dict[tuple[str, ...], str]

    @initialize(combination=st.sampled_from(COMBINATIONS), source=st.sampled_from(["jsonl", "parquet", "jsonl.gz"]))
    def begin(self, combination: tuple[str, str], source: str) -> None:
        policy, val = combination
        self.arguments = [*self.sources[source], *ARGUMENTS, "--policy", policy, *VAL[val]]
        shutil.rmtree(self.place / "work", ignore_errors=True)
        if (key := tuple(self.arguments)) not in self.quiet:
            self.quiet[key] = self.step()["complete"]
            shutil.rmtree(self.place / "work")
        self.begun = self.complete = False

    def step(self, fault: str = "", point: int = 0, more: tuple[str, ...] | list[str] = ()) -> dict[str, Any]:
        """One command, to its end or to its fault; what it left is checked."""
        (self.place / "work").mkdir(exist_ok=True)
        ask = {
            "fault": fault,
            "point": point,
            "arguments": [*self.arguments, *more],
            "folder": str(self.place / "work"),
        }
        self.steps.stdin.write(json.dumps(ask) + "\n")
        self.steps.stdin.flush()
        found = json.loads(self.steps.stdout.readline())
        assert "Traceback" not in found["said"]
        self.complete = found["complete"] is not None
        self.begun = self.complete or (self.place / "work" / "out" / "state.bin").exists()
        return found

    def check(self, found: dict[str, Any], *statuses: int) -> None:
        """A status that may be; and never a meta.json beside other bytes than those of a quiet run."""
        assert found["status"] in statuses, found["said"]
        # Not yet cleared up after a kill, a complete data set may have the state beside it; the next run removes it.
        if found["complete"] is not None and found["status"] == 0:
            assert found["complete"] == self.quiet[tuple(self.arguments)]

    @rule(flags=st.sampled_from(FREE_FLAGS))
    def run_to_the_end(self, flags: list[str]) -> None:
        self.check(self.step(more=flags), 0)
        assert self.complete

    @rule(
        fault=st.sampled_from(["kill", "torn", "power"]), point=st.integers(1, 450), flags=st.sampled_from(FREE_FLAGS)
    )
    def is_killed(self, fault: str, point: int, flags: list[str]) -> None:
        self.check(self.step(fault, point, flags), -9, 0)

    @rule(point=st.integers(1, 450))
    def fills_the_disk(self, point: int) -> None:
        self.check(self.step("full", point), 1, 0)

    @precondition(lambda self: self.begun)
    @rule(change=st.sampled_from(CHANGES))
    def another_option_is_refused(self, change: list[str]) -> None:
        found = self.step(more=change)
        assert found["status"] == 2
        assert "  ->  " in found["said"]

    @rule(point=st.one_of(st.just(0), st.integers(1, 60)))
    def starts_over(self, point: int) -> None:
        self.check(self.step("kill" if point else "", point, ["--fresh"]), -9, 0)

    def teardown(self) -> None:
        """However it went, the same command ends it well."""
        if hasattr(self, "arguments"):
            self.run_to_the_end([])


@pytest.mark.parametrize(
    ("examples", "steps"), [(6, 8), pytest.param(400, 25, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_whatever_happens_the_bytes_are_those_of_a_quiet_run(tmp_path, examples, steps):
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) as folder:
        texts = documents(60, median_words=8)
        sources = {kind: write_source(tmp_path / kind, kind, texts) for kind in ("jsonl", "parquet", "jsonl.gz")}
        with subprocess.Popen(
            [sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program:
            program.stdin.write(json.dumps(CONSTANTS) + "\n")
            machine = type(
                "Machine", (Preparation,), {"place": Path(folder), "steps": program, "sources": sources, "quiet": {}}
            )
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    database=None,
                    derandomize=examples < 100,
                    suppress_health_check=list(HealthCheck),
                ),
            )
