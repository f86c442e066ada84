"""Options are frozen dataclasses; a command line is read straight off their fields.

    @dataclass(frozen=True, kw_only=True)
    class VerifyOptions:
        data_dir: Path = option(positional=True, help="a folder made by 'bosrow prepare'")
        json: bool = option(False, help="print one JSON object instead of a table")

gives `bosrow verify [--json] data_dir`. A default stands in the field alone, a check in the class's
`__post_init__` alone (which raises OptionError), so the command line and Python calls behave alike.
"""

import argparse
import dataclasses
import math
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bosrow.errors import OptionError


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    metavar: str | None = None,
    positional: bool = False,
    flag: str | None = None,
) -> Any:
    """A dataclass field that is also a command-line flag (`flag`, if not called as the field) or a positional."""
    metadata = {"help": help, "metavar": metavar, "positional": positional, "flag": flag}
    return dataclasses.field(default=default, metadata=metadata)


def same_as(options: type, name: str) -> Any:
    """A field like `name` of another options class: its default, its help, its flag, written once."""
    (field,) = (field for field in dataclasses.fields(options) if field.name == name)
    return dataclasses.field(default=field.default, metadata=field.metadata)


def require_finite(options: Any) -> None:
    """Raise OptionError if a number among `options` is not finite."""
    for name, value in vars(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError(f"--{name} is {value}; a finite number is required")


def parser_for(options: type, prog: str, description: str) -> argparse.ArgumentParser:
    """An argument parser with one flag for each field of `options`.

    `bool` fields are switches, `Literal` fields have choices, `tuple[X, ...]` fields take several
    values after one flag and may be repeated. Flags are spelled with underscores.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        _add(parser, field, hints[field.name])
    return parser


def _add(parser: argparse.ArgumentParser, field: "dataclasses.Field[Any]", hint: Any) -> None:
    required = field.default is dataclasses.MISSING
    settings: dict[str, Any] = {"help": field.metadata["help"].replace("%", "%%")}
    flag = f"--{field.metadata['flag'] or field.name}"
    if hint is bool:
        parser.add_argument(flag, dest=field.name, action="store_true", default=argparse.SUPPRESS, **settings)
        return
    if get_origin(hint) in (Union, types.UnionType):  # X | None
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        settings |= {"nargs": "+"} | ({} if field.metadata["positional"] else {"action": "extend"})
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        settings["choices"] = get_args(hint)
    else:
        settings |= {"type": hint, "metavar": field.metadata["metavar"] or field.name.upper()}
    if not required and field.default not in (None, ()):
        settings["help"] += f" (default: {field.default})"
    if field.metadata["positional"]:
        parser.add_argument(field.name, **settings)
    else:
        parser.add_argument(flag, dest=field.name, required=required, default=argparse.SUPPRESS, **settings)


def parse(options: type, arguments: list[str], prog: str, description: str) -> Any:
    """An instance of `options` from command-line `arguments`; dashes inside flags count as underscores."""
    arguments = [_with_underscores(argument) for argument in arguments]
    values = vars(parser_for(options, prog, description).parse_args(arguments))
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _with_underscores(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


def as_arguments(options: Any) -> list[str]:
    """The command line that `parse` turns into `options`: positionals, and the flags that are not at their default."""
    first, rest = [], []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        words = [str(item) for item in (value if isinstance(value, tuple) else (value,))]
        if field.metadata["positional"]:
            first += words
        elif value is True:
            rest.append(f"--{field.metadata['flag'] or field.name}")
        elif value != field.default:
            rest += [f"--{field.metadata['flag'] or field.name}", *words]
    return first + rest
