"""Command lines from frozen dataclasses: each field of an options class is a flag or a positional.

    @dataclass(frozen=True, kw_only=True)
    class VerifyOptions:
        HELP: ClassVar = Help(groups=("data set", "output"), examples=("bosrow verify corpus_bosrow",))

        data_dir: Path = option(positional=True, group="data set", metavar="DATA_DIR", help="a prepared data set")
        json: bool = option(False, group="output", help="print one JSON object instead of a table")

gives `bosrow verify [--json] DATA_DIR`. A default is given only in its field, and checks are made only in the
class's `__post_init__` (which raises OptionError), so the command line and Python calls behave alike.
A command line that cannot be parsed raises OptionError too: one message, with the most similar name that exists.
"""

import argparse
import dataclasses
import math
import types
from collections.abc import Callable, Iterable
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from bosrow.errors import OptionError

METAVARS = {int: "N", float: "X"}  # the default of `metavar`, by the type of the field


@dataclasses.dataclass(frozen=True, kw_only=True)
class Help:
    """What a verb's `--help` shows besides its flags: the order of their groups, and example command lines."""

    groups: tuple[str, ...]
    examples: tuple[str, ...]


def option(
    default: Any = dataclasses.MISSING,
    *,
    group: str,
    help: str,
    metavar: str | None = None,
    positional: bool = False,
    flag: str | None = None,
) -> Any:
    """A dataclass field that is also a flag (called `flag`, or else like the field) or a positional argument.

    `group` is the heading under which help lists it. Help adds the choices and the default to the `help` text.
    """
    metadata = {"group": group, "help": help, "metavar": metavar, "positional": positional, "flag": flag}
    return dataclasses.field(default=default, metadata=metadata)


def same_as(options: type, name: str, *, group: str | None = None) -> Any:
    """A copy of the field `name` of another options class (default, help, flag), listed under `group` if given."""
    (field,) = (field for field in dataclasses.fields(options) if field.name == name)
    metadata = {**field.metadata, "group": group or field.metadata["group"]}
    return dataclasses.field(default=field.default, metadata=metadata)


def at_least(options: object, **least: int) -> None:
    """Raise OptionError if an option is below its `least` value."""
    for name, bound in least.items():
        if getattr(options, name) < bound:
            raise OptionError(f"--{name} is {getattr(options, name)}; it must be at least {bound}")


def require_finite(options: Any) -> None:
    """Raise OptionError if a number among `options` is not finite."""
    for name, value in vars(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError(f"--{name} is {value}; a finite number is required")


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The word of `known` whose spelling is closest to `word`; None if none is close."""
    import difflib

    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return close[0] if close else None


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises OptionError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message.removeprefix('argument ')} ('{self.prog} --help' lists all flags)")


def parser_for(options: Any, prog: str) -> Parser:
    """A parser with one flag for each field of `options`, in the groups of its `HELP`.

    `bool` fields are switches and `Literal` fields have choices. Flags of `tuple[X, ...]` fields take several values
    and may be repeated. Flags are spelled with underscores.
    """
    parser = Parser(prog=prog, add_help=False, allow_abbrev=False)
    groups = {name: parser.add_argument_group(name) for name in options.HELP.groups}
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        _add(groups[field.metadata["group"]], field, hints[field.name])
    return parser


def _add(group: Any, field: "dataclasses.Field[Any]", hint: Any) -> None:
    positional = field.metadata["positional"]
    name = field.name if positional else _flag(field)
    text = field.metadata["help"]
    settings: dict[str, Any] = {}
    if not positional:
        settings |= {"dest": field.name, "default": argparse.SUPPRESS}
        settings["required"] = field.default is dataclasses.MISSING
    if get_origin(hint) in (Union, types.UnionType):  # X | None
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        settings |= {"nargs": "+"} | ({} if positional else {"action": "extend"})
        hint = get_args(hint)[0]
    if hint is bool:
        settings |= {"action": "store_true"}
    else:
        choices = "|".join(get_args(hint)) if get_origin(hint) is Literal else None
        metavar = choices or field.metadata["metavar"] or METAVARS.get(hint, field.name.upper())
        settings |= {"type": _reader(name, hint), "metavar": metavar}
        if field.default not in (dataclasses.MISSING, None, ()):
            text += f" (default: {field.default:g})" if hint is float else f" (default: {field.default})"
    group.add_argument(name, help=text.replace("%", "%%"), **settings)


def _flag(field: "dataclasses.Field[Any]") -> str:
    return f"--{field.metadata['flag'] or field.name}"


def listed(words: Iterable[str]) -> str:
    """The words as in a sentence: "a, b or c"."""
    *first, last = words
    return f"{', '.join(first)} or {last}"


def _reader(name: str, hint: Any) -> Callable[[str], Any]:
    """A function that converts the word given for `name` to the type `hint`. It raises OptionError if it cannot."""

    def read(word: str) -> Any:
        if get_origin(hint) is Literal:
            if word not in get_args(hint):
                near = did_you_mean(word, get_args(hint))
                question = f"; did you mean {near}?" if near else ""
                raise OptionError(f"{name} is {word!r}; it must be {listed(get_args(hint))}{question}")
            return word
        try:
            return hint(word)
        except ValueError:
            kind = "whole number" if hint is int else "number"
            raise OptionError(f"{name} is {word!r}; a {kind} is required") from None

    return read


def parse(options: Any, arguments: list[str], prog: str) -> Any:
    """An instance of `options` from command-line `arguments`; dashes inside flags count as underscores."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    arguments = [_with_underscores(argument) for argument in arguments[:end]] + arguments[end:]
    flags = [_flag(field) for field in dataclasses.fields(options) if not field.metadata["positional"]]
    for argument in arguments[:end]:
        _require_known(argument.partition("=")[0], flags, prog)
    values, rest = parser_for(options, prog).parse_known_args(arguments)
    if rest:
        raise OptionError(f"{rest[0]!r} does not belong to any flag; '{prog} --help' lists all flags")
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in vars(values).items()})


def _require_known(word: str, flags: list[str], prog: str) -> None:
    if len(word) < 2 or word[0] != "-" or word in flags or " " in word or word[1] in ".0123456789":
        return  # a flag that exists, or a value
    near = did_you_mean(word, flags)
    remedy = f"did you mean {near}?" if near else f"'{prog} --help' lists all flags"
    raise OptionError(f"there is no flag {word}; {remedy}")


def _with_underscores(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


def as_arguments(options: Any) -> list[str]:
    """The inverse of `parse`: positionals, then the flags whose values are not the default."""
    first, rest = [], []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        words = [str(item) for item in (value if isinstance(value, tuple) else (value,))]
        if field.metadata["positional"]:
            first += words
        elif value is True:
            rest.append(_flag(field))
        elif value != field.default:
            rest += [_flag(field), *words]
    return first + rest
