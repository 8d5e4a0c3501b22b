"""The control-face bench: a page on which a reader moves action units, light, pose, subject and occluder, and sees face, truth, prediction and map.

The page is whole without scripts: its first face, truth and prediction are drawn here. With scripts the browser draws every other face
(`reports/_static/bench`, held to `ferlab.control` by a test) and runs the model. A page opened from a file may fetch nothing, so the runtime
(onnxruntime-web, as the live panels pack it) and the model lie beside it as scripts that assign their bytes.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ferlab.colours import COLOURS
from ferlab.control.action_units import ACTION_UNIT_REGIONS, ACTION_UNITS, COMBINATIONS, REGIONS, Unit, regions_of
from ferlab.control.drawing.masks import draw_masks
from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import OCCLUDERS, FaceSpec, Identity, Light, Pose, sample_identity
from ferlab.live.parts import STATIC, packed
from ferlab.opencv import one_thread
from ferlab.params import Params
from ferlab.reporting.faces import lit
from ferlab.reporting.site import cards
from ferlab.reporting.site.bench_model import BenchModel, choose_model, predict

PAGE = "bench"
SIZE = 128  # pixels of the face that is shown
SUBJECTS = (30, 4, 9, 11, 16, 24, 7, 2, 13, 5, 21, 27)  # of seed 0: skin tones, hair styles, beards and glasses apart
STRENGTH = 0.6  # of the units that a button sets
UNIT_GROUPS = {
    "Upper face": "action units by their number in the Facial Action Coding System",
    "Lower face": "",
    "One side": "R and L are the person's own right and left",
}
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
STILL = "Without scripts this page shows one face, its ground truth and its prediction."
TRUTHS = ("regions", "units", "outline")
PLACE = "Sliders for action units, subject, light, pose, camera and occluder; face, ground truth, prediction and attribution maps."  # found by search
SCRIPTS = ("random", "raster", "shape", "layers", "paint", "masks", "model", "bench")
LEAD = (
    "Move an action unit, the light or the pose: this page draws the face and its ground truth, and computes the model's probabilities and its"
    " attribution maps."
)


@dataclass(frozen=True)
class Slider:
    """A slider of the page: where its value goes in the spec, in whole steps of `scale`."""

    name: str
    path: str
    label: str
    low: float
    high: float
    value: float = 0
    step: float = 1
    scale: float = 1
    unit: str = ""


LIGHT = (
    Slider("azimuth", "light.azimuth", "Azimuth", -90, 90, 25, unit="°"),
    Slider("elevation", "light.elevation", "Elevation", -10, 80, 30, unit="°"),
    Slider("ambient", "light.ambient", "Ambient light", 0, 100, 45, scale=0.01, unit=" %"),
)
POSE = (
    Slider("yaw", "pose.yaw", "Yaw", -35, 35, unit="°"),
    Slider("pitch", "pose.pitch", "Pitch", -25, 25, unit="°"),
    Slider("roll", "pose.roll", "Roll", -25, 25, unit="°"),
)
CAMERA = (
    Slider("blur", "blur", "Lens blur", 0, 40, scale=0.001),
    Slider("noise", "noise", "Sensor noise", 0, 15, unit=" levels"),
)
VARIANT = Slider("variant", "noise_seed", "Variant", 0, 9)
PROPORTIONS = {"face_width": "Face width", "chin_y": "Chin", "eye_x": "Eye distance", "nose_width": "Nose width", "mouth_width": "Mouth width"}


def units_of(expression: str) -> dict[Unit, float]:
    """Return the units that a button sets: those of every face of the expression, the first of two, and those that most subjects add."""
    combination = COMBINATIONS[expression]
    chosen: list[Unit] = [*combination.always, *(pair[0] for pair in combination.one_of)]
    chosen += [unit for unit, probability in combination.sometimes if probability > 0.6]
    chosen += [f"{unit}R" for unit in combination.one_sided]
    return {unit: STRENGTH for unit in ACTION_UNITS if unit in chosen}


def first_spec() -> FaceSpec:
    """Return the face that the page opens with."""
    values = {slider.path.partition(".")[2]: slider.value * slider.scale for slider in (*LIGHT, *POSE)}
    light = Light(**{name: values[name] for name in ("azimuth", "elevation", "ambient")}, exposure=1.1, background=0.45)
    pose = Pose(**{name: values[name] for name in ("yaw", "pitch", "roll")}, scale=1.12, shift_y=-0.03)
    return FaceSpec("happy", 4.0, units_of("happy"), sample_identity(0, SUBJECTS[0]), light=light, pose=pose)


def write_page(params: Params, folder: Path, *, evaluated: Sequence[str], box: Callable[[str, str], str]) -> None:
    """Write the page that Sphinx reads: its prose, and a paragraph in the place of the bench.

    Args:
        params: Names the sets and runs.
        folder: The folder of pages.
        evaluated: Runs that have a page of their evaluation.
        box: Of a stage and a run: the box that says whether its result is of the current state.
    """
    head = "---\nhtml_theme.sidebar_secondary.remove: true\n---\n\n# Control-face bench\n\n"
    model, drawn = choose_model(params), cards.admonition(cards.CONTROL_TITLE, cards.CONTROL_TEXT, kind="warning")
    parts = [box("deploy", model.run) if model.run else "", LEAD, drawn, PLACE, _reading(params, model, evaluated=evaluated)]
    (folder / f"{PAGE}.md").write_text(head + "\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


def complete_page(params: Params, site: Path) -> None:
    """Put the bench into the built page, and beside it its runtime and model, as scripts that assign their bytes, with their licences."""
    model, page, folder = choose_model(params), site / f"{PAGE}.html", site / "_static" / "bench"
    with one_thread():
        before, found, after = page.read_text(encoding="utf-8").partition(f"<p>{PLACE}</p>")
        assert found, f"{page} has no place for the bench"
        page.write_text(before + _bench(model) + after, encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"runtime": {name: packed(name) for name in RUNTIME}, "weights": {"model": gzip.compress(model.content, 9, mtime=0)}}
    for script, contents in parts.items():
        lines = [f"benchParts[{json.dumps(name)}] = {json.dumps(base64.b64encode(content).decode())};\n" for name, content in contents.items()]
        (folder / f"{script}.js").write_text("globalThis.benchParts ??= {};\n" + "".join(lines), encoding="ascii")
    (folder / "LICENSES.md").write_bytes((STATIC / "LICENSES.md").read_bytes())


def _bench(model: BenchModel) -> str:
    """Return the page's HTML: pictures, probabilities and controls in their first state, the data and the scripts."""
    spec = first_spec()
    face = draw_image(spec, SIZE)
    data = json.dumps(_data(model, spec), separators=(",", ":")).replace("<", "\\u003c")
    size = model.card["size"]
    probs = predict(model, draw_image(spec, size)[None])[0]
    figures = [
        _figure("face", "Face", face, "The face as it is drawn."),
        _figure("truth", "Ground truth", _truth(spec, face), "The same face; the regions of its active action units are lit."),
        _figure("map", "Occlusion map", face, "Computed in the browser.", empty=True),
        *([_figure("cam", "Grad-CAM", face, "Computed in the browser.", empty=True)] if model.has_grad_cam else []),
    ]
    rows = [_bar(name, float(prob)) for name, prob in zip(model.card["expressions"], probs, strict=True)]
    scripts = "".join(f'<script defer src="_static/bench/{name}.js"></script>' for name in SCRIPTS)
    parts = [
        '<link rel="stylesheet" href="_static/bench/bench.css">',
        '<div class="bench" id="bench">',
        '<div class="bench-stage">',
        *figures,
        '<div class="bench-bars" role="group" aria-label="Prediction"><h2 class="bench-h">Prediction</h2>',
        *rows,
        f'<p class="bench-told" id="bench-told" role="status">{STILL}</p></div></div>',
        '<form class="bench-controls" id="bench-controls" autocomplete="off" hidden>',
        *_controls(spec),
        "</form></div>",
        f'<script type="application/json" id="bench-data">{data}</script>{scripts}',
    ]
    return "\n".join(parts)


def _data(model: BenchModel, spec: FaceSpec) -> dict[str, Any]:
    card = {name: model.card[name] for name in ("size", "channels", "expressions")} | {"temperature": model.temperature}
    return {
        "size": SIZE,
        "spec": asdict(replace(spec, action_units={})),
        "subjects": [asdict(sample_identity(0, subject)) for subject in SUBJECTS],
        "regions": {str(unit): regions for unit, regions in ACTION_UNIT_REGIONS.items()},
        "order": REGIONS,
        "expressions": {name: {str(unit): round(100 * strength) for unit, strength in units_of(name).items()} for name in COMBINATIONS},
        "model": card,
    }


def _truth(spec: FaceSpec, face: np.ndarray) -> np.ndarray:
    masks = draw_masks(spec, len(face))
    return lit(face, np.any([masks[region] for region in regions_of(spec.action_units)], axis=0))


def _png(image: np.ndarray) -> str:
    content = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _figure(name: str, title: str, image: np.ndarray, alt: str, *, empty: bool = False) -> str:
    canvas = f'<canvas id="bench-{name}" width="{len(image)}" height="{len(image)}" role="img" aria-label="{alt}" hidden></canvas>'
    still = f'<span class="bench-none">{alt}</span>' if empty else f'<img src="{_png(image)}" alt="{alt}" width="{len(image)}" height="{len(image)}">'
    return f'<figure class="bench-figure">{still}{canvas}<figcaption id="bench-{name}-caption">{title}</figcaption></figure>'


def _bar(name: str, prob: float) -> str:
    return (
        f'<div class="bench-bar" data-expression="{name}"><span class="bench-name">{name}</span>'
        f'<span class="bench-track"><span class="bench-fill" style="width:{100 * prob:.1f}%;background:{COLOURS[name]}"></span></span>'
        f'<span class="bench-value">{100 * prob:.1f} %</span></div>'
    )


def _controls(spec: FaceSpec) -> list[str]:
    units = [_unit(unit, round(100 * spec.action_units.get(unit, 0))) for unit in ACTION_UNITS]
    groups = dict(zip(UNIT_GROUPS, (units[:7], units[7:17], units[17:]), strict=True))
    spreads = {one.name: one.metadata["spread"][1] for one in fields(Identity) if one.metadata}
    proportions = [Slider(name, f"change.{name}", label, -2, 2, step=0.1, scale=spreads[name], unit=" SD") for name, label in PROPORTIONS.items()]
    buttons = [_button(name) for name in COMBINATIONS]
    subjects = [_subject(place, subject) for place, subject in enumerate(SUBJECTS)]
    occluders = [_radio("occluder", name, name, checked=not place) for place, name in enumerate(OCCLUDERS)]
    truths = [_radio("truth", name, name, checked=not place) for place, name in enumerate(TRUTHS)]
    return [
        f'<fieldset class="bench-row"><legend>Expression</legend>{_chips(buttons)}</fieldset>',
        *(_group(f"{name} <span>{told}</span>", groups[name], "bench-units") for name, told in UNIT_GROUPS.items()),
        f'<fieldset><legend>Subject</legend><div class="bench-subjects">{"".join(subjects)}</div></fieldset>',
        _group("Proportions", proportions),
        _group("Light", LIGHT),
        _group("Pose", POSE),
        _group("Camera", CAMERA),
        f'<fieldset><legend>Occluder</legend>{_chips(occluders)}<div class="bench-sliders">{_slider(VARIANT)}</div></fieldset>',
        f"<fieldset><legend>Ground truth shows</legend>{_chips(truths)}</fieldset>",
        '<div class="bench-end"><button type="button" id="bench-reset">Reset</button>',
        '<button type="button" id="bench-copy">Copy link to this face</button></div>',
    ]


def _unit(unit: Unit, value: int) -> Slider:
    label = f'<b class="bench-au">{unit}</b> {ACTION_UNITS[unit]}'
    return Slider(f"au{unit}", f"action_units.{unit}", label, 0, 100, value, scale=0.01, unit=" %")


def _group(legend: str, sliders: Sequence[Slider], kind: str = "") -> str:
    return f'<fieldset class="{kind}"><legend>{legend}</legend><div class="bench-sliders">{"".join(map(_slider, sliders))}</div></fieldset>'


def _slider(slider: Slider) -> str:
    return (
        f'<label class="bench-slider"><span>{slider.label}</span><output>{slider.value:g}{slider.unit}</output>'
        f'<input type="range" name="{slider.name}" min="{slider.low:g}" max="{slider.high:g}" step="{slider.step:g}" value="{slider.value:g}"'
        f' data-path="{slider.path}" data-scale="{slider.scale:g}" data-unit="{slider.unit}"></label>'
    )


def _chips(parts: Sequence[str]) -> str:
    return f'<div class="bench-chips">{"".join(parts)}</div>'


def _button(name: str) -> str:
    return f'<button type="button" data-expression="{name}" aria-pressed="false"><i style="background:{COLOURS[name]}"></i>{name}</button>'


def _radio(group: str, value: str, label: str, *, checked: bool) -> str:
    return f'<label class="bench-chip"><input type="radio" name="{group}" value="{value}"{" checked" * checked}><span>{label}</span></label>'


def _subject(place: int, subject: int) -> str:
    who = sample_identity(0, subject)
    neutral = replace(first_spec(), expression="neutral", action_units={}, identity=who)
    told = html.escape(f"Subject {place + 1}: skin tone {who.skin} of 6, hair {who.hair}, beard {who.beard}{', glasses' * who.glasses}")
    picture = f'<img src="{_png(draw_image(neutral, 48))}" alt="{told}" width="48" height="48">'
    radio = f'<input type="radio" name="subject" value="{place}"{" checked" * (not place)}>'
    return f'<label class="bench-chip bench-subject" title="{told}">{radio}{picture}</label>'


def _reading(params: Params, model: BenchModel, *, evaluated: Sequence[str]) -> str:
    if model.run:
        data = params.runs[model.run].data
        link = f"[run {model.run}](runs/{model.run}/{'evaluate.ipynb' if model.run in evaluated else 'index.md'})"
        told = f"The model is {link}, trained on [{data}](data/{data}/index.md)"
    else:
        told = "The model is the one that ships with ferlab, trained on photographs: no run of this study is exported in a size that a page can carry"
    size = model.card["size"]
    window = round(size / 6)
    return "\n\n".join(
        [
            "## How to read it",
            f"{told}. Its input is the face drawn at {size} × {size} pixels, without test-time augmentation; weights are stored in 16 bits and"
            " computed in 32.",
            "**Ground truth.** The regions in which the active action units change the drawing (or each unit's own pixels), whether or not something"
            " covers them. A neutral face has none.",
            "**Occlusion map.** Mean drop of the predicted expression's probability over the windows that cover a pixel:"
            f" {window} × {window} pixels of grey 0.5 in steps of {window // 2}, as in stage `explain`. Colours run from no drop to the largest drop"
            " of this face, which the caption states.",
            _of_grad_cam(model),
            "**The drawing.** `ferlab.control` draws the faces of every dataset in Python; this page draws them in the browser. A test draws 60"
            " sampled faces both ways and accepts at most 2 grey levels of 255 between them, and masks of an IoU of at least 0.99.",
            "The address holds the face: a link to it shows the same face. Arrow keys move a slider.",
        ]
    )


def _of_grad_cam(model: BenchModel) -> str:
    if not model.has_grad_cam:
        return "**Grad-CAM** is not shown: what follows this model's last convolution is not differentiated in the browser."
    return (
        "**Grad-CAM.** At the activation of the last convolution, for the predicted expression: each channel weighted by the mean gradient of the"
        " logit, summed, negative values set to 0, enlarged. Colours run from 0 to the largest value of this face, which the caption states, in"
        " units of the logit. Where no weighted sum is positive the map is zero everywhere. The two maps need not agree; stage `worlds` tests both"
        " where a model's evidence is known."
    )
