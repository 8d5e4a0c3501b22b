"""The prepare page on corrected labels: counts by hand-computed example, a warning where test faces were corrected."""

from ferlab.reporting.pages.corrections import changes_table, conflicts_table, corrections_sentences, people_table

DONE = {
    "rows": 7,
    "faces": 5,
    "applied": 3,
    "confirmed": 1,
    "unused": 0,
    "changes": {"sad": {"neutral": 1, "exclude": 1}, "angry": {"angry|sad": 1}},
    "splits": {"train": 1, "val": 1, "test": 0, "excluded": 1},
    "by": {"anna": {"rows": 5, "applied": 3}, "ben": {"rows": 2, "applied": 1}},
    "conflicts": [{"face_id": "a/1", "old": "fear", "votes": {"anna": "sad", "ben": "happy"}}],
}


def test_counts_stand_by_label_before_and_decision():
    table = changes_table(DONE)
    assert table.index.tolist() == ["angry", "sad"]
    assert table.columns.tolist() == ["angry|sad", "neutral", "exclude"]
    assert table.to_numpy().tolist() == [[1, 0, 0], [0, 1, 1]]
    assert people_table(DONE).to_dict("index") == {"anna": {"decisions": 5, "applied": 3}, "ben": {"decisions": 2, "applied": 1}}
    assert conflicts_table(DONE)["decisions"].to_dict() == {"a/1": "anna: sad; ben: happy"}


def test_the_page_reports_conflicts_and_warns_of_corrected_test_faces():
    told = corrections_sentences(DONE)
    assert told.startswith("**Labels corrected by hand: 3** (7 decisions by 2 people on 5 faces; 1 confirm the label).")
    assert "1 face keeps its label" in told
    assert "test" not in told
    warned = corrections_sentences(DONE | {"splits": DONE["splits"] | {"test": 2}})
    assert "**2 corrected faces are in test: labels chosen with predictions in sight bias the test score.**" in warned


def test_a_dataset_without_corrections_shows_no_table():
    assert corrections_sentences({}).startswith("No label was corrected")
    assert [len(table({})) for table in (changes_table, people_table, conflicts_table)] == [0, 0, 0]
