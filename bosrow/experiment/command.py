"""`bosrow ab`: an experiment from its TOML file to its report.

Prepares the arms' data sets, trains and evaluates each run, compares. Promise: the same command goes on after any
stop, since each stage knows from its own folder whether it is complete; an experiment that changed meanwhile is
refused, both sides shown; nothing starts before the whole file is checked. Runs are taken seed by seed, so what is
there when time runs out has the same number of seeds in every arm. Cost: a run's own, and some milliseconds.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console

from bosrow.compare.command import compare_runs
from bosrow.compare.compare_options import CompareOptions
from bosrow.dataset.manifest import META, read_manifest
from bosrow.distributed.ranks import rank_and_size
from bosrow.errors import Interrupted, MachineError, UserError
from bosrow.evals.catalogue import load_benchmark
from bosrow.evals.command import evaluate_checkpoints
from bosrow.evals.eval_options import EvalOptions
from bosrow.experiment.ab_options import AbOptions
from bosrow.experiment.arms import ARMS, BASE, require_same_tokens, with_sources
from bosrow.experiment.experiment_file import JOB, read_experiment
from bosrow.experiment.plan import arms_table, print_plan
from bosrow.experiment.spec import NOISE_ARM, Experiment, PlannedRun
from bosrow.files import read_untrusted, replace_file
from bosrow.flags import as_arguments
from bosrow.lock import folder_lock
from bosrow.prepare.command import prepare
from bosrow.report.then_and_now import Change, then_and_now
from bosrow.signals import Stopped, caught_signals
from bosrow.strict_json import parse_json
from bosrow.train.command import train

STATE = "experiment.json"


def ab(options: AbOptions) -> None:
    """Run, or go on with, the experiment in `options.experiment`; with --dry_run only show its plan."""
    if rank_and_size()[1] > 1:
        raise UserError("bosrow ab is one process; to train on several GPUs, give its file command = 'torchrun ...'")
    experiment = read_experiment(options.experiment)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    print_plan(experiment, console)
    if options.dry_run:
        return
    experiment.out_dir.mkdir(parents=True, exist_ok=True)
    try:
        with caught_signals() as stop, stop.at_once(), folder_lock(experiment.out_dir):
            _require_same(experiment)
            _Conductor(experiment, console).go()
    except Stopped:
        raise Interrupted("stopped; the same command goes on from here") from None


def _require_same(experiment: Experiment) -> None:
    """Write down all that a figure depends on. Raises UserError if an earlier command wrote something else."""
    path, here = experiment.out_dir / STATE, experiment.matched()
    if path.exists():
        there = parse_json(read_untrusted(path), str(path))
        found = [
            Change(name, there.get(name, "not given"), here.get(name, "not given"))
            for name in sorted(here.keys() | there.keys())
            if here.get(name) != there.get(name)
        ]
        if found:
            raise UserError(
                f"{experiment.out_dir} holds an experiment that differs from this file (then -> now):\n"
                f"{then_and_now(found)}\nPut the former values back to go on with it, or name another out_dir"
            )
    replace_file(path, json.dumps(here, indent=1).encode() + b"\n")


class _Conductor:
    """Takes an experiment through its stages."""

    def __init__(self, experiment: Experiment, console: Console) -> None:
        self.experiment = experiment
        self.console = console

    def go(self) -> None:
        """Everything that is not there yet."""
        self._prepare()
        self._run_all()
        runs = [self.experiment.run_dir(run) for run in self.experiment.runs()]
        self._say("comparing")
        compare_runs(CompareOptions(runs=tuple(runs), out=self.experiment.out_dir / "report"))

    def _say(self, text: str) -> None:
        self.console.print(f"ab: {text}", markup=False)

    def _prepare(self) -> None:
        experiment = self.experiment
        arms = with_sources(experiment.arms)
        lacking = [arm for arm in arms if not (experiment.data_dir(arm) / META).exists()]
        for arm in arms:
            if arm in lacking:
                self._say(f"data of arm {arm.letter}: {arm.name}")
            prepare(experiment.prepare_options(arm))
        if lacking:
            self.console.print(arms_table(experiment))
        if "C" in experiment.arms:
            tokens = require_same_tokens(experiment.data_dir(ARMS["B"]), experiment.data_dir(ARMS["C"]))
            self._say(f"checked: C holds exactly the {tokens:,} tokens that B kept")

    def _run_all(self) -> None:
        experiment = self.experiment
        packed = next((ARMS[letter] for letter in experiment.arms if ARMS[letter].policy != "stream"), BASE)
        rows = tuple(dict.fromkeys((experiment.data_dir(packed), experiment.data_dir(BASE))))
        rows = tuple(path for path in rows if read_manifest(path).rows_of("val"))
        runs = experiment.runs()
        self._require_benchmarks(experiment.eval_options(runs[0], experiment.run_dir(runs[0]), rows))
        seconds: list[float] = []
        for number, run in enumerate(runs, 1):
            folder = experiment.run_dir(run)
            options = experiment.train_options(run)
            checkpoint = folder / f"ckpt_final_step{options.max_train_steps:07d}"
            evaluation = experiment.eval_options(run, checkpoint, rows)
            if (folder / "evaluation" / "summary.json").exists():
                continue
            left = (
                f", about {sum(seconds) / len(seconds) * (len(runs) - number + 1) / 60:.0f} min left" if seconds else ""
            )
            self._say(f"run {number} of {len(runs)}: {run.title}{left}")
            began = time.monotonic()
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / "arm.json", json.dumps(_arm(run), indent=1).encode() + b"\n")
            if not checkpoint.is_dir():
                self._job("train", train, options)
            self._job("eval", evaluate_checkpoints, evaluation)
            seconds.append(time.monotonic() - began)

    def _require_benchmarks(self, options: EvalOptions) -> None:
        """Load each benchmark once: missing items are found before the first run is trained, not after it."""
        for task in options.task_names:
            if task not in ("bits_per_byte", "rows"):
                load_benchmark(task, options)

    def _job(self, verb: str, function: Callable[[Any], None], options: Any) -> None:
        """Do `verb` in this process, or under the experiment's command."""
        if not self.experiment.command:
            function(options)
            return
        job = ["-m", "bosrow", verb, *as_arguments(options)]
        words = [part for word in self.experiment.command for part in (job if word == JOB else [word])]
        _supervise(words)


def _arm(run: PlannedRun) -> dict[str, str]:
    group = "noise_floor" if run.group == NOISE_ARM else "main"
    return {"arm": run.arm.letter, "name": run.arm.name, "group": group}


def _supervise(words: list[str]) -> None:
    """Run a command to its end. A signal to us is passed on once, and the command's checkpoint is waited for."""
    try:
        # A process group of its own: Ctrl-C in a terminal would reach it directly, and ours would be its second.
        process = subprocess.Popen(words, process_group=0)
    except OSError as error:
        raise UserError(f"command {words[0]!r} cannot be started: {error.strerror}") from None
    try:
        status = process.wait()
    except Stopped:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if status == Interrupted.exit_status:
        raise Interrupted("the run was stopped after a checkpoint; the same command goes on from there")
    if status:
        raise MachineError(
            f"exit status {status} of: {' '.join(words)}\nThe same bosrow ab goes on from the run's last checkpoint"
        )
