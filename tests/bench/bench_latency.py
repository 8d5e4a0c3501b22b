"""One face through each model's ONNX file on one CPU thread, in turns with the same model in eager torch: milliseconds, and a limit on their ratio.

Run with `python tests/bench/bench_latency.py`. Fresh weights: their values do not change the time. The whole way is timed, from a uint8 face of
48 px to its probabilities. Wanted: the float32 file's 95th percentile is at most two thirds of eager torch's median, by the thread's CPU clock: by
the wall's the tail is what else the machine does. The model that ships, where one does, is timed as it lies in the package, and a fresh one of its
kind in torch.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ferlab.deployment import Predictor
from ferlab.deployment.export import export_onnx, quantise
from ferlab.deployment.latency import measure_side_by_side
from ferlab.deployment.predictor import SHIPPED
from ferlab.expressions import EXPRESSIONS
from ferlab.models import MODELS, LoadedModel, count_parameters, create_model

NETS = ("five_layer", "compact")
LIMIT, REPEATS, ROUNDS = 0.67, 400, 20
FACES = np.random.default_rng(0).integers(0, 256, (64, 48, 48)).astype(np.uint8)


def fresh_net(name: str, **options: Any) -> LoadedModel:
    """Return an untrained model of the registry."""
    torch.manual_seed(0)
    card = MODELS[name]
    module = create_model(name, len(EXPRESSIONS), 1, **options).eval()
    shape = {"size": card["input_size"], "channels": 1, "mean": (0.5,), "std": (0.25,)}
    return LoadedModel(module=module, name=name, options={}, expressions=EXPRESSIONS, target_layer=card["target_layer"], trained_on=(), **shape)


def in_torch(model: LoadedModel) -> Callable[[np.ndarray], Any]:
    """Return the way that needs no export: eager torch in inference mode."""

    @torch.inference_mode()
    def predict(faces: np.ndarray) -> np.ndarray:
        return torch.softmax(model.module(model.normalise(faces)), dim=1).numpy()

    return predict


def report(title: str, predicts: dict[str, Callable[[np.ndarray], Any]]) -> bool:
    """Time some ways to read a face by both clocks, print them beside each other, and return whether float32 keeps the limit."""
    print(title)
    for clock_name, clock in (("wall", time.perf_counter), ("CPU", time.thread_time)):
        times = measure_side_by_side(predicts, FACES, repeats=REPEATS, rounds=ROUNDS, clock=clock)
        marks = {name: np.percentile(part, [50, 95]) for name, part in times.items()}
        shown = ", ".join(f"{name} p50 {p50:.2f} p95 {p95:.2f}" for name, (p50, p95) in marks.items())
        ratios = ", ".join(f"{name} {p50 / marks['float32'][0]:.2f}" for name, (p50, _) in marks.items() if name != "float32")
        print(f"  {clock_name} ms: {shown}" + (f"; medians to float32's: {ratios}" if ratios else ""))
    ratio = marks["float32"][1] / marks["torch"][0]
    print(f"  p95 of float32 over the median of torch, CPU: {ratio:.2f} (limit {LIMIT}){'' if ratio <= LIMIT else '  FAILED'}")
    return bool(ratio <= LIMIT)


if __name__ == "__main__":
    torch.set_num_threads(1)
    kept = []
    for name in NETS:
        if name not in MODELS:
            print(f"{name}: not in the registry, skipped")
            continue
        model = fresh_net(name)
        with tempfile.TemporaryDirectory() as folder:
            exact, integer = Path(folder, "model.onnx"), Path(folder, "model-int8.onnx")
            sizes = export_onnx(model, exact), quantise(exact, integer, FACES)
            ways = {"float32": Predictor.load(exact).predict_faces, "int8": Predictor.load(integer).predict_faces, "torch": in_torch(model)}
            kept.append(report(f"{name} ({count_parameters(model.module) / 1e6:.2f} M; {sizes[0] / 1e6:.2f} MB, int8 {sizes[1] / 1e6:.2f} MB)", ways))
    if SHIPPED.is_file():
        card = json.loads(SHIPPED.with_name("card.json").read_text())
        ways = {"float32": Predictor.load().predict_faces, "torch": in_torch(fresh_net(card["name"], **card["options"]))}
        kept.append(report(f"the model that ships ({SHIPPED.stat().st_size / 1e6:.2f} MB)", ways))
    else:
        print("the model that ships: none does, skipped")
    sys.exit(0 if all(kept) else 1)
