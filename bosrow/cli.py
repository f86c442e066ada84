"""`bosrow VERB`: finds the verb's options and function, and turns errors into exit statuses.

Only the verb that was named is imported, so `bosrow --help` takes as long as `import bosrow`.
"""

import dataclasses
import importlib
import sys
import traceback
from typing import Any

from bosrow import __version__
from bosrow.errors import BosrowError, MachineError, UserError
from bosrow.options import parse
from bosrow.output import robust_streams


@dataclasses.dataclass(frozen=True)
class Verb:
    """`options` and `run` are "module:name", imported when the verb is called."""

    options: str
    run: str
    summary: str
    extra: str | None = None  # what `pip install 'bosrow[...]'` has to add for this verb


ABOUT = "Text into training rows that start where documents start, and GPT-2 trained on them."

VERBS = {
    "prepare": Verb(
        "bosrow.data.options:PrepareOptions", "bosrow.data.prepare:prepare", "turn a text corpus into shards of rows"
    ),
    "policies": Verb(
        "bosrow.data.view_options:PoliciesOptions",
        "bosrow.data.policies:policies",
        "show what each policy would make of a corpus",
    ),
    "trace": Verb(
        "bosrow.train.trace_options:TraceOptions",
        "bosrow.train.trace:trace",
        "say which documents a row or a training step held, and back",
    ),
    "inspect": Verb(
        "bosrow.data.view_options:InspectOptions", "bosrow.data.inspect:inspect", "show a prepared data set to a person"
    ),
    "verify": Verb("bosrow.data.options:VerifyOptions", "bosrow.data.verify:verify", "check a prepared data set"),
    "train": Verb(
        "bosrow.train.options:TrainOptions", "bosrow.train.loop:train", "train GPT-2 on a prepared data set", "train"
    ),
    "export": Verb(
        "bosrow.train.options:ExportOptions",
        "bosrow.train.export:export",
        "write a checkpoint as a Hugging Face model with its tokenizer",
        "train",
    ),
    "eval": Verb(
        "bosrow.evals.options:EvalOptions",
        "bosrow.evals.run:evaluate_checkpoints",
        "score checkpoints on benchmarks of language",
        "train",
    ),
    "compare": Verb(
        "bosrow.compare.options:CompareOptions",
        "bosrow.compare.report:compare_runs",
        "say whether runs on one data set are better than runs on another",
        "compare",
    ),
    "ab": Verb(
        "bosrow.compare.options:AbOptions",
        "bosrow.compare.ab:ab",
        "compare ways of packing: prepare, train, evaluate and report what a TOML file says",
        "train,compare",
    ),
}


def usage() -> str:
    """What `bosrow --help` prints."""
    lines = ["usage: bosrow [--version] [--debug] VERB ...", "", ABOUT, "", "verbs:"]
    lines += [f"  {name:<10} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join([*lines, "", "'bosrow VERB --help' lists a verb's flags."])


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit status (DESIGN: 0 done, 1 machine, 2 user, 75 interrupted)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    name = arguments[0] if arguments else "--help"
    with robust_streams():
        try:
            try:
                return _run(name, arguments[1:])
            finally:
                sys.stdout.flush()  # a full disk under `> file` shows here
        except KeyboardInterrupt:
            return 130  # as shells count it; verbs that have something to save turn the signal into Interrupted
        except BosrowError as error:
            return _report(name, error, error.exit_status, debug)
        except MemoryError:
            return _report(name, MachineError("out of memory; less is needed with fewer --workers"), 1, debug)
        except OSError as error:
            return _report(name, MachineError(_machine_message(error)), 1, debug)


def _run(name: str, arguments: list[str]) -> int:
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"bosrow {__version__}")
        return 0
    if name not in VERBS:
        print(f"bosrow: there is no verb {name!r}; there are: {', '.join(VERBS)}", file=sys.stderr)
        return 2
    verb = VERBS[name]
    options = parse(load(verb.options), arguments, f"bosrow {name}", verb.summary)
    try:
        run = load(verb.run)
    except ModuleNotFoundError as error:
        if verb.extra is None:
            raise
        raise UserError(f"{error.name} is not installed; install it with: pip install 'bosrow[{verb.extra}]'") from None
    return run(options) or 0


def load(path: str) -> Any:
    """The object that "module:name" names."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def _machine_message(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _report(name: str, error: BosrowError, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"bosrow {name}: {error}", file=sys.stderr)
    return status
