"""Help that a person can read: every flag has a place and a text, every example works, a slip gets a suggestion."""

import os
import pty
import re
import shlex
import subprocess
import sys

import pytest

from bosrow.cli import VERBS, load, main, usage
from bosrow.flags import parse, parser_for
from bosrow.help_page import help_page

EXAMPLES = [(name, example) for name, verb in VERBS.items() for example in load(verb.options).HELP.examples]
every_verb = pytest.mark.parametrize("name", VERBS)


def page(name, monkeypatch, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    return help_page(load(VERBS[name].options), f"bosrow {name}", VERBS[name].summary)


def on_a_terminal(*arguments, **environment):
    """What `bosrow` prints on a terminal of 80 columns."""
    reader, terminal = pty.openpty()
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "bosrow", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=kept | {"TERM": "xterm-256color", "COLUMNS": "80"} | environment,
    ) as process:
        os.close(terminal)
        printed = b""
        try:
            while part := os.read(reader, 65536):
                printed += part
        except OSError:  # Linux says so that the other side has closed
            pass
    os.close(reader)
    assert process.returncode == 0
    return printed.decode()


@every_verb
def test_every_flag_stands_in_the_help_under_a_group_with_a_text(name, monkeypatch):
    options = load(VERBS[name].options)
    lines = page(name, monkeypatch).splitlines()
    headings = [line[:-1].lower() for line in lines if re.fullmatch(r"\S.*:", line)]
    assert headings == [*(group.lower() for group in options.HELP.groups), "examples"]  # none is empty
    for action in parser_for(options, "bosrow")._actions:
        named = action.option_strings[0] if action.option_strings else action.metavar
        assert [line for line in lines if re.match(rf"  {re.escape(named)}(?= |$)", line)], named
        assert len(action.help.split("(default")[0].split()) > 1, named


@every_verb
@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_the_terminal(name, columns, monkeypatch):
    lines = page(name, monkeypatch, columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert max(map(len, page(name, monkeypatch, columns=300).splitlines())) <= 120


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_of_the_help_is_a_command_that_can_be_read(name, example, monkeypatch):
    words = shlex.split(example.replace("\\\n", " "))
    verb = words.index("bosrow") + 1
    assert words[verb] == name
    parse(load(VERBS[name].options), words[verb + 1 :], f"bosrow {name}")
    assert all(line in page(name, monkeypatch) for line in example.splitlines())


@every_verb
def test_every_verb_has_two_examples_or_more(name):
    assert len(load(VERBS[name].options).HELP.examples) >= 2


def test_a_default_of_a_field_is_shown(monkeypatch):
    assert "predictions per row of N+1 tokens (default: 1024)" in page("prepare", monkeypatch)
    assert "pack the documents of a prepared data set again\n" in page("prepare", monkeypatch)  # None is not


def test_help_wins_over_all_other_arguments(capsys):
    assert main(["prepare", "--seq_len", "many", "--no_such_flag", "-h"]) == 0
    assert capsys.readouterr().out.startswith("Usage: bosrow prepare --out_dir DIR [FLAG ...]\n\nTurn a text corpus")


def test_bosrow_help_lists_every_verb_once_and_fits_80_columns():
    lines = usage().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if re.match(r"  \w", line)] == list(VERBS)


def test_bosrow_help_imports_neither_rich_nor_argparse():
    program = (
        "import sys; from bosrow.cli import main; main(['--help']); print({'rich', 'argparse'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed.endswith("set()\n")


def test_help_is_coloured_on_a_terminal_alone_and_not_under_no_color(capsys):
    colour = re.compile(r"\x1b\[[0-9;]*3\d")
    assert colour.search(on_a_terminal("verify", "--help"))
    assert not colour.search(on_a_terminal("verify", "--help", NO_COLOR="1"))
    assert "\x1b" not in on_a_terminal("verify", "--help", TERM="dumb")
    assert main(["verify", "--help"]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prepare --seqlen 5 --out_dir x", "prepare: there is no flag --seqlen; did you mean --seq_len?"),
        ("prepare --outdir x", "prepare: there is no flag --outdir; did you mean --out_dir?"),  # not: it is required
        ("prepare --seq-len-=5", "prepare: there is no flag --seq_len_; did you mean --seq_len?"),
        ("prepare -seq_len 5", "prepare: there is no flag -seq_len; did you mean --seq_len?"),
        ("verify x --zzz", "verify: there is no flag --zzz; 'bosrow verify --help' lists all flags"),
        ("verify x y", "verify: 'y' does not belong to any flag; 'bosrow verify --help' lists all flags"),
        (
            "verify",
            "verify: the following arguments are required: DATA_DIR ('bosrow verify --help' lists all flags)",
        ),
        (
            "prepare --policy crop-longfirst --out_dir x",
            "prepare: --policy is 'crop-longfirst'; it must be crop, crop-long-first, keep or stream; "
            "did you mean crop-long-first?",
        ),
        (
            "prepare --policy 7 --out_dir x",
            "prepare: --policy is '7'; it must be crop, crop-long-first, keep or stream",
        ),
        ("prepare --seq_len 1k --out_dir x", "prepare: --seq_len is '1k'; a whole number is required"),
        ("train --learning_rate fast --data_dir x", "train: --learning_rate is 'fast'; a number is required"),
        ("prepare --out_dir x --seq_len", "prepare: --seq_len: expected one argument"),
        (
            "eval x --tasks hellaswag,blmp",
            "eval: --tasks has 'blmp'; there are: hellaswag, ewok, blimp, arc_easy, winogrande, bits_per_byte, rows; "
            "did you mean blimp?",
        ),
    ],
)
def test_a_slip_gets_one_line_that_names_the_nearest(arguments, message, capsys):
    verb, *rest = arguments.split()
    assert main([verb, *rest]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"bosrow {message}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("prepar", "there is no verb prepar; did you mean prepare?"),
        ("insepct", "there is no verb insepct; did you mean inspect?"),
        ("xyz", f"there is no verb xyz; there are: {', '.join(VERBS)}"),
        ("--versoin", "there is no flag --versoin; did you mean --version?"),
        ("--seq_len", f"there is no flag --seq_len; a verb comes first: {', '.join(VERBS)}"),
    ],
)
def test_a_misspelt_verb_gets_the_nearest(word, message, capsys):
    assert main([word]) == 2
    assert capsys.readouterr().err == f"bosrow: {message}\n"


def test_values_that_look_like_flags_reach_the_checks_of_the_options(capsys):
    assert main(["prepare", "--data_files", "x", "--out_dir", "y", "--max_docs", "-1"]) == 2
    assert "--max_docs is -1; it must be at least 0" in capsys.readouterr().err
    assert main(["verify", "--", "--no-such-folder"]) == 2  # dashes of a path stay dashes
    assert "--no-such-folder" in capsys.readouterr().err
