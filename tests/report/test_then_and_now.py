"""The helpers that several verbs share: changes as aligned lines, and numbers that JSON can hold."""

import json
import math
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from bosrow.report.numbers import without_nan
from bosrow.report.then_and_now import changes, then_and_now

VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.tuples(inside, inside) | st.dictionaries(st.text(), inside),
)


def test_what_is_equal_is_no_change_and_the_arrows_stand_in_one_column():
    found = changes({"seq_len": 1024, "policy": "crop", "gone": 1}, {"seq_len": 512, "policy": "crop", "new": True})
    assert [one.name for one in found] == ["seq_len", "new"]
    lines = then_and_now(found).splitlines()
    assert lines == ["  seq_len  1024  ->  512", "  new      None  ->  True"]


@given(VALUES)
def test_whatever_is_not_finite_becomes_null_and_all_else_stays(value):
    there = json.loads(json.dumps(without_nan(value), allow_nan=False))
    assert there == json.loads(json.dumps(value), parse_constant=lambda _: None)


def test_a_number_that_is_not_finite_is_none():
    assert without_nan([math.nan, math.inf, -math.inf, 1.5]) == [None, None, None, 1.5]


def test_help_imports_no_template_engine():
    code = "import sys; from bosrow.cli import main; main(['--help'])"
    check = "\nassert not {'jinja2', 'markupsafe', 'msgspec'} & set(sys.modules), sorted(sys.modules)"
    wrapped = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass{check}"
    subprocess.run([sys.executable, "-c", wrapped], check=True, stdout=subprocess.DEVNULL)
