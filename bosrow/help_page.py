"""What `bosrow VERB --help` prints: purpose, usage, flags in groups, examples.

Only a terminal gets colours (rich decides, and respects NO_COLOR, FORCE_COLOR and TERM). Lines are as wide as the
terminal, up to 120 columns. Importing rich takes about 50 ms, so only `bosrow VERB --help` imports this module.
"""

import argparse
import functools
import shutil
from typing import Any, ClassVar

from rich_argparse import RawDescriptionRichHelpFormatter

from bosrow.flags import parser_for

WIDEST = 120
FLAGS_COLUMN = 30  # help texts begin here at the latest; a longer flag has a line of its own


def _heading(group: str) -> str:
    return group[:1].upper() + group[1:]  # capitalize() would make "Hellaswag" of "HellaSwag"


class Formatter(RawDescriptionRichHelpFormatter):
    """Keeps texts as they are written: square brackets are not markup, lines of examples are not joined."""

    group_name_formatter = _heading
    styles: ClassVar = {
        **RawDescriptionRichHelpFormatter.styles,
        **{"argparse.groups": "bold", "argparse.metavar": "green", "argparse.default": "dim", "argparse.prog": "bold"},
    }
    highlights: ClassVar = [r"(?:^|\s)(?P<args>--?[a-z][a-z_]*)", r"(?P<default>\(default: [^)]*\))"]
    help_markup = False
    text_markup = False

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        """Show only what must be given; the groups below the usage show all flags."""
        rest = argparse.Action([], "flag", nargs="*", metavar="FLAG")
        super().add_usage(usage, [*(action for action in actions if action.required), rest], groups, prefix)


def help_page(options: Any, prog: str, purpose: str) -> str:
    """The help of the verb `prog` with the flags of `options`, coloured if standard output is a terminal."""
    parser = parser_for(options, prog)
    parser.description = purpose
    parser.add_argument_group("examples", "\n".join(options.HELP.examples))
    width = min(shutil.get_terminal_size().columns, WIDEST)
    parser.formatter_class = functools.partial(Formatter, max_help_position=FLAGS_COLUMN, width=width)
    return parser.format_help()
