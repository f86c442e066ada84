"""What a person sees of a run: a live line on a terminal, plain lines elsewhere, MFU where the peak is known."""

import os
import pty

import pytest
from forked import Forked
from running import QUIET, command

from bosrow.report.progress import duration
from bosrow.train.progress import TrainingProgress


@pytest.mark.parametrize(("peak", "shown"), [(2e12, "MFU 25.0%"), (None, None)])
def test_the_share_of_the_peak_is_shown_where_the_peak_is_known(capsys, peak, shown):
    with TrainingProgress(speaks=True, start=0, total=4, flops_per_token=1e6, peak_flops=peak) as progress:
        progress.step(1, 3.25, 500_000.0)
    line = capsys.readouterr().out
    assert "step 1/4  loss 3.2500  500,000 tokens/s" in line
    assert shown in line if shown else "MFU" not in line


def test_off_a_terminal_steps_in_quick_succession_are_one_line_and_the_last_is_always_told(capsys):
    with TrainingProgress(speaks=True, start=0, total=50, flops_per_token=1.0, peak_flops=None) as progress:
        for step in range(1, 51):
            progress.step(step, 1.0, 10.0)
    first, *between, last = capsys.readouterr().out.splitlines()
    assert first.startswith("step 1/50")
    assert last.startswith("step 50/50")
    assert len(between) < 48


def test_ranks_that_are_not_the_main_one_say_nothing(capsys):
    with TrainingProgress(speaks=False, start=0, total=1, flops_per_token=1.0, peak_flops=None) as progress:
        progress.step(1, 1.0, 10.0)
        progress.note("a note")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4s"), (59.6, "1m 0s"), (3661, "1h 1m"), (2 * 86400 + 3 * 3600, "2d 3h")]
)
def test_durations_are_told_in_two_units(seconds, text):
    assert duration(seconds) == text


def test_on_a_terminal_one_line_is_rewritten_and_notes_stay_above_it(data_dir, tmp_path):
    """A real run on a pseudo-terminal: the cursor goes back instead of a line for each step."""
    outside, inside = pty.openpty()
    flags = f"--max_train_steps 30 {QUIET} --save_every 30"
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    process = Forked(
        command(data_dir, tmp_path / "run", flags), environment, output=os.ttyname(inside), errors=os.ttyname(inside)
    )
    seen = b""
    while True:
        try:
            part = os.read(outside, 1 << 16)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not part:
            break
        if not seen:
            os.close(inside)  # the run has it open now
        seen += part
    os.close(outside)
    assert process.wait(timeout=60) == 0, seen
    text = seen.decode()
    assert "\x1b[2K" in text  # a line is erased to be written anew
    assert "step 30/30" in text
    assert "done in" in text
    assert "saved" in text
    assert "Traceback" not in text
