"""The control-face bench in a real browser: its drawing is that of `ferlab.control`, its probabilities and maps are those of the model in Python."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ferlab import paths
from ferlab.control.action_units import NAMES
from ferlab.control.drawing.masks import draw_masks, draw_unit_masks
from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import BEARDS, HAIR_STYLES, OCCLUDERS, FaceSpec, sample_spec
from ferlab.deployment.as_torch import load_exported
from ferlab.deployment.half_weights import halve_weights
from ferlab.explanation.attributions import explain_faces
from ferlab.opencv import one_thread
from ferlab.params import check_params
from ferlab.reporting.site import bench_model, bench_page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

STATIC = Path(__file__).resolve().parents[2] / "reports" / "_static" / "bench"
TRAIN = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}
DRAWING = ("random", "raster", "shape", "layers", "paint", "masks")
DRAW = """([spec, size]) => ({
    image: Array.from(ControlFace.draw(spec, size)),
    masks: Object.fromEntries(Object.entries({...ControlFace.regionMasks(spec, size), ...ControlFace.unitMasks(spec, size)})
        .map(([name, mask]) => [name, mask.join("")])),
})"""


def sampled(number: int) -> tuple[FaceSpec, int]:
    """Return a spec and a size; each hair style, beard and occluder comes up, and every other face has no occluder."""
    spec = sample_spec(7, number, expressions=NAMES)
    looks = {"hair": HAIR_STYLES[number % 6], "beard": BEARDS[number // 2 % 4], "glasses": number % 5 == 0}
    occluder = OCCLUDERS[number // 3 % 6] if number % 2 else "none"
    return replace(spec, identity=replace(spec.identity, **looks), occluder=occluder), (48, 128)[number % 2]


@pytest.fixture(scope="module")
def drawn(browser) -> list[tuple[FaceSpec, int, dict]]:
    """Draw 60 faces in the browser."""
    specs = [sampled(number) for number in range(60)]
    with browser.new_context() as context:
        page = context.new_page()
        for name in DRAWING:
            page.add_script_tag(path=STATIC / f"{name}.js")
        return [(spec, size, page.evaluate(DRAW, [asdict(spec), size])) for spec, size in specs]


def test_the_browser_draws_what_python_draws(drawn) -> None:
    with one_thread():
        apart = [np.abs(draw_image(spec, size).astype(int) - np.reshape(seen["image"], (size, size))) for spec, size, seen in drawn]
    assert {spec.occluder for spec, _, _ in drawn} == set(OCCLUDERS)
    assert max(int(levels.max()) for levels in apart) <= 2
    assert np.mean(np.concatenate([levels.ravel() for levels in apart]) > 0) < 1e-3  # measured: 1 level in 7 of 100,000 pixels


def test_the_browsers_masks_are_pythons(drawn) -> None:
    with one_thread():
        for spec, size, seen in drawn:
            masks = draw_masks(spec, size) | draw_unit_masks(spec, size)
            assert seen["masks"].keys() == {str(name) for name in masks}
            for name, mask in masks.items():
                other = np.frombuffer(seen["masks"][str(name)].encode(), np.uint8).reshape(mask.shape) == ord("1")
                assert (mask & other).sum() >= 0.99 * (mask | other).sum(), (spec.expression, name)


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> tuple[Path, bench_model.BenchModel]:
    """Return a page that holds the bench and nothing else, with the model that ships."""
    folder = tmp_path_factory.mktemp("bench")
    run = {"family": "cs230", "model": "five_layer", "data": "control", "seed": 0, "group": "a"}
    sections = {name: {} for name in ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")}
    params = check_params({"study": "t", "prepare": {"control": {"dataset": "control"}}, "train": TRAIN, "runs": {"a_run": run}, **sections})
    shutil.copytree(STATIC, folder / "_static" / "bench")
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bench</title></head>'
    (folder / "bench.html").write_text(f'{head}<body class="bd-article"><p>{bench_page.PLACE}</p></body></html>')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", folder)
        bench_page.complete_page(params, folder)
        return folder / "bench.html", bench_model.choose_model(params)


ANSWER = """(faces) => new Promise(async (resolve, reject) => {
    const {model: card} = JSON.parse(document.getElementById("bench-data").textContent), answers = faces.map(() => ({}));
    const load = (name) => new Promise((done) => document.head.append(Object.assign(document.createElement("script"), {src: name, onload: done})));
    for (const name of ["runtime", "weights"]) await load(`_static/bench/${name}.js`);
    const model = new ControlFace.Model(card, ({id, probs, map}) => {
        Object.assign(answers[id], probs ? {probs} : {map: Array.from(map), maps: (answers[id].maps ?? 0) + 1});
        if (answers[id].maps === 2) id + 1 < faces.length ? model.look(faces[id + 1], id + 1) : resolve(answers);
    });
    model.open(globalThis.benchParts).then(() => model.look(faces[0], 0), reject);
})"""


CAMS = """(faces) => new Promise(async (resolve, reject) => {
    const {model: card} = JSON.parse(document.getElementById("bench-data").textContent), cams = [];
    const load = (name) => new Promise((done) => document.head.append(Object.assign(document.createElement("script"), {src: name, onload: done})));
    for (const name of ["runtime", "weights"]) await load(`_static/bench/${name}.js`);
    const model = new ControlFace.Model(card, ({id, cam}) => {
        if (!cam || id !== cams.length) return;
        cams.push(Array.from(cam));
        cams.length < faces.length ? model.look(faces[cams.length], cams.length) : resolve(cams);
    });
    model.open(globalThis.benchParts).then(() => model.look(faces[0], 0), reject);
})"""


def test_grad_cam_is_that_of_the_workspace(browser, bench, tmp_path) -> None:
    """The same weights, float16, in PyTorch: captum's map of the predicted class at the activation of the last convolution."""
    page_path, model = bench
    onnx.save(halve_weights(model.proto), tmp_path / "model.onnx")
    loaded = load_exported(tmp_path / "model.onnx")
    faces = np.stack([draw_image(sampled(number)[0], 48) for number in range(24)])
    chosen = bench_model.predict(model, faces).argmax(axis=1)
    wanted = explain_faces(loaded, faces, explained_class=chosen, methods=["grad_cam"])["grad_cam"]
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(300_000)
        page.goto(page_path.as_uri())
        cams = np.reshape(page.evaluate(CAMS, [face.ravel().tolist() for face in faces]), (-1, 48, 48))
    assert len(set(chosen)) > 3
    assert wanted.max() > 0.1
    assert np.abs(cams - wanted.reshape(cams.shape)).max() < 1e-3


def occlusion(model: bench_model.BenchModel, face: np.ndarray) -> np.ndarray:
    """Return the mean drop of the predicted class's probability over the windows 8 x 8, in steps of 4, that cover a pixel."""
    session = onnxruntime.InferenceSession(model.content)

    def probs(faces: np.ndarray) -> np.ndarray:
        raised = session.run(None, {session.get_inputs()[0].name: faces})[0] ** (1 / model.temperature)
        return raised / raised.sum(axis=1, keepdims=True)

    shown = (face[None, None] / 255).astype(np.float32)
    before, total, count = probs(shown)[0], np.zeros((48, 48)), np.zeros((48, 48))
    for top in range(0, 41, 4):
        for left in range(0, 41, 4):
            covered = shown.copy()
            covered[..., top : top + 8, left : left + 8] = 0.5
            total[top : top + 8, left : left + 8] += before.max() - probs(covered)[0, before.argmax()]
            count[top : top + 8, left : left + 8] += 1
    return total / count


def test_probabilities_and_maps_are_pythons(browser, bench) -> None:
    page_path, model = bench
    faces = [draw_image(sampled(number)[0], 48) for number in (1, 2, 5)]
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(300_000)
        page.goto(page_path.as_uri())
        answers = page.evaluate(ANSWER, [face.ravel().tolist() for face in faces])
    for face, answer in zip(faces, answers, strict=True):
        assert np.abs(bench_model.predict(model, face[None])[0] - answer["probs"]).max() < 1e-3
        assert np.abs(occlusion(model, face) - np.reshape(answer["map"], (48, 48))).max() < 1e-3


def test_keys_move_the_face_and_the_address_holds_it(browser, bench) -> None:
    page_path, model = bench
    shown = "() => Array.from(document.getElementById('bench-face').getContext('2d').getImageData(0, 0, 128, 128).data.filter((_, i) => i % 4 === 0))"
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(300_000)
        page.goto(page_path.as_uri() + "#au12=80&au6=0&au25=0&nonsense=3&yaw=wide&occluder=elephant")
        page.locator("#bench-controls").wait_for()
        page.locator("input[name=au12]").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("location.hash.includes('au12=81')")
        assert "yaw" not in page.evaluate("location.hash")
        spec = replace(bench_page.first_spec(), action_units={12: 0.81})
        page.wait_for_function("document.querySelector('input[name=au12]').previousElementSibling.textContent === '81 %'")
        assert np.abs(draw_image(spec, 128).astype(int).ravel() - page.evaluate(shown)).max() <= 2
        page.wait_for_function("document.getElementById('bench-told').textContent.startsWith('Predicted')")
        page.wait_for_function("!document.getElementById('bench').classList.contains('is-waiting')")
        expected = bench_model.predict(model, draw_image(spec, 48)[None])[0]
        values = [float(text.split()[0]) / 100 for text in page.locator(".bench-value").all_inner_texts()]
        assert np.abs(expected - values).max() < 2e-3  # the page rounds to 0.1 %
        page.get_by_role("button", name="surprise").click()
        page.wait_for_function("location.hash.includes('au26=60')")
        page.get_by_role("button", name="Reset").click()
        page.wait_for_function("location.hash === ''")
        assert page.locator("input[name=au12]").input_value() == "60"


def test_without_scripts_a_face_its_truth_and_its_prediction_stand_there(browser, bench) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(bench[0].as_uri())
        assert page.locator(".bench-figure img:visible").count() == 2
        assert page.get_by_text(bench_page.STILL).is_visible()
        assert not page.locator("#bench-controls").is_visible()
