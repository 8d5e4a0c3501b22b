"""Escaping of values in pages: names, paths and labels that people chose stand in prose, where Markdown would let them be HTML.

When a page has been read, each tag that Markdown let through and that is none of ours becomes text. Tables and boxes that notebooks show as
HTML escape their contents.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

# The only tags that our Markdown writes; see `ferlab.reporting.site.cards`.
OWN = re.compile(r'<span class="(aside|keep|rule)">|</span>|<details class="plain"><summary>[^<>]*</summary><pre>[^<>]*</pre></details>')
SHOWN = "text_html"  # the class of what a notebook shows as HTML
ELSEWHERE = re.compile(r"\s*([a-zA-Z][a-zA-Z0-9+.-]*:|//)")  # an address with a scheme, or of another server


def disarm(_: Any, page: nodes.document) -> None:
    """Turn foreign tags, and pictures that lie elsewhere, into text; Sphinx calls it for each page as it was read.

    Args:
        page: Changed in place.
    """
    for node in list(page.findall(nodes.raw)):
        if not OWN.fullmatch(node.astext().strip()) and SHOWN not in node.get("classes", ()):
            _replace(node, node.astext())
    for node in list(page.findall(nodes.image)):
        if ELSEWHERE.match(node.get("uri", "")):
            _replace(node, f"![{node.get('alt', '')}]({node['uri']})")
    for text in [text for title in page.findall(nodes.title) for text in title.findall(nodes.Text)]:
        if "<" in text:  # Keep: the theme builds the list of headings from their HTML, unescaped
            text.parent.replace(text, nodes.Text(text.replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}")))
    for node in list(page.findall(nodes.reference)):
        scheme = ELSEWHERE.match(node.get("refuri", ""))
        if scheme and scheme.group(1).lower() not in ("http:", "https:", "mailto:"):
            _replace(node, node.astext())


def escape_tags(text: str) -> str:
    r"""Escape what Markdown would read as a tag, for files that no Sphinx renders.

    >>> print(escape_tags("p < .001, <img src=x>"))
    p < .001, \<img src=x>
    """
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text.replace("\\", "\\\\"))


def _replace(node: nodes.Element, text: str) -> None:
    inline = isinstance(node.parent, nodes.TextElement)
    node.replace_self(nodes.Text(text) if inline else nodes.paragraph("", text))
