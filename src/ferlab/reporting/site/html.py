"""From an executed notebook to a page of the site: prose first, code folded, every figure with its alt text.

Owns what happens between the two, and what is mended in the pages that Sphinx rendered; `ferlab.reporting.site.build` decides which notebooks
there are.
"""

from __future__ import annotations

import base64
import copy
import html
import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ferlab.colours import INKS
from ferlab.reporting.site.drawings import least_class

IMAGE, DRAWING = "image/png", "image/svg+xml"
TABLE = '<div class="table-box"'  # as `ferlab.reporting.html_tables.html_table` writes it
CAPTION = re.compile('<caption>(<span class="caption-text">)?')  # of a table of a notebook, or of Sphinx
BOX = re.compile(r'(<div class="table-box" [^>]*)aria-label="Table"(>)((?:(?!<div).)*?<caption>)(Table \d+)', flags=re.DOTALL)
NAMED_CELL = re.compile(rf"(<th [^>]*>)({'|'.join(INKS)})(</th>)")
Notebook = dict[str, Any]  # nbformat 4 as JSON; nbformat's NotebookNode is such a dict too, but its import costs a second


class Picture(NamedTuple):
    """A figure taken out of a notebook."""

    png: bytes
    alt: str
    svg: str = ""
    least: int = 0  # CSS pixels: the width that its text needs

    def write(self, folder: Path, stem: str) -> str:
        """Write the figure, as SVG where it has one; return the file's name."""
        file = folder / f"{stem}.{'svg' if self.svg else 'png'}"
        file.write_bytes(self.svg.encode() or self.png)
        return file.name


def caption_figures(notebook: Notebook) -> Notebook:
    """Return a copy whose figures have their alt text where MyST-NB looks for it, one figure to a cell, and a numbered caption below.

    `ferlab.reporting.style.show` puts the alt text beside the picture, in the output's metadata; its first sentence is the caption. MyST-NB's own
    captions would stand below every output of the cell.
    """
    notebook, number = copy.deepcopy(notebook), 0
    for cell in notebook["cells"]:
        if alt := " ".join(_alt(output) for output in cell.get("outputs", []) if _is_image(output)):
            number += 1
            place = max(place for place, output in enumerate(cell["outputs"]) if _is_image(output))
            cell["metadata"]["mystnb"] = {"image": {"alt": alt, "classes": least_class(_least(cell["outputs"][place]))}}
            cell["outputs"].insert(place + 1, _caption(f"Figure {number}. {first_sentence(alt)}"))
    return notebook


def first_sentence(alt: str) -> str:
    """Return the first sentence of an alt text, which names the figure, without Markdown's bold.

    >>> first_sentence("Accuracy of **all** runs, 3.5 % of it. Highest: 7.")
    'Accuracy of all runs, 3.5 % of it.'
    """
    return re.split(r"(?<=\.) (?=[A-Z0-9])", alt.replace("**", ""), maxsplit=1)[0].rstrip(".") + "."


def _caption(text: str) -> Notebook:
    shown = f'<p class="figure-caption">{html.escape(text)}</p>'
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": shown, "text/plain": text}}


def missing_alt_text(notebook: Notebook) -> list[str]:
    """Return the ids of the cells that show a figure without alt text, or two figures, which would share theirs."""
    shown = {cell["id"]: [output for output in cell.get("outputs", []) if _is_image(output)] for cell in notebook["cells"]}
    return [name for name, figures in shown.items() if len(figures) > 1 or not all(map(_alt, figures))]


def missing_captions(notebook: Notebook) -> list[str]:
    """Return the ids of the cells that show a table without caption."""
    shown = {cell["id"]: [_text(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", [])] for cell in notebook["cells"]}
    return [name for name, texts in shown.items() if any(text.count(TABLE) > text.count("<caption>") for text in texts)]


def pictures(notebook: Notebook) -> list[Picture]:
    """Return the figures of a notebook that have alt text, in order."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", []) if _is_image(output) and _alt(output)]
    return [_picture(output) for output in outputs]


def _picture(output: Notebook) -> Picture:
    data = output["data"]
    return Picture(base64.b64decode(_text(data[IMAGE])), _alt(output), _text(data.get(DRAWING, "")), _least(output))


def pick_picture(notebook: Notebook, *patterns: str) -> Picture | None:
    """Return the first figure whose alt text matches the first pattern that any matches, or the first figure, or None.

    Args:
        notebook: An executed notebook.
        patterns: Regular expressions, most wanted first; case is ignored.
    """
    shown = pictures(notebook)
    for pattern in patterns:
        for picture in shown:
            if re.search(pattern, picture.alt, flags=re.IGNORECASE):
                return picture
    return shown[0] if shown else None


def make_page(notebook: Notebook, *, name: str, lead: str = "", close: str = "", below: Mapping[str, str] | None = None) -> Notebook:
    """Return the notebook as the site shows it.

    Args:
        notebook: An executed notebook.
        name: The set or run, added to the title; empty for a stage that has neither.
        lead: Markdown set below the title, e.g. a banner.
        close: Markdown set at the end, e.g. the provenance.
        below: Markdown set below the first figure whose alt text begins with the key.
    """
    page = caption_figures(notebook)
    _swatch_tables(page)
    for number, (begins, text) in enumerate((below or {}).items()):
        _add_below(page, begins, _prose(text, id=f"below{number}"))
    page["metadata"] = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    _add_to_title(page, name=name, lead=lead)
    _hide_code(page)
    _drop_empty_text(page)
    if close:
        page["cells"].append(_prose(close, id="close"))
    return page


def mend_page(page: str) -> str:
    """Return a rendered page whose tables are numbered, and whose buttons and folds have names that hold what they show (WCAG 2.5.3, 4.1.2).

    MyST-NB names the fold of a cell otherwise than it reads; the theme gives the arrows of its list of pages no name, and shows keys in the button
    of the search, which is named without them.
    """
    page = _number_tables(page)
    page = page.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    page = re.sub(r'<span class="search-button__kbd-shortcut">.*?</span>', "", page, flags=re.DOTALL)
    arrow = r'(>([^<>]+)</a><details[^>]*><summary)(><span class="toctree-toggle" role="presentation">)'
    return re.sub(arrow, r'\1 aria-label="Pages of \2"\3', page)


def _number_tables(page: str) -> str:
    """Write each caption as "Table 3. What it shows.", and name the box of a table by the same number."""
    numbers = count(1)
    page = CAPTION.sub(lambda found: f"{found.group()}Table {next(numbers)}. ", page)
    return BOX.sub(r'\1aria-label="\4"\2\3\4', page)


def _swatch_tables(page: Notebook) -> None:
    """Set a swatch of its colour before each expression in the headings of a notebook's tables."""
    for cell in page["cells"]:
        for output in cell.get("outputs", []):
            if TABLE in (shown := _text(output.get("data", {}).get("text/html", ""))):
                output["data"]["text/html"] = NAMED_CELL.sub(_swatched, shown)


def _swatched(cell: re.Match[str]) -> str:
    opened, expression, closed = cell.groups()
    return f'{opened}<span class="swatch" style="background: {INKS[expression]}"></span>{expression}{closed}'


def _add_below(page: Notebook, begins: str, prose: Notebook) -> None:
    for place, cell in enumerate(page["cells"], 1):
        if any(_is_image(output) and _alt(output).startswith(begins) for output in cell.get("outputs", [])):
            page["cells"].insert(place, prose)
            return


def _prose(source: str, *, id: str) -> Notebook:
    return {"cell_type": "markdown", "id": id, "metadata": {}, "source": source}


def _text(value: str | list[str]) -> str:
    """Join what nbformat stores as a list of lines."""
    return value if isinstance(value, str) else "".join(value)


def _is_image(output: Notebook) -> bool:
    return IMAGE in output.get("data", {})


def _alt(output: Notebook) -> str:
    return " ".join(output.get("metadata", {}).get(IMAGE, {}).get("alt", "").split())


def _least(output: Notebook) -> int:
    return int(output.get("metadata", {}).get(IMAGE, {}).get("least_width", 0))


def _add_to_title(page: Notebook, *, name: str, lead: str) -> None:
    """Put the name behind the page's one H1 and the lead below it."""
    for cell in page["cells"]:
        if cell["cell_type"] == "markdown" and (title := re.search(r"^# (.+)$", _text(cell["source"]), flags=re.MULTILINE)):
            heading = f"# {title.group(1).strip()}" + (f" ({name})" if name else "")
            cell["source"] = "\n\n".join(filter(None, [heading, lead, _text(cell["source"])[title.end() :].strip()]))
            return
    page["cells"].insert(0, _prose("\n\n".join(filter(None, [f"# {name or 'Report'}", lead])), id="title"))


def _drop_empty_text(page: Notebook) -> None:
    """Remove what a cell displays as Markdown without text: Sphinx would print the repr of the object."""
    for cell in page["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [out for out in cell["outputs"] if _text(out.get("data", {}).get("text/markdown", "shown")).strip()]


def _hide_code(page: Notebook) -> None:
    """Leave out the set-up above the first section (parameters, imports, loading), fold all other code."""
    in_section = False
    for cell in page["cells"]:
        if cell["cell_type"] == "markdown":
            in_section |= bool(re.search(r"^## ", _text(cell["source"]), flags=re.MULTILINE))
        elif cell["cell_type"] == "code":
            tags = cell["metadata"].setdefault("tags", [])
            set_up = not in_section or {"parameters", "injected-parameters"} & set(tags)
            if set_up:
                tags.append("remove-input")
            elif "remove-input" not in tags:
                tags.append("hide-input")
