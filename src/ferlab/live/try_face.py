"""Try a face: models side by side on one picture, with their probabilities, how often such a prediction is right, and attribution maps."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import ipywidgets as widgets
import matplotlib
import numpy as np
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw, ImageFont

from ferlab.colours import COLOURS
from ferlab.data.preparation.detection import crop_box
from ferlab.deployment.face_search import find_faces, read_picture
from ferlab.explanation.methods import METHODS
from ferlab.live import panels
from ferlab.live.camera import Camera
from ferlab.live.frames import Still
from ferlab.live.model import LiveModel, known_models
from ferlab.live.neutral import subtract_neutral
from ferlab.paths import SHIPS, InputError

MAPS = {"none": "none", **{method.title: name for name, method in METHODS.items()}}
MOST_MODELS = 4
MAP_SIDE = 192  # pixels of a map on the page
WINDOW = {"window": 8, "stride": 4}  # cs230's


class TryFace(panels.Panel):
    """The panel; see the module. `TryFace()` at the end of a cell shows it."""

    def __init__(self, models: Sequence[str] = (SHIPS,)) -> None:
        """Make a panel.

        Args:
            models: The models that are selected at first, as `LiveModel.load` takes them.
        """
        self.loaded: dict[str, LiveModel] = {}
        self.still: Still | None = None
        self.neutral: dict[str, np.ndarray] = {}
        first = self._load(models[0])
        self.camera = Camera(first, uses=("camera", "picture"))
        known = list(dict.fromkeys([*known_models(), *models]))
        self.models = widgets.SelectMultiple(options=known, value=tuple(models), rows=min(max(len(known), 2), 6), description="Models")
        self.path = widgets.Text(placeholder="path of an .onnx file", description="Another")
        self.method = widgets.Dropdown(options=list(MAPS), value="none", description="Map")
        self.explained = widgets.Dropdown(options=["the prediction", *first.expressions], description="explains")
        self.flip = widgets.Checkbox(value=False, description="average over the face and its mirror image", indent=False)
        self.results, self.told = panels.live_region(), panels.live_region(urgent=True)
        self.keep_neutral = self._button("Use this face as my neutral", self._take_neutral)
        self.subtract = widgets.Checkbox(value=False, description="subtract my neutral face", indent=False, disabled=True)
        samples = panels.buttons(
            self._button("Sample photograph", lambda: self.camera.show(_sample(), name="a photograph of Grace Hopper")),
            self._button("Drawn face", self._draw),
            self._button("Search smaller faces", self._search),
        )
        options = widgets.VBox([self.models, self.path, self.method, self.explained, self.flip, panels.buttons(self.keep_neutral), self.subtract])
        self.save = widgets.HTML()
        right = widgets.VBox([self.results, self.save, widgets.Accordion([options], titles=("Models, maps and options",), selected_index=0)])
        super().__init__([panels.row(widgets.VBox([self.camera, samples, self.told]), right)])
        self.camera.on_still(self._show)
        self.camera.on_problem(lambda line: panels.announce(self.told, panels.note(line, "error")))
        for control in (self.models, self.method, self.explained, self.flip, self.subtract):
            control.observe(lambda _: self._update(), "value")
        self.path.observe(self._add, "value")
        self.path.continuous_update = False
        panels.announce(self.results, panels.quiet("The prediction appears here. Take or choose a picture, or start with a sample."))

    def _button(self, text: str, act: Callable[[], None]) -> widgets.Button:
        button = widgets.Button(description=text)
        button.on_click(lambda _: self._safely(act))
        return button

    def _safely(self, act: Callable[[], None]) -> None:
        """Run an act; an InputError becomes a line beside the camera."""
        try:
            panels.announce(self.told, "")
            act()
        except InputError as error:
            panels.announce(self.told, panels.note(error, "error"))

    def _load(self, name: str) -> LiveModel:
        if name not in self.loaded:
            self.loaded[name] = LiveModel.load(name)
        return self.loaded[name]

    def _add(self, change: dict[str, str]) -> None:
        def add() -> None:
            name = change["new"].strip()
            if name:
                self._load(name)
                selected, still = (*self.models.value, name), self.still
                self.still = None  # Keep: new options select nothing for a moment, which must not be predicted
                self.models.options = list(dict.fromkeys([*self.models.options, name]))
                self.still = still
                self.models.value = selected

        self._safely(add)

    def _draw(self) -> None:
        from ferlab.control.drawing.picture import draw_image
        from ferlab.control.specs import sample_spec

        self.drawn = getattr(self, "drawn", -1) + 1
        face = draw_image(sample_spec(7, self.drawn), 256, colour=True)
        self.camera.show(np.pad(face, ((64, 64), (64, 64), (0, 0)), mode="edge"), name="a drawn face")

    def _search(self) -> None:
        if self.still is None:
            raise InputError("No picture is shown yet: take or choose one first.")
        found = find_faces(self.still.picture, small=True)
        if not found.boxes:
            raise InputError(f"The Haar search finds no face of {found.smallest} pixels or more either. Draw a box over the picture with the mouse.")
        self.camera.propose(found.boxes)

    def _show(self, still: Still) -> None:
        self.still = still
        self._update()

    def _update(self) -> None:
        if self.still is not None:
            self._safely(self._predict)

    def _predict(self) -> None:
        names = list(self.models.value)[:MOST_MODELS]
        if not names:
            raise InputError("No model is selected; select one or more.")
        if (first := self._load(names[0])) is not self.camera.model:
            self.camera.model = first  # the boxes carry the first model's predictions
        if self.still is None or self.still.face is None:
            self.save.value = ""
            panels.announce(self.results, panels.note("No face is selected. Draw a box over the face, or search smaller faces.", "warning"))
            return
        if len(self.models.value) > MOST_MODELS:
            panels.announce(self.told, panels.note(f"The first {MOST_MODELS} of the selected models are shown.", "warning"))
        probs = {name: self._probs(name) for name in names}
        shown = [self._result(name, probs[name]) for name in names]
        panels.announce(self.results, f'<div class="fl-row">{"".join(shown)}</div>')
        self.save.value = _download(annotated(self.still, probs[names[0]], self._load(names[0]).expressions), name=self.still.name)

    def _probs(self, name: str) -> np.ndarray:
        model = self._load(name)
        probs = model.predict(self.still.picture, self.still.face.box, flip=self.flip.value)
        return subtract_neutral(probs, self.neutral[name], model=model) if self.subtract.value and name in self.neutral else probs

    def _take_neutral(self) -> None:
        """Keep the predictions for the selected face as those of the person's neutral face; the picture itself is not kept."""
        if self.still is None or self.still.face is None:
            raise InputError("No face is selected; take a picture of your neutral face first.")
        before, self.subtract.value = self.subtract.value, False
        self.neutral = {name: self._probs(name) for name in self.models.options if name in self.loaded}
        self.subtract.disabled = False
        self.subtract.value = before
        words = "Kept: the predictions for this face count as neutral for this person. Take another picture and tick the box to subtract them."
        panels.announce(self.told, panels.note(words, "done"))

    def _result(self, name: str, probs: np.ndarray) -> str:
        model = self._load(name)
        top = [model.expressions[place] for place in np.argsort(-probs, kind="stable")[:3]]
        values = dict(zip(model.expressions, probs, strict=True))
        uncertain = bool(model.confidence.abstains(probs[None])[0])
        first = f"{html.escape(top[0])} {100 * values[top[0]]:.0f} %"
        head = f"uncertain ({first})" if uncertain else panels.swatch(top[0]) + first
        second = ", ".join(f"{each} {100 * values[each]:.0f} %" for each in top[1:])
        parts = [f'<div class="fl-result"><h3>{html.escape(model.name)}</h3><div class="fl-large">{head}</div>', panels.quiet(f"then {second}")]
        if uncertain:
            parts.append(panels.note(model.confidence.abstention_sentence(), "warning"))
        parts += [panels.bars(probs, model.expressions), panels.quiet(model.confidence.sentence(top[0])), self._map(name, probs)]
        parts += [panels.note(note, "warning") for note in model.predictor.notes]
        return "".join([*parts, "</div>"])

    def _map(self, name: str, probs: np.ndarray) -> str:
        method = MAPS[self.method.value]
        if method == "none":
            return ""
        model, asked = self._load(name), self.explained.value
        if asked not in ("the prediction", *model.expressions):
            return panels.note(f"{name} does not know {asked}: choose another expression to explain, or the prediction.", "warning")
        chosen = int(probs.argmax()) if asked == "the prediction" else model.expressions.index(asked)
        try:
            face, heat = explain(model, self.still, method=method, explained_class=chosen)
        except InputError as error:
            return panels.note(error, "warning")
        what = f"{self.method.value} of {model.expressions[chosen]}"
        top = float(heat.max())
        signed = METHODS[method].signed
        words = f"{what}; the largest value is {top:.2g} ({METHODS[method].unit})" if top > 0 else f"{what}: nowhere positive"
        words += "; red supports it, blue opposes it" if signed else ""
        picture, told = panels.png_uri(overlay(face, heat, signed=signed)), html.escape(words)
        return f'<figure><img alt="{told}" src="{picture}"><figcaption class="fl-quiet">{told}</figcaption></figure>'


def explain(model: LiveModel, still: Still, *, method: str, explained_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the selected face as the model's training faces were prepared, uint8 (H, W) or (H, W, 3), and its attribution map, float32 (H, W).

    Raises:
        InputError: A method that the model's graph does not allow.
    """
    from ferlab.explanation.attributions import explain_faces

    face = crop_box(still.picture, tuple(round(value) for value in still.face.box))
    face = model.predictor.steps.change(face[None])[0] if model.predictor.steps else face
    small = np.asarray(Image.fromarray(face).resize((model.predictor.size,) * 2, Image.Resampling.BOX))
    heat = explain_faces(_module(model.path), small[None], explained_class=np.array([explained_class]), methods=[method], **WINDOW)[method][0]
    return small, heat


@cache
def _module(path: Path) -> object:
    from ferlab.deployment.as_torch import load_exported

    return load_exported(path)


def overlay(face: np.ndarray, heat: np.ndarray, *, signed: bool = False) -> Image.Image:
    """Return a map over its face, with the scale of its colours below: from 0 to its maximum, or as far below 0 as above if it is signed."""
    size = (MAP_SIDE, MAP_SIDE)
    top = max(float(np.abs(heat).max() if signed else heat.max()), 1e-12)
    ground = np.asarray(Image.fromarray(face).convert("RGB").resize(size, Image.Resampling.BILINEAR), np.float32)
    places = (heat / top + 1) / 2 if signed else np.clip(heat, 0, None) / top
    large = np.asarray(Image.fromarray(places.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    colour_map = matplotlib.colormaps["RdBu_r" if signed else "inferno"]
    colours, scale = (colour_map(values)[..., :3] * 255 for values in (large, np.tile(np.linspace(0, 1, MAP_SIDE), (10, 1))))
    gap = np.full((4, MAP_SIDE, 3), 255)
    return Image.fromarray(np.concatenate([0.45 * ground + 0.55 * colours, gap, scale]).astype(np.uint8))


def annotated(still: Still, probs: np.ndarray, expressions: Sequence[str]) -> Image.Image:
    """Return the picture with the box of the selected face and its prediction."""
    picture = Image.fromarray(still.picture).convert("RGB")
    unit = max(picture.size) / 400
    x, y, width, height = still.face.box
    top = int(probs.argmax())
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + width, y + height), outline=COLOURS.get(expressions[top], "#e69f00"), width=max(2, round(2 * unit)))
    text, font = f"{expressions[top]} {100 * probs[top]:.0f} %", ImageFont.load_default(size=max(10, 14 * unit))
    place = (max(x, 2), y - 18 * unit if y > 20 * unit else y + height + 2 * unit)
    draw.text(place, text, fill="white", font=font, stroke_width=max(1, round(unit)), stroke_fill="black")
    return picture


def _sample() -> np.ndarray:
    return read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False))


def _download(image: Image.Image, *, name: str) -> str:
    stem = Path(name or "camera").stem or "picture"
    named = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem)
    return f'<a class="fl-button" download="{named}-expression.png" href="{panels.png_uri(image)}">Save the annotated picture</a>'
