"""The map of scored faces: clusters stay together, also of faces that t-SNE does not see, and a map is computed once."""

from __future__ import annotations

import numpy as np
import pytest
from errors_faces import six_faces, synthetic
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

from ferlab.live.exploration import embedding
from ferlab.live.exploration.embedding import embed, map_faces


def clusters(n: int, *, dimensions: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres, own = rng.normal(0, 4, (5, dimensions)), rng.integers(0, 5, n)
    return (centres[own] + rng.normal(0, 1, (n, dimensions))).astype(np.float32), own


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "ROOT", tmp_path)
    return tmp_path


def test_neighbours_in_the_features_are_neighbours_on_the_map() -> None:
    values, _ = clusters(300)
    points = embed(values)
    assert points.shape == (300, 2)
    assert np.abs(points).max() == pytest.approx(1)
    assert trustworthiness(values, points, n_neighbors=10) > 0.9


def test_faces_that_t_sne_does_not_see_lie_in_their_cluster() -> None:
    values, own = clusters(1500)
    points = embed(values, landmarks=200)
    seen = np.sort(np.random.default_rng(0).permutation(1500)[:200])
    unseen = np.setdiff1d(np.arange(1500), seen)
    by_neighbours = KNeighborsClassifier(5).fit(points[seen], own[seen])
    assert by_neighbours.score(points[unseen], own[unseen]) > 0.97
    assert (embed(values, landmarks=200) == points).all()


@pytest.mark.parametrize("values", [np.zeros((6, 3)), np.ones((1, 4)), np.eye(3), np.ones((40, 1))])
def test_few_or_equal_faces_have_a_map_too(values) -> None:
    points = embed(values)
    assert points.shape == (len(values), 2)
    assert np.isfinite(points).all()


def test_a_map_is_computed_once_and_again_for_other_predictions(scratch, monkeypatch) -> None:
    scored = synthetic(60)
    first = map_faces(scored)
    assert "log-probabilities" in first.how  # no weights are at hand
    monkeypatch.setattr(embedding, "embed", lambda *_, **__: pytest.fail("computed again"))
    kept = map_faces(scored)
    assert (kept.points == first.points).all()
    assert kept.how == first.how
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        map_faces(synthetic(60, seed=1))


def test_a_broken_file_is_written_anew(scratch) -> None:
    first = map_faces(six_faces())
    (file,) = (scratch / embedding.FOLDER).iterdir()
    file.write_bytes(b"no zip")
    assert (map_faces(six_faces()).points == first.points).all()
    assert file.stat().st_size > 100


def test_the_text_under_the_map_states_what_was_approximated() -> None:
    assert "others" not in embedding.describe("x", 2500, dimensions=7)
    told = embedding.describe("log-probabilities", 300_000, dimensions=7)
    assert "t-SNE (perplexity 30) of 2,500 faces drawn at random; the other 297,500" in told
