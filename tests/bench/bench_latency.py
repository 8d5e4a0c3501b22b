"""One face through each net's ONNX file on one CPU thread, in turns with the same net in eager torch: milliseconds, ratios, a limit.

Run with `python tests/bench/bench_latency.py`. Fresh weights: their values do not change the time. The whole way is timed, from a uint8 face of
48 px to its probabilities. At most 3 ms at the 95th percentile are wanted of the float32 file, by the thread's CPU clock: by the wall's the tail
is what else the machine does. Ratios hold on a busy machine too. The net that ships, where one does, is timed as it lies in the package.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ferlab.deployment import Predictor
from ferlab.deployment.export import export_onnx
from ferlab.deployment.latency import measure_side_by_side
from ferlab.deployment.predictor import SHIPPED
from ferlab.deployment.quantisation import quantise
from ferlab.expressions import EXPRESSIONS
from ferlab.models import MODELS, LoadedModel, count_parameters, create_model

NETS = ("five_layer", "compact")
LIMIT_MS, REPEATS, ROUNDS = 3.0, 400, 20
FACES = np.random.default_rng(0).integers(0, 256, (64, 48, 48)).astype(np.uint8)


def fresh_net(name: str) -> LoadedModel:
    """Return an untrained net of the registry."""
    torch.manual_seed(0)
    card = MODELS[name]
    module = create_model(name, len(EXPRESSIONS), 1).eval()
    shape = {"size": card["input_size"], "channels": 1, "mean": (0.5,), "std": (0.25,)}
    return LoadedModel(module=module, name=name, options={}, expressions=EXPRESSIONS, target_layer=card["target_layer"], fitted_on=(), **shape)


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
    kept = bool(marks["float32"][1] <= LIMIT_MS)
    print(f"  limit of {LIMIT_MS:g} ms at p95 of float32, CPU: {'kept' if kept else 'MISSED'}")
    return kept


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
        kept.append(report(f"the net that ships ({SHIPPED.stat().st_size / 1e6:.2f} MB)", {"float32": Predictor.load().predict_faces}))
    else:
        print("the net that ships: none does, skipped")
    sys.exit(0 if all(kept) else 1)
