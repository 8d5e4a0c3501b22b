"""The line that sums up `ferlab status`; its states are tested on a copy of the repository, in test_changes."""

from __future__ import annotations

import pytest

from ferlab.status import FRESH, PAGE, STALE, State, status_lines, total_line


@pytest.mark.parametrize(
    ("states", "line"),
    [
        ([State("compare", FRESH)], "everything is up to date: dvc repro has nothing to do"),
        ([State("train@a", STALE, "code", 300.0), State("report", PAGE, "waits", 4.0)], "1 result to compute, 1 page to make; about 5 CPU minutes"),
        (
            [State("compare", PAGE, "style", 5.0), State("report", PAGE, "waits", None)],
            "about 5 CPU seconds, and 1 stage not yet timed here",
        ),
        ([State("train@a", STALE, "not computed yet", None)], "no stage has been timed here, `ferlab study` lists what studies cost"),
    ],
)
def test_the_total_says_what_is_known_of_the_cost(states, line):
    assert total_line(states).endswith(line)


def test_a_stage_has_a_line_of_its_own():
    assert status_lines([State("train@a", STALE, "code"), State("report", FRESH)])[:2] == ["train@a  stale      code", "report   fresh"]
