"""Official counts: what agrees has no difference, a missing face a difference of one."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.readers.official import OFFICIAL, compare_counts, fingerprint_set
from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS


def official_faces(source):
    """A face table that holds a dataset's official counts, an arbitrary expression where only totals are official."""
    parts = []
    for part, counts in OFFICIAL[source].counts.items():
        for expression, count in counts.items():
            target = 0 if expression == "all" else ALL_EXPRESSIONS.index(expression)
            parts.append(pd.DataFrame({"usage": part, "target": np.full(count, target)}))
    faces = pd.concat(parts, ignore_index=True)
    number = faces.index.astype(str)
    return faces.assign(face_id=number, source=source, sequence=number, content_hash=number)


@pytest.mark.parametrize("source", OFFICIAL)
def test_a_set_of_the_official_counts_agrees(source):
    counts = compare_counts(official_faces(source), ALL_EXPRESSIONS)
    assert len(counts)
    assert (counts["difference"] == 0).all()


def test_totals_are_the_published_ones():
    total = {source: {part: sum(counts.values()) for part, counts in of.counts.items()} for source, of in OFFICIAL.items()}
    assert total["fer2013"] == {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
    assert total["ckplus"] == {"all": 327}
    assert total["jaffe"] == {"all": 213}
    assert total["rafdb"] == {"train": 12_271, "test": 3_068}


def test_a_missing_face_is_counted_and_a_derived_one_is_not():
    faces = official_faces("jaffe")
    more = pd.concat([faces.iloc[1:], faces.iloc[:5].assign(derived_from="0")], ignore_index=True)
    counts = compare_counts(more, ALL_EXPRESSIONS).set_index("expression")
    assert counts["difference"].to_dict() == {"angry": -1, "disgust": 0, "fear": 0, "happy": 0, "sad": 0, "surprise": 0, "neutral": 0}


def test_sequences_are_counted_once_however_many_frames_they_have():
    faces = official_faces("ckplus")
    frames = pd.concat([faces] * 3, ignore_index=True).assign(face_id=[str(n) for n in range(981)])
    assert (compare_counts(frames, ALL_EXPRESSIONS)["difference"] == 0).all()


def test_an_unknown_source_has_no_official_counts():
    assert compare_counts(official_faces("jaffe").assign(source="mine"), ALL_EXPRESSIONS).empty


def test_the_fingerprint_depends_on_the_faces_not_on_their_order():
    faces = official_faces("jaffe")
    one = fingerprint_set(faces, ALL_EXPRESSIONS)
    assert fingerprint_set(faces.sample(frac=1, random_state=0), ALL_EXPRESSIONS) == one
    assert fingerprint_set(faces.iloc[1:], ALL_EXPRESSIONS)["sha256"] != one["sha256"]
    assert one["counts"]["jaffe"]["all"]["disgust"] == {"here": 29, "official": 29}
    assert fingerprint_set(official_faces("fer2013"), EXPRESSIONS)["counts"]["fer2013"]["PublicTest"]["disgust"]["here"] == 56
