"""`ferlab predict`: pictures and videos in, lines or JSON or CSV out, a table and annotated copies beside them.

`check_job` finds all that is wrong with what is asked, before anything is read; `Job.run` reads file by file, and one that cannot be read costs no
other. The table is written while files are read and takes its name when all are: an interrupted command leaves the one from before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ferlab.data.preparation.detection import LEAST
from ferlab.deployment import annotating
from ferlab.deployment.annotating import Mark, annotate, mark_text, save_image
from ferlab.deployment.clip_files import open_clip
from ferlab.deployment.evidence import Explain, occlude
from ferlab.deployment.gathering import Given, gather
from ferlab.deployment.inputs import prepare_faces
from ferlab.deployment.listing import CLIP_COLUMNS, COLUMNS, check_table, confidence_notes, face_lines, named, picture_records, shown
from ferlab.deployment.predictor import Predictor, ReadPicture, shipped_card
from ferlab.deployment.printing import LINES, Output, open_table
from ferlab.deployment.video import ReadClip, ReadFrame, read_clip
from ferlab.deployment.video_listing import clip_lines, clip_notes, frame_records
from ferlab.paths import InputError

OCCLUSION = "occlusion"


@dataclass
class Job:
    """What is asked, checked; made by `check_job`, whose arguments the options are.

    Attributes:
        given: Pictures and videos.
        problems: Each folder that has none, and a line on it.
        predictor: The model.
        model: Its name in records.
        target: The table; None for none.
        save: The folder of annotated copies; None for none.
        places: Where the annotated copy of each file goes.
        explain: Returns maps of the evidence; None for none.
    """

    given: list[Given]
    problems: list[tuple[str, str]]
    predictor: Predictor
    model: str
    target: Path | None
    save: Path | None
    places: list[Path]
    explain: Explain | None
    method: str
    form: str
    top: int
    every: int
    whole: bool
    small: bool
    flip: bool
    read: list[tuple[str, bool, int | None]] = field(default_factory=list)  # of each face of pictures: expression, whether uncertain
    large: list[int] = field(default_factory=list)  # smallest face searched for in pictures where smaller ones may be
    clips: list[ReadClip] = field(default_factory=list)

    def run(self) -> list[str]:
        """Predict, and return one line for each file that could not be read, or not to its end."""
        for note in self.predictor.notes:
            _tell(f"{self.model}: {note}")
        unread = [problem for _, problem in self.problems]
        columns = self._columns()
        with open_table(self.target, columns) as table:
            output = Output(self.form, model=self.model, columns=columns, table=table)
            for name, problem in self.problems:
                output.unread(name, [problem])
            for number, each in enumerate(self.given):
                output.progress.show(f"{number:,} of {len(self.given):,}: {shown(each.name)}")
                told = (self._clip if each.clip else self._picture)(each, output, self.places[number] if self.places else None)
                output.unread(each.name, told)
                unread += told
                if not output.heard and self.target is None and not self.places:
                    break
            output.progress.clear()
        for note in self._notes():
            _tell(note)
        return unread

    def _columns(self) -> list[str]:
        clips = CLIP_COLUMNS if any(each.clip for each in self.given) else ()
        return [*COLUMNS, *(f"prob_{name}" for name in self.predictor.expressions), *clips]

    def _picture(self, each: Given, output: Output, place: Path | None) -> list[str]:
        """Predict one picture; return what could not be read of it."""
        try:
            pixels = each.picture()
            read = self.predictor.read_image(pixels, whole=self.whole, flip=self.flip, small=self.small)
            if place is not None:
                note = f"{self.method}: red speaks for the expression, blue against it" if self.explain and read.faces else ""
                save_image(annotate(pixels, self._marks(pixels, read), note=note), place)
        except InputError as error:
            return [named(each.name, str(error))]
        except Exception as error:  # noqa: BLE001 - whatever a library raises for one picture, the others are read and the table is written
            return [named(each.name, f"cannot be read ({type(error).__name__}: {error})")]
        self.read.extend((face.likeliest(1)[0], face.uncertain) for face in read.faces)
        if read.faces and read.smallest and read.smallest > LEAST:
            self.large.append(read.smallest)
        output.say(picture_records(each.name, read), face_lines(each.name, read, top=self.top), place=place)
        return []

    def _marks(self, pixels: np.ndarray, read: ReadPicture) -> list[Mark]:
        heats: Sequence[np.ndarray | None] = [None] * len(read.faces)
        seen: Sequence[np.ndarray | None] = heats
        steps = self.predictor.steps
        if self.explain and read.faces:
            if self.whole:
                faces = steps.change(pixels[None]) if steps else pixels[None]
                inputs = prepare_faces(faces, size=self.predictor.size, channels=self.predictor.channels)
            else:
                inputs = self.predictor.prepare_boxes(pixels, [face.box for face in read.faces])
                if steps and (steps.preparation.align != "none" or steps.preparation.margin):  # the map is of another part than the box
                    seen = [np.squeeze(np.round(255 * face).astype(np.uint8).transpose(1, 2, 0)) for face in inputs]
            heats = list(self.explain(inputs, np.array([face.probs.argmax() for face in read.faces])))
        marks = []
        for face, heat, shown_face in zip(read.faces, heats, seen, strict=True):
            best = face.likeliest(1)[0]
            text = mark_text(best, float(face.probs.max()), uncertain=face.uncertain)
            marks.append(Mark(face.box, best, text, face.uncertain, heat, shown_face))
        return marks

    def _clip(self, each: Given, output: Output, place: Path | None) -> list[str]:
        """Predict one video; return what could not be read of it."""
        marks: dict[int, list[Mark]] = {}
        try:
            with each.file() as path:
                clip = open_clip(path)
                clip.name = shown(each.name)

                def take(frame: ReadFrame) -> None:
                    output.say(frame_records(each.name, frame, self.predictor), [], place=place)
                    output.progress.show(f"{shown(each.name)}: {frame.number + 1:,}{f' of {clip.expected:,}' if clip.expected else ''} frames")
                    if place is not None:
                        marks[frame.number] = self._frame_marks(frame)

                options = {"every": self.every, "small": self.small, "flip": self.flip}
                read = read_clip(clip, self.predictor, on_frame=take, **options)
                self.clips.append(read)
                output.say([], clip_lines(each.name, read, top=self.top, small=self.small, confidence=self.predictor.confidence))
                if place is not None:
                    rate = clip.rate if np.isfinite(clip.rate) else clip.fps
                    annotating.save_clip(path, place, marks, rate=rate / self.every)
        except InputError as error:
            return [named(each.name, str(error))]
        except OSError:  # of the table
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library raises for one video, the others are read and the table is written
            return [named(each.name, f"cannot be read to its end ({type(error).__name__}: {error})")]
        return [shown(line) for line in clip.problems]

    def _frame_marks(self, frame: ReadFrame) -> list[Mark]:
        marks = []
        for face in frame.faces:
            name, unsure = self.predictor.expressions[face.label], bool(self.predictor.confidence.abstains(face.probs[None])[0])
            marks.append(Mark(face.box, name, mark_text(name, float(face.smoothed[face.label]), uncertain=unsure), unsure))
        return marks

    def _notes(self) -> Iterator[str]:
        """Yield what is to be said of all files together."""
        if self.large:
            note = f"faces below {max(self.large)} pixels were not searched for; --small searches for smaller ones"
            yield f"{len(self.large)} of the pictures are large: {note}"
        confidence = self.predictor.confidence
        yield from confidence_notes(confidence, [name for name, _ in self.read], uncertain=sum(unsure for _, unsure in self.read))
        yield from clip_notes(self.clips, confidence)
        if saved := sum(place.exists() for place in self.places):
            yield f"{saved:,} annotated {'copy' if saved == 1 else 'copies'} in {shown(str(self.save))}"


def check_job(
    names: Sequence[str],
    *,
    model: str | None = None,
    risk: float | None = None,
    table: str | None = None,
    save: str | None = None,
    method: str = "",
    explain: Explain | None = None,
    form: str = LINES,
    top: int = 3,
    every: int = 1,
    whole: bool = False,
    small: bool = False,
    flip: bool = True,
) -> Job:
    """Check what is asked of some pictures and videos.

    Args:
        names: As `ferlab.deployment.gathering.gather` takes them.
        model: The ONNX file; None for the shipped model.
        risk: Error rate among accepted faces, one of the model's card; None for the one that it states.
        table: A .csv to write as well: a row for each face, of videos for each face of each frame, with the probabilities of all expressions.
        save: A folder for annotated copies; what lies there already is never replaced.
        method: Of the maps on annotated pictures; "" for none. "occlusion" needs no `explain`.
        explain: Computes the maps of another method.
        form: What is printed: "lines", "json" (an object a line) or "csv".
        top: Expressions on a line, the most probable first.
        every: Look at every n-th frame of a video.
        whole: Whether each picture is one cropped face.
        small: Whether to search large pictures for small faces too.
        flip: Average over each face and its mirror image.

    Raises:
        InputError: If the model cannot be opened or has no threshold for that risk, a number is below 1, the table or a copy may not be written
            there, or maps are asked for without copies.
    """
    for option, number in (("--top", top), ("--every", every)):
        if number < 1:
            raise InputError(f"{option} {number}: expected 1 or more")
    if method and save is None:
        raise InputError(f"--map {method}: maps are drawn on annotated pictures; name their folder with --save DIR")
    if names.count("-") > 1:
        raise InputError("-: stands for the one picture on standard input; expected it once")
    folder = None if save is None else Path(save)
    given, problems = gather(names, aside=folder)
    target = None if table is None else check_table(table, [each.name for each in given])
    places = [] if folder is None else _free_places(given, folder)
    predictor = Predictor.load(model)
    predictor = predictor if risk is None else replace(predictor, confidence=predictor.confidence.at_risk(risk))
    if method == OCCLUSION:
        explain = partial(occlude, predict=partial(predictor.predict_inputs, flip=flip))
    options = {"method": method, "form": form, "top": top, "every": every, "whole": whole, "small": small, "flip": flip}
    return Job(given, problems, predictor, model or shipped_card().get("run", "shipped"), target, folder, places, explain, **options)


def predict_files(names: Sequence[str], **options: Any) -> list[str]:
    """Check and run a job: see `check_job` for the arguments and what raises, `Job.run` for the result."""
    return check_job(names, **options).run()


def _free_places(given: Sequence[Given], folder: Path) -> list[Path]:
    """Return where annotated copies go; files of one name in different folders are numbered.

    Raises:
        InputError: If the folder is a file, or something lies there under such a name.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--save {shown(str(folder))} is no folder; expected a new or empty one")
    taken: set[str] = set()
    places = []
    for each in given:
        place, number = folder / each.place, 1
        while str(place).casefold() in taken:
            number += 1
            place = folder / each.place.with_stem(f"{each.place.stem}_{number}")
        taken.add(str(place).casefold())
        places.append(place)
    if there := next((place for place in places if os.path.lexists(place)), None):
        raise InputError(f"--save {shown(str(folder))}: {shown(str(there))} is there already; name another folder, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--save {shown(str(folder))} cannot be made ({error.strerror}); name another folder") from None
    return places


def _tell(note: str) -> None:
    print(f"ferlab: {note}", file=sys.stderr)
