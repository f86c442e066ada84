"""`bosrow VERB`: finds the verb's options and function, and turns errors into exit statuses.

Only the verb that was named is imported, so `bosrow --help` takes as long as `import bosrow`.
"""

import importlib
import sys
import traceback
from typing import Any, NamedTuple

from bosrow import __version__
from bosrow.errors import BosrowError, MachineError, UserError
from bosrow.output import robust_streams


class Verb(NamedTuple):
    """`options` and `run` are "module:name", imported when the verb is called."""

    group: str
    summary: str
    options: str
    run: str
    extra: str | None = None  # what `pip install 'bosrow[...]'` has to add for this verb


WATCHED = ("prepare", "train", "ab")  # verbs whose output shows how work goes on; others print what was asked for

ABOUT = "Turn text into training rows that start where documents start; train GPT-2."

# In the order in which a person meets them.
VERBS = {
    "prepare": Verb(
        "data",
        "Turn a text corpus into training rows on disk.",
        "bosrow.prepare.prepare_options:PrepareOptions",
        "bosrow.prepare.command:prepare",
    ),
    "policies": Verb(
        "data",
        "Show what each packing policy would make of a corpus.",
        "bosrow.inspect.inspect_options:PoliciesOptions",
        "bosrow.inspect.policies:policies",
    ),
    "verify": Verb(
        "data",
        "Check that a data set is complete and undamaged.",
        "bosrow.dataset.verify_options:VerifyOptions",
        "bosrow.dataset.verify:verify",
    ),
    "inspect": Verb(
        "data",
        "Show what a data set holds and what its rows look like.",
        "bosrow.inspect.inspect_options:InspectOptions",
        "bosrow.inspect.command:inspect",
    ),
    "trace": Verb(
        "data",
        "Find the documents behind a row or step, or the rows of a document.",
        "bosrow.inspect.trace_options:TraceOptions",
        "bosrow.inspect.trace:trace",
    ),
    "train": Verb(
        "model",
        "Train GPT-2 on one data set or several.",
        "bosrow.train.train_options:TrainOptions",
        "bosrow.train.command:train",
        "train",
    ),
    "eval": Verb(
        "model",
        "Score checkpoints on language benchmarks and held-out text.",
        "bosrow.evals.eval_options:EvalOptions",
        "bosrow.evals.command:evaluate_checkpoints",
        "train",
    ),
    "export": Verb(
        "model",
        "Write a checkpoint as a Hugging Face model with its tokenizer.",
        "bosrow.train.train_options:ExportOptions",
        "bosrow.train.export:export",
        "train",
    ),
    "ab": Verb(
        "comparison",
        "Prepare, train, evaluate and compare, as a TOML file describes.",
        "bosrow.experiment.ab_options:AbOptions",
        "bosrow.experiment.command:ab",
        "train,compare",
    ),
    "compare": Verb(
        "comparison",
        "Report whether runs on one data set are better than on another.",
        "bosrow.compare.compare_options:CompareOptions",
        "bosrow.compare.command:compare_runs",
        "compare",
    ),
}
FLAGS = {
    "--help": "show this page, or with a verb its flags and examples",
    "--version": "show bosrow's version",
    "--debug": "with a verb: show where in the code an error came from",
}


def usage() -> str:
    """What `bosrow --help` prints."""
    lines = ["Usage: bosrow VERB [FLAG ...]", "", ABOUT]
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines += ["", f"{group.capitalize()}:"]
        lines += [f"  {name:<10} {verb.summary}" for name, verb in VERBS.items() if verb.group == group]
    lines += ["", "Flags:", *(f"  {flag:<10} {text}" for flag, text in FLAGS.items())]
    return "\n".join([*lines, "", "Start here: bosrow prepare --help"])


def _no_such(name: str) -> str:
    """What to say of a first word that is no verb."""
    from bosrow.flags import did_you_mean

    kind, known, otherwise = ("flag", FLAGS, "a verb comes first") if name[:1] == "-" else ("verb", VERBS, "there are")
    near = did_you_mean(name, known)
    remedy = f"did you mean {near}?" if near else f"{otherwise}: {', '.join(VERBS)}"
    return f"there is no {kind} {name}; {remedy}"


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit status (docs/design.md: 0 done, 1 machine, 2 user, 75 interrupted)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    name = arguments[0] if arguments else "--help"
    with robust_streams(watched=name in WATCHED):
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
        print(f"bosrow: {_no_such(name)}", file=sys.stderr)
        return 2
    verb = VERBS[name]
    if "--help" in arguments or "-h" in arguments:
        from bosrow.help_page import help_page

        print(help_page(load(verb.options), f"bosrow {name}", verb.summary), end="")
        return 0
    from bosrow import flags

    options = flags.parse(load(verb.options), arguments, f"bosrow {name}")
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
