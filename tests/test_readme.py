"""The README cannot drift: every command in it is parsed by the real command line, every target and file exists."""

import re
import shlex
from pathlib import Path

import pytest

from bosrow.cli import VERBS, load
from bosrow.flags import parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands():
    """The command lines of all `sh` blocks, continuation lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_is_one_that_exists(line):
    words = shlex.split(line)
    if words[0] == "torchrun":
        words = ["bosrow", *words[words.index("bosrow") + 1 :]]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "bosrow":
        verb = VERBS[words[1]]
        parse(load(verb.options), words[2:], "bosrow")  # raises where a flag is unknown
    else:
        assert (ROOT / words[0]).stat().st_mode & 0o111, f"{words[0]} is no executable file"


def test_every_verb_has_a_command_in_the_readme():
    shown = {word for line in commands() for word in shlex.split(line)}
    assert set(VERBS) <= shown


def test_every_flag_named_in_the_text_exists():
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    flags = set(re.findall(r"`--([a-z_]+)", text)) - {"standalone"}
    known = {field for verb in VERBS.values() for field in load(verb.options).__dataclass_fields__}
    assert flags <= known
