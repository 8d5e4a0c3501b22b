"""pandas' HTML tables made fit for a page: a box that scrolls, words to the left, numbers to the right, one row of headings."""

from __future__ import annotations

import re

ROW = re.compile(r"<tr.*?</tr>", flags=re.DOTALL)
CELL = re.compile(r"<t([hd])([^>]*)>(.*?)</t\1>", flags=re.DOTALL)
LONG = 40  # characters; longer cells may wrap, in a column that is wide enough to read
NUMBER = re.compile(r"\s*(?:[-+−–(]?\s*[\d.].*|[-–]?|nan|NaN|None)\s*", flags=re.DOTALL)


def scrolling_tables(html: str) -> str:
    """Return pandas' HTML with each table in a box of its own that scrolls on a narrow screen; pandas' style block goes.

    The box can be focused, so that it also scrolls by keyboard (WCAG 2.1.1).
    """
    html = re.sub(r"<style scoped>.*?</style>\s*", "", html, flags=re.DOTALL)
    return re.sub(r"<table.*?</table>", lambda table: _boxed(table.group()), html, flags=re.DOTALL)


def _boxed(table: str) -> str:
    table = table.replace('<table border="1" class="dataframe">', '<table class="dataframe">')
    table = table.replace('<tr style="text-align: right;">', "<tr>")
    table = _align_words(_one_heading_row(table))
    return f'<div class="table-box" tabindex="0" role="region" aria-label="Table">{table}</div>'


def _one_heading_row(table: str) -> str:
    """Bring the name of the index, to which pandas gives a row of its own, up into the empty corner."""
    head = re.search(r"<thead>.*?</thead>", table, flags=re.DOTALL)
    rows = ROW.findall(head.group()) if head else []
    if len(rows) != 2:
        return table
    top, names = ([content for _, _, content in CELL.findall(row)] for row in rows)
    width = len(top)
    named = next((place for place, name in enumerate(names) if not name), width)
    if len(names) != width or any(names[named:]) or any(top[:named]) or not named:
        return table
    merged = "".join(f"<th>{name}</th>" for name in names[:named] + top[named:])
    return table.replace(head.group(), f"<thead><tr>{merged}</tr></thead>")


def _align_words(table: str) -> str:
    """Mark the columns that hold words. Cells are counted from the right, since an index that spans rows leaves some out on the left."""
    body = table[table.find("<tbody>") :]
    rows = [[content for kind, _, content in CELL.findall(row) if kind == "d"][::-1] for row in ROW.findall(body)]
    words = {place: "words" for row in rows for place, content in enumerate(row) if not NUMBER.fullmatch(content)}
    words |= {place: "words prose" for row in rows for place, content in enumerate(row) if place in words and len(content) > LONG}
    return ROW.sub(lambda row: _marked(row.group(), words), table) if words else table


def _marked(row: str, words: dict[int, str]) -> str:
    cells = list(CELL.finditer(row))
    for place, cell in enumerate(reversed(cells)):
        if place in words and (cell.group(1) == "d" or all(c.group(1) == "h" for c in cells)):
            start = cell.start() + len("<th")
            row = f'{row[:start]} class="{words[place]}"{row[start:]}'
    return row
