"""What stages took: a time is of the result that lies there and of no other, and the report's first page says it only where it is known of all."""

from __future__ import annotations

import json

import pytest

from ferlab import costs, paths
from ferlab.costs import COMPUTED, COSTS, PAGE, duration_sentence, keep_cost, read_costs

STAGES = [("prepare", "faces"), ("train", "a"), ("compare", "")]
SPANS = {"prepare@faces": [0.0, 300.0], "train@a": [300.0, 510.0], "compare": [510.0, 540.0]}


@pytest.fixture
def computed(monkeypatch, tmp_path):
    """A project of three results, each computed by this process in one go, at the times of SPANS."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for stage, name in STAGES:
        make(stage, name, "abc")
        keep_cost(stage, name, PAGE if stage == "compare" else COMPUTED, whole=True)
    noted = read_costs()
    for key, span in SPANS.items():
        noted[key]["made"]["span"] = span
    write(noted)
    return noted


def make(stage, name, data):
    """Put a result there: its record, or metrics with their provenance where the stage keeps none."""
    kept = paths.artefact(stage, "metrics", name) if stage == "compare" else paths.artefact(stage, "record", name)
    paths.write_json(kept, {"provenance": {"data": data}} if stage == "compare" else {"data": data})


def write(noted):
    (paths.ROOT / COSTS).write_text(json.dumps(noted))


def test_the_duration_is_told_where_it_is_known_of_all(computed):
    assert duration_sentence(STAGES) == "computed in 9 min (training 4 min), one machine, stages one after the other"
    assert duration_sentence([STAGES[0]]) == "computed in 5 min, one machine, stages one after the other"
    assert duration_sentence([*STAGES, ("train", "b")]) == duration_sentence([]) == ""


@pytest.mark.parametrize(("stage", "name"), STAGES)
def test_the_time_of_another_result_is_not_told(computed, stage, name):
    make(stage, name, "def")
    assert duration_sentence(STAGES) == ""
    make(stage, name, "abc")
    assert duration_sentence(STAGES)


def test_a_page_made_anew_and_a_run_that_went_on_leave_the_time_of_the_result(computed):
    for kind in (PAGE, COMPUTED):
        keep_cost("train", "a", kind)
    assert read_costs()["train@a"]["made"] == computed["train@a"]["made"]
    assert {"computed", "page", "memory"} < set(read_costs()["train@a"])


def test_stages_side_by_side_and_on_other_machines_are_named(computed):
    computed["train@a"]["made"]["span"] = [200.0, 500.0]
    write(computed)
    assert duration_sentence(STAGES[:2]) == "computed in 8 min (training 5 min), one machine, up to 2 stages at once"
    computed["train@a"]["made"]["machine"] = "another"
    write(computed)
    assert ", 2 machines, " in duration_sentence(STAGES[:2])


def test_a_time_begins_with_the_process(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    make("train", "a", "abc")
    keep_cost("train", "a", COMPUTED, whole=True)
    began, ended = read_costs()["train@a"]["made"]["span"]
    assert began == pytest.approx(costs.psutil.Process().create_time(), abs=0.1)
    assert began < ended
