"""Figures as part of a page: the SVG of `ferlab.reporting.style.show` inline, in the colours of the reader's theme, never too small to read.

Owns what becomes of an SVG's colours on a dark page. Colours are lightened until they stand out; a grey that is dark, or light,
on white is as light, or dark, on a dark page. What stands in a cell of a heat map stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ferlab.colours import PAGE_INK, PAGE_LINE, contrast

WHITE, DARK = "#ffffff", "#14181e"  # the grounds of the theme
OF_TEXT, OF_MARKS = 4.5, 3.0  # least contrast, WCAG 2.1: 1.4.3 and 1.4.11
POINT = 4 / 3  # CSS pixels
GREY = 12  # channels that differ by less
SVG, HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
COLOUR = re.compile(r"(fill|stroke): (#[0-9a-f]{6})")
NUMBER = re.compile(r"-?\d+\.\d{3,}")
SHOWN = re.compile(r"<img [^>]*>")
ATTRIBUTE = re.compile(r'([a-z]+)="([^"]*)"')
LEAST = re.compile(r"least-(\d+)")

ElementTree.register_namespace("", SVG.strip("{}"))


def least_class(least: int) -> str:
    """Return the class of an image from which `inline_drawings` takes the width that it keeps."""
    return f"least-{least}"


def inline_drawings(page: str, folder: Path) -> str:
    """Return a rendered page whose figures, the images of class `least_class`, are set into it as drawings, and keep a width that can be read.

    Args:
        page: HTML.
        folder: The page's folder, from which it names its images.
    """
    numbers = iter(range(1, len(page)))

    def replaced(image: re.Match[str]) -> str:
        told = dict(ATTRIBUTE.findall(image[0]))
        if (least := LEAST.search(told.get("class", ""))) is None:
            return image[0]
        file = folder / told["src"]
        svg = file.read_text(encoding="utf-8") if file.suffix == ".svg" else ""
        return draw(svg, told["alt"], least=int(least[1]), name=f"drawing{next(numbers)}") if svg else _boxed(image[0], int(least[1]))

    return SHOWN.sub(replaced, page)


def draw(svg: str, alt: str, *, least: int, name: str) -> str:
    """Return an SVG of matplotlib as HTML whose colours follow the theme, in a box that scrolls where its text would become too small.

    Args:
        svg: The drawing, text as text.
        alt: Its alternative text, escaped.
        least: The width that it keeps, in CSS pixels.
        name: Begins its ids; one of its own on a page.
    """
    root = ElementTree.fromstring(svg)
    _drop_ground(root)
    _theme(root, inside="")
    _name_parts(root, name)
    width, height = (float(number) for number in root.get("viewBox", "").split()[2:])
    root.attrib.clear()
    root.attrib |= {"viewBox": f"0 0 {width:.2f} {height:.2f}", "role": "img", "class": "drawing"}
    root.set("style", f"width: min(100%, {max(least, POINT * width):.0f}px); min-width: {least}px")
    return f'<div class="drawing-box">{_written(root, alt)}</div>'


def _boxed(image: str, least: int) -> str:
    wide = f'<img style="min-width: calc({least}px + 1.35rem)" '  # with the edge of its card
    return f'<div class="drawing-box">{image.replace("<img ", wide, 1)}</div>'


def _written(root: ElementTree.Element, alt: str) -> str:
    for element in root.iter():  # line ends between elements
        element.tail = None
        if not (element.text or "").strip():
            element.text = None
    return ElementTree.tostring(root, encoding="unicode").replace("<svg ", f'<svg aria-label="{alt}" ', 1)


def _drop_ground(root: ElementTree.Element) -> None:
    """Remove the sheet that the figure is drawn on, and rules that would hold for the whole page."""
    for figure in root.findall(f"{SVG}g"):
        if (sheet := figure.find(f"{SVG}g[@id='patch_1']")) is not None:
            figure.remove(sheet)
    for rules in root.findall(f"{SVG}defs"):
        if rules.find(f"{SVG}style") is not None:
            root.remove(rules)


def _theme(element: ElementTree.Element, *, inside: str) -> None:
    """Give an element and its parts the colours of the theme; what stands in cells or on a label keeps its own."""
    kind = element.get("id", "").rpartition("_")[0]
    inside = kind if kind in ("QuadMesh", "text") else inside
    style = element.get("style", "")
    if element.tag == f"{SVG}text":
        element.set("style", COLOUR.sub(lambda found: f"{found[1]}: {_text_colour(found[2])}", re.sub(r"font-family: [^;]+;? ?", "", style)))
    elif inside != "text":
        if "fill:" not in style and element.tag in (f"{SVG}path", f"{SVG}use") and not element.get("id"):
            style = f"fill: #000000; {style}"  # matplotlib does not write black; shapes with an id have the colours of their user
        kept = "fill" if inside == "QuadMesh" else ""
        if style:
            element.set("style", COLOUR.sub(lambda found: found[0] if found[1] == kept else f"{found[1]}: {_mark_colour(found[2])}", style))
    for part in element:
        _theme(part, inside=inside)


def _text_colour(colour: str) -> str:
    if colour == PAGE_INK.lower():
        return "currentColor"
    if colour in (WHITE, "#000000"):
        return colour  # chosen for the cell below
    return _by_theme(legible(colour, WHITE, OF_TEXT), legible(colour, DARK, OF_TEXT))


def _mark_colour(colour: str) -> str:
    own = {PAGE_INK.lower(): "currentColor", PAGE_LINE.lower(): "var(--drawing-line)", WHITE: "var(--drawing-ground)"}
    return own.get(colour) or _by_theme(colour, _on_dark(colour))


def _by_theme(light: str, dark: str) -> str:
    return light if light == dark else f"light-dark({light}, {dark})"


@cache
def _on_dark(colour: str) -> str:
    if np.ptp(_channels(colour)) >= GREY or contrast(colour, WHITE) >= OF_MARKS <= contrast(colour, DARK):
        return legible(colour, DARK, OF_MARKS)
    wanted = contrast(colour, WHITE)
    greys = [f"#{level:02x}{level:02x}{level:02x}" for level in range(int(_channels(DARK).max()), 256)]
    return min(greys, key=lambda grey: abs(contrast(grey, DARK) - wanted))


@cache
def legible(colour: str, ground: str, least: float) -> str:
    """Return a colour, mixed with as much white or black as it takes to stand out from a ground by a contrast.

    >>> legible("#0072b2", "#14181e", 4.5), legible("#0072b2", "#ffffff", 4.5)
    ('#2888be', '#0072b2')
    """
    end = WHITE if contrast(WHITE, ground) > contrast("#000000", ground) else "#000000"
    shares = np.linspace(0, 1, 65)[:, None]
    mixed = ((1 - shares) * _channels(colour) + shares * _channels(end)).round().astype(int)
    tried = ("#" + "".join(f"{channel:02x}" for channel in each) for each in mixed)
    return next((each for each in tried if contrast(each, ground) >= least), end)


def _channels(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])


def _name_parts(root: ElementTree.Element, name: str) -> None:
    """Keep the ids that the drawing itself refers to, under names of its own; shorten its numbers."""
    used = set(_references(root))
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in used:
            element.set("id", f"{name}-{own}")
        if (link := element.attrib.pop(HREF, None)) is not None:
            element.set("href", f"#{name}-{link[1:]}" if link.startswith("#") else link)
        for key in ("clip-path", "style"):
            if "url(#" in element.get(key, ""):
                element.set(key, element.attrib[key].replace("url(#", f"url(#{name}-"))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        for key in ("d", "transform", "x", "y"):
            if key in element.attrib:
                element.set(key, " ".join(NUMBER.sub(lambda number: f"{float(number[0]):.2f}", element.attrib[key]).split()))


def _references(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        yield from re.findall(r"url\(#([^)]+)\)", f"{element.get('clip-path', '')} {element.get('style', '')}")
        if element.get(HREF, "").startswith("#"):
            yield element.attrib[HREF][1:]
