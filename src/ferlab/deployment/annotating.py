"""Annotated pictures and videos: the boxes of faces in the colour of their expression, its name and probability, and on demand a map of the evidence.

A small picture is enlarged, so that its words can be read; words stand on a ground of the expression's colour, dark enough for white letters, and
lie on no other label where there is room. A box of dashes marks an uncertain prediction. A map is laid over its face in grey: skin is red itself.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ferlab.colours import COLOURS, INKS
from ferlab.deployment.clip_files import open_clip
from ferlab.deployment.face_search import Box
from ferlab.paths import InputError, write_whole
from ferlab.terminal import quiet_stderr

SMALLEST = 480  # pixels of the longer side of an annotated picture; a smaller one is enlarged by a whole number
LEAST_LETTERS, LETTERS = 14, 1 / 48  # height of letters in pixels at least, and as a fraction of the longer side
OTHER, OTHER_INK = "#E69F00", "#7A5600"  # of expressions that have no colour
FOR, AGAINST = (214, 39, 24), (33, 102, 200)  # colours of evidence for the expression and against it
STRONGEST = 0.75  # opacity of the strongest evidence
QUALITY = 92  # of JPEG
CODEC = "mp4v"  # MPEG-4 Visual: what OpenCV's packages write into MP4
LUMA = np.array([0.299, 0.587, 0.114])

Area = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Mark:
    """One face of an annotated picture.

    Attributes:
        box: x, y, width, height in pixels of the picture; it may extend beyond it.
        expression: Decides the colour.
        text: On the label.
        uncertain: Whether the box is dashed.
        heat: Map of the evidence, float32 (h, w), > 0 for the expression; None for none. Its largest absolute value is the strongest colour.
        seen: The face that the map belongs to, uint8 (h, w) or (h, w, 3), where the model aligns it: it is shown in the box. None: the box itself.
    """

    box: Box
    expression: str
    text: str
    uncertain: bool = False
    heat: np.ndarray | None = None
    seen: np.ndarray | None = None


def mark_text(expression: str, prob: float, *, uncertain: bool = False) -> str:
    """Return the text of a label.

    >>> mark_text("happy", 0.927), mark_text("sad", 0.41, uncertain=True)
    ('happy 93 %', 'uncertain: sad 41 %')
    """
    return f"{'uncertain: ' if uncertain else ''}{expression} {100 * prob:.0f} %"


def annotate(picture: np.ndarray, marks: Sequence[Mark], *, note: str = "") -> Image.Image:
    """Return a copy of a picture with its faces marked.

    Args:
        picture: uint8 (H, W) or (H, W, 3) in RGB.
        marks: Its faces.
        note: A line below the picture, such as what its maps show.

    Returns:
        RGB; larger than the picture by a whole number where that is smaller than `SMALLEST`.
    """
    image = Image.fromarray(picture).convert("RGB")
    factor = max(1, -(-SMALLEST // max(image.size)))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    size = max(LEAST_LETTERS, round(max(image.size) * LETTERS))
    font = ImageFont.load_default(size)
    scaled = [tuple(factor * value for value in mark.box) for mark in marks]
    for mark, box in zip(marks, scaled, strict=True):
        if mark.heat is not None:
            _lay_map(image, mark, box)
    draw = ImageDraw.Draw(image)
    for mark, box in zip(marks, scaled, strict=True):
        dash = max(2, min(2 * size // 3, box[3] // 7)) if mark.uncertain else 0
        _draw_box(draw, box, colour=COLOURS.get(mark.expression, OTHER), width=max(2, min(size, box[3] // 3) // 7), dash=dash)
    taken: list[Area] = []
    for mark, box in zip(marks, scaled, strict=True):
        own = font.font_variant(size=max(LEAST_LETTERS, min(size, box[3] // 3)))  # small faces of a large picture stand close together
        others = [(x, y, x + wide, y + high) for x, y, wide, high in scaled if (x, y, wide, high) != box]
        area = _label_area(draw.textbbox((0, 0), mark.text, font=own), box, image.size, taken=taken, others=others)
        draw.rectangle(area, fill=INKS.get(mark.expression, OTHER_INK))
        draw.text(((area[0] + area[2]) / 2, (area[1] + area[3]) / 2), mark.text, fill="white", font=own, anchor="mm")
        taken.append(area)
    return _with_note(image, note, font=font, size=size) if note else image


def save_image(image: Image.Image, path: Path) -> None:
    """Write an annotated picture, PNG or JPEG by the name's ending, whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    image.save(content, format="PNG" if path.suffix == ".png" else "JPEG", quality=QUALITY, subsampling=0)
    write_whole(path, content.getvalue())


def save_clip(source: Path, target: Path, marks: Mapping[int, Sequence[Mark]], *, rate: float) -> None:
    """Write a video again as MP4 with the faces of its frames marked, whole or not at all; without its sound.

    Args:
        source: The video.
        target: The new file; its folder is made.
        marks: Faces by the number of their frame; frames that are no key are passed by.
        rate: Frames a second.

    Raises:
        InputError: If OpenCV cannot write there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.stem}.{os.getpid()}.part{target.suffix}")
    clip, writer, size, written = open_clip(source), None, (0, 0), 0
    try:
        for frame in clip.frames():
            if frame.number not in marks:
                continue
            image = annotate(frame.picture, marks[frame.number])
            if writer is None:
                size, writer = image.size, _open_writer(beside, image.size, rate=rate)
            writer.write(cv2.cvtColor(np.asarray(image if image.size == size else image.resize(size)), cv2.COLOR_RGB2BGR))
            written += 1
        if writer is not None:
            writer.release()
        if not written or not _holds(beside, written):
            raise InputError(f"{target} cannot be written; see that its folder can be, and has room")
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _open_writer(path: Path, size: tuple[int, int], *, rate: float) -> cv2.VideoWriter:
    exact = round(rate, 3 - (rate > 65) - (rate > 655))  # MPEG-4 states a rate as a fraction of numbers up to 65,535
    with quiet_stderr():
        return cv2.VideoWriter(str(path.absolute()), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODEC), exact, size)


def _holds(path: Path, frames: int) -> bool:
    """Return whether a written video can be opened and has so many frames: OpenCV does not report a full disk."""
    try:
        return open_clip(path).expected == frames
    except InputError:
        return False


def _lay_map(image: Image.Image, mark: Mark, box: tuple[int, ...]) -> None:
    """Colour the face in a box by its map: red for the expression, blue against it, the stronger the less of the face shows."""
    x, y, width, height = box
    heat = np.asarray(mark.heat, np.float32) / max(float(np.abs(mark.heat).max()), 1e-12)
    large = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))[..., None]
    ground = image.crop((x, y, x + width, y + height)) if mark.seen is None else Image.fromarray(mark.seen).convert("RGB").resize((width, height))
    grey = (np.asarray(ground, np.float32) @ LUMA)[..., None]
    opacity = STRONGEST * np.abs(large)
    coloured = (1 - opacity) * grey + opacity * np.where(large > 0, FOR, AGAINST)
    image.paste(Image.fromarray(coloured.round().astype(np.uint8)), (x, y))


def _draw_box(draw: ImageDraw.ImageDraw, box: tuple[int, ...], *, colour: str, width: int, dash: int) -> None:
    x, y, wide, high = box
    right, bottom = x + wide, y + high
    if not dash:
        draw.rectangle((x - 1, y - 1, right + 1, bottom + 1), outline="white", width=width + 2)  # shows on a ground of the same colour
        draw.rectangle((x, y, right, bottom), outline=colour, width=width)
        return
    for near, start, end in ((y, x, right), (bottom, x, right), (x, y, bottom), (right, y, bottom)):
        for place in range(start, end, 2 * dash):
            line, level = (place, min(place + dash, end)), near in (y, bottom) and (start, end) == (x, right)
            ends = (line[0], near, line[1], near) if level else (near, line[0], near, line[1])
            draw.line(ends, fill="white", width=width + 2)
            draw.line(ends, fill=colour, width=width)


def _label_area(text: Area, box: Sequence[int], size: tuple[int, int], *, taken: Sequence[Area], others: Sequence[Area]) -> Area:
    """Return where a label lies: above its box, else below it or inside; in the picture, and on no label or other face where there is room."""
    gap = (text[3] - text[1]) / 3
    wide, high = text[2] - text[0] + 2 * gap, text[3] - text[1] + 2 * gap
    x = min(max(box[0], 0), max(size[0] - wide, 0))
    above, below, inside = box[1] - high, box[1] + box[3], box[1]
    heights = [*(above, below, inside), *(above - step * high for step in (1, 2, 3)), *(below + step * high for step in (1, 2, 3))]
    areas = [(x, y, x + wide, y + high) for y in heights]
    within = [area for area in areas if area[1] >= 0 and area[3] <= size[1]]
    free = [area for area in within if not any(_overlap(area, other) for other in taken)]
    best = [area for area in free if not any(_overlap(area, other) for other in others)]
    y = min(max(inside, 0), max(size[1] - high, 0))
    return (best or free or within or [(x, y, x + wide, y + high)])[0]


def _overlap(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _with_note(image: Image.Image, note: str, *, font: ImageFont.FreeTypeFont, size: int) -> Image.Image:
    """Return the picture with lines of text below, as wide as it is."""
    lines: list[str] = []
    for word in note.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= image.width - size:
            lines[-1] = longer
        else:
            lines.append(word)
    whole = Image.new("RGB", (image.width, image.height + round(1.3 * size * len(lines) + size / 2)), "white")
    whole.paste(image)
    ImageDraw.Draw(whole).multiline_text((size // 2, image.height + size // 4), "\n".join(lines), fill="black", font=font, spacing=round(0.3 * size))
    return whole
