"""What is known of a dataset beside its faces: where it comes from, its terms, how to cite it, who annotated it.

Terms and citation are read from data/raw/README.md, the page that tells a reader how to get a dataset, so that they stand in one place. A dataset may
never be passed on, so cards and crates name it and hold no face of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ferlab import paths
from ferlab.paths import InputError

PAGE = Path("data", "raw", "README.md")

# Who gave the labels, and the word of Hugging Face's dataset cards for it.
ANNOTATED: dict[str, tuple[str, str]] = {
    "affectnet": ("twelve annotators, each face by one of them (Mollahosseini et al., 2017)", "expert-generated"),
    "captured": ("the people who were asked to show the expression, where labelled again also others", "crowdsourced"),
    "ckplus": ("posed on instruction; labels checked against the action units that FACS coders scored (Lucey et al., 2010)", "expert-generated"),
    "class_folders": ("whoever made the folders", "other"),
    "control": ("those that the faces were drawn with, true by construction", "machine-generated"),
    "fer2013": ("the words of image searches, faces then filtered by people (Goodfellow et al., 2013)", "found"),
    "fer2013_reshuffled": ("the words of image searches, faces then filtered by people (Goodfellow et al., 2013)", "found"),
    "ferplus": ("ten people per face (Barsoum et al., 2016)", "crowdsourced"),
    "jaffe": ("posed on instruction, rated by 60 viewers (Lyons et al., 1998)", "other"),
    "listed": ("whoever made the list", "other"),
    "rafdb": ("about 40 people per face (Li et al., 2017)", "crowdsourced"),
}
UNKNOWN = ("not recorded", "other")
INHERITED = {"fer2013_reshuffled": "fer2013"}  # copies, under the terms and citation of the original


@dataclass(frozen=True)
class Facts:
    """Of one dataset.

    Attributes:
        dataset: As its reader calls it.
        title: Its name.
        what: Its faces, in a sentence.
        licence: Its terms.
        cite: How its authors ask to be cited; "" where nobody does.
        url: Where it is to be had, or the paper; "" where neither is known.
        annotated: Who gave the labels.
        creators: The same, as a word of Hugging Face's.
    """

    dataset: str
    title: str
    what: str
    licence: str
    cite: str
    url: str
    annotated: str
    creators: str


CONTROL = Facts(
    "control",
    "Control faces",
    "Synthetic faces, drawn from facial action units by ferlab; the truth about each is known.",
    "MIT, as the code that draws them.",
    "",
    "",
    *ANNOTATED["control"],
)


def dataset_facts(source: str, *, page: Path | None = None) -> Facts:
    """Return what is known of a source of faces; of one that the page does not list (a reader of one's own), that its terms are not stated.

    Args:
        source: As the face table calls it: a reader, or "control:<layout>" of faces drawn in a dataset's layout.
        page: The page of datasets; that of this clone by default.

    Raises:
        InputError: If the page lists the dataset and has no section of its title.
    """
    if source.partition(":")[0] == "control":
        return CONTROL
    place = page or paths.ROOT / PAGE
    text = place.read_text(encoding="utf-8") if place.is_file() else ""
    row = re.search(rf"^\| \[([^\]]+)\]\(#[^)]*\) \| `{re.escape(source)}` \|", text, flags=re.MULTILINE)
    if row is None:
        stated = f"Not stated: {PAGE.as_posix()} lists no dataset {source}."
        return Facts(source, source, "Read by a reader of one's own.", stated, "", "", *UNKNOWN)
    section = _section(text, row[1])
    if source in INHERITED:
        other = dataset_facts(INHERITED[source], page=page)
        annotated, creators = ANNOTATED[source]
        return replace(other, dataset=source, title=row[1], what=_first_sentence(section), annotated=annotated, creators=creators)
    paragraphs = [" ".join(part.split()) for part in section.split("\n\n")]
    licence = next((part for part in paragraphs if part.startswith("*Licence")), None)
    inherited = re.search(r"(?<=\*Licence\*: )[^.]*\.|Licence and citation[^.]*\.", " ".join(section.split()))
    told = re.sub(r"^\*Licence\.?\*:?\s*", "", licence.split("*Cite*")[0]) if licence else ""
    cite = next((part.partition("*Cite*")[2] for part in paragraphs if "*Cite*" in part), "")
    link = re.search(r"https?://[^\s)\]]+", section)
    return Facts(
        source,
        row[1],
        _first_sentence(section),
        _plain((told or (inherited[0] if inherited else "Not stated.")).strip()),
        _plain(cite.strip()),
        link[0] if link else "",
        *ANNOTATED.get(source, UNKNOWN),
    )


def sources_of(dataset: str) -> list[str]:
    """Return the sources of what metrics call a dataset, "fer2013 and jaffe"."""
    return [source for source in dataset.split(" and ") if source]


def _section(text: str, title: str) -> str:
    """Return a section of the page; its heading may begin in another case."""
    heads = [*re.finditer(r"^## (.+)$", text, flags=re.MULTILINE)]
    wanted = {"FER2013, reshuffled": "The reshuffled copy of FER2013 (28,821 images)"}.get(title, title).lower()
    for place, head in enumerate(heads):
        if head[1].lower() == wanted:
            return text[head.end() : heads[place + 1].start() if place + 1 < len(heads) else len(text)].strip()
    raise InputError(f"{PAGE.as_posix()}: no section is called {title!r}")


def _first_sentence(section: str) -> str:
    return _plain(" ".join(section.split("\n\n")[0].split()).split(". ")[0].rstrip(".") + ".")


def _plain(text: str) -> str:
    """Return Markdown without links and marks."""
    return re.sub(r"[*`]", "", re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"\1", text)).strip()
