from __future__ import annotations

import pytest

from ferlab.data.readers.registry import READERS
from ferlab.paths import InputError
from ferlab.reporting.site.datasets import ANNOTATED, dataset_facts, sources_of

HUB = {"found", "crowdsourced", "expert-generated", "machine-generated", "no-annotation", "other"}  # Hugging Face's words


@pytest.mark.parametrize("source", READERS)
def test_every_dataset_has_a_title_terms_and_annotators(source):
    facts = dataset_facts(source)
    assert facts.title
    assert facts.what.endswith(".")
    assert facts.licence.endswith(".")
    assert facts.licence != "Not stated."
    assert "as above" not in facts.licence
    assert facts.creators in HUB
    assert set(ANNOTATED) == set(READERS)


def test_facts_are_those_of_the_page_of_datasets():
    facts = dataset_facts("rafdb")
    assert facts.title == "RAF-DB"
    assert facts.licence == "Non-commercial research; no redistribution."
    assert facts.cite.startswith("S. Li, W. Deng and J. Du (2017)")
    assert facts.url == "http://www.whdeng.cn/RAF/model1.html"
    assert dataset_facts("fer2013_reshuffled").licence == dataset_facts("fer2013").licence
    assert dataset_facts("ferplus").cite.startswith("E. Barsoum et al. (2016)")


def test_faces_drawn_in_a_layout_are_control_faces():
    assert dataset_facts("control:ckplus") == dataset_facts("control")
    assert sources_of("control:ckplus and jaffe") == ["control:ckplus", "jaffe"]


def test_of_a_dataset_that_the_page_does_not_list_the_terms_are_not_stated(tmp_path):
    assert dataset_facts("mine").licence == "Not stated: data/raw/README.md lists no dataset mine."
    assert dataset_facts("fer2013", page=tmp_path / "absent.md").title == "fer2013"
    page = tmp_path / "README.md"
    page.write_text("| [Mine](#mine) | `mine` | 3 |\n")
    with pytest.raises(InputError, match="no section is called 'Mine'"):
        dataset_facts("mine", page=page)
    page.write_text("| [Mine](#mine) | `mine` | 3 |\n\n## Mine\n\nThree faces.\n\n*Licence.* Ask me.\n\n*Cite* me.\n")
    found = dataset_facts("mine", page=page)
    assert (found.what, found.licence, found.cite, found.annotated) == ("Three faces.", "Ask me.", "me.", "not recorded")
