"""The vocabulary of readers: words that this field does not use for what is meant here, or that said the same twice, stand nowhere.

Each pattern has no other meaning in this project; words that have one (set, view, share, answer, word, clean) are left to the reader's eye.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTEAD = {
    r"twins?": "exact, mirrored or near-duplicate",
    r"test_clean|clean test": "test_dedup, deduplicated test",
    r"nets|(?:a|an|the|its|each|own|this|that|another|same|trained|layer|which) net": "model; network for its architecture",
    r"(?:faces|splits?|models?|runs?|it) (?:was|were|is|are) fitted|fitted (?:faces|splits?|models?)": "trained",
    r"learnt|taught": "trained, distilled",
    r"first weights": "initial weights, pretrained weights",
    r"left out|leaves out|put aside|puts aside": "excluded",
    r"takes? for|taken for": "predicts as, predicted as",
    r"rungs?": "search level",
    r"knobs?": "options",
    r"blends of|blended faces|copied or blended": "synthetic samples, mixed faces",
    r"doubted": "label issue",
    r"surest": "most confident",
    r"soft.votes?": "soft-voting ensemble",
    r"by heart": "memorisation",
    r"beyond (?:luck|chance)": "significant at the 5 % level",
    r"lifts?": "density ratio",
    r"faces that nobody has": "synthetic samples",
    r"single faces invite stories": "nothing",
}


def texts() -> dict[str, str]:
    """Return what a reader meets, by file: code, notebooks, pages, studies."""
    found = {}
    for pattern in ("src/**/*.py", "docs/*.md", "*.md", "data/raw/README.md", "conf/**/*.yaml", "params.yaml", "dvc.yaml"):
        found |= {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.glob(pattern) if path.name != "CHANGELOG.md"}
    for path in ROOT.glob("notebooks/**/*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        found[str(path.relative_to(ROOT))] = "\n".join("".join(cell["source"]) for cell in cells)
    return found


@pytest.mark.parametrize("pattern", INSTEAD)
def test_the_vocabulary_is_the_fields(pattern):
    seen = re.compile(rf"(?<![\w`.]){pattern}(?![\w`(=]|\.\w)", flags=re.IGNORECASE)
    lines = [(name, number, line) for name, text in texts().items() for number, line in enumerate(text.splitlines(), start=1)]
    found = [f"{name}:{number}: {line.strip()}" for name, number, line in lines if seen.search(line)]
    assert found == [], f"say {INSTEAD[pattern]}"


def test_the_vocabulary_test_can_fail(monkeypatch):
    monkeypatch.setattr(f"{__name__}.texts", lambda: {"a.py": "a near twin of it"})
    with pytest.raises(AssertionError):
        test_the_vocabulary_is_the_fields(r"twins?")
