"""The result of the stage worlds: every attribution method scored where the truth about the model is known, by intervention or by construction.

The scores are long tables, one row per face, map and measure; `ferlab.explanation.ranking` judges the methods by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.explanation.baselines import baseline_maps, class_mean_maps
from ferlab.explanation.ranking import CLASS_MEAN
from ferlab.locks import partial_folder
from ferlab.params import StageParams
from ferlab.paths import read_json, report_progress, write_json
from ferlab.results import obtain

CANDIDATES = 3  # faces of two expressions that are drawn per one that is kept
FACES_PER_PASS = 64  # of the explained models: on a CPU occlusion and RISE take a quarter less time than at 256
EXAMPLES = 2  # faces of each test that the page may show
ELSEWHERE_MODEL = {"one_region": "null", "shortcut": "independent"}  # which other model explains the same faces
CORRECT_BY = {"one_region": "one_region", "shortcut": "independent"}  # the model that classifies the explained faces correctly
UPPER, LOWER = ("angry", "fear", "sad", "surprise"), ("happy", "disgust", "surprise", "fear", "angry", "sad")


@dataclass(frozen=True)
class WorldScores:
    """What the stage computed.

    Attributes:
        scores: `seed, test, model, face_id, subject, place, method, measure, value`; `method` is one of METHODS, a baseline ("random", "centre",
            "edges"), or "class mean of " and a method; `place` the number of the face in its test.
        interventions: `seed, test, model, face_id, subject, part, kind, effect, drop, flip`.
        examples: Arrays by name: `<test>/image`, `<test>/mask` and `<test>/<model>/<method>` of `EXAMPLES` faces.
        facts: Accuracies of every model, and counts.
    """

    scores: pd.DataFrame
    interventions: pd.DataFrame
    examples: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def world_scores(p: StageParams) -> WorldScores:
    """Take the result of the stage worlds, or compute it."""
    made = obtain("worlds", p, _compute, asked=p.worlds)
    with np.load(made.places["examples"]) as file:
        examples = {name: file[name] for name in file.files}
    tables = (pd.read_parquet(made.places[name]) for name in ("scores", "interventions"))
    return WorldScores(*tables, examples=examples, facts=read_json(made.places["facts"], made_by="stage worlds"))


def _compute(scores: Path, interventions: Path, examples: Path, facts: Path, *, asked: Any) -> None:
    parts = [_one_seed(asked, seed, folder=partial_folder() / "worlds") for seed in asked.seeds]
    pd.concat([part.scores for part in parts], ignore_index=True).to_parquet(scores, index=False)
    pd.concat([part.interventions for part in parts], ignore_index=True).to_parquet(interventions, index=False)
    np.savez(examples, **parts[0].examples)
    known = {str(seed): part.facts for seed, part in zip(asked.seeds, parts, strict=True)}
    write_json(facts, {"seeds": known})


def _one_seed(asked: Any, seed: int, *, folder: Path) -> WorldScores:
    """Draw, train and score the worlds of one seed."""
    from ferlab.explanation import worlds  # Keep: a page whose result is taken loads no torch
    from ferlab.explanation.roar import roar_curves

    drawn = {name: worlds.draw_world(name, **_drawing(asked), seed=seed) for name in worlds.WORLDS}
    drawn[worlds.NULL] = worlds.null_world(drawn["independent"], seed=seed)
    how = {"model": asked.model, "options": asked.options, "epochs": asked.epochs, "batch_size": asked.batch_size, "seed": seed}
    models = {name: worlds.train_model(world, **how, folder=folder) for name, world in drawn.items()}
    tables, effects, examples, maps = [], [], {}, {}
    how_many = {"per_class": asked.per_class, "seed": seed}
    chosen = {test: worlds.sample_test(drawn[test], models[name], **how_many) for test, name in CORRECT_BY.items()}
    for test, rows in chosen.items():
        report_progress(done=0, total=1, note=f"worlds: {test}, {len(rows)} faces explained")
        sample = _Sample(asked, seed, test, drawn[test], rows)
        sample.intervene()
        for name in (test, ELSEWHERE_MODEL[test]):
            before, maps = maps, sample.explain(models[name])
            examples |= sample.shown(name, maps)
            tables.append(sample.located(name, maps))
            if name == worlds.NULL:
                tables.append(sample.unchanged(name, maps, before))
            else:
                effects.append(sample.effects(name, models[name]))
            if test == "shortcut":
                tables.append(sample.parts(name, models[name], maps, effects[-1]))
    tables.append(_Sample(asked, seed, "shortcut", drawn["shortcut"], chosen["shortcut"]).contrast("independent", models["independent"]))
    wired, shown = _wired(asked, seed, drawn["independent"])
    facts: dict[str, Any] = {"models": {name: worlds.accuracy_of(drawn[name], model) for name, model in models.items()}}
    facts["roar"] = roar_curves(
        drawn["one_region"], models["one_region"], **asked.roar.model_dump(), training=how, options=method_options(asked), folder=folder
    )
    return WorldScores(pd.concat([*tables, wired], ignore_index=True), pd.concat(effects, ignore_index=True), examples | shown, facts)


def _drawing(asked: Any) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in ("faces", "subjects", "size", "intensity", "region", "rho")}


def method_options(asked: Any) -> dict[str, Any]:
    """Return what `explain_faces` is told besides the faces: options of methods that the stage's params name."""
    return {"window": asked.window, "stride": asked.stride, "masks": asked.masks, "steps": asked.steps, "samples": asked.samples}


class _Sample:
    """Explained faces of one test, scored map by map."""

    def __init__(self, asked: Any, seed: int, test: str, world: Any, rows: np.ndarray) -> None:
        from ferlab.control import label_mask
        from ferlab.explanation.worlds import specs_of

        self.asked, self.seed, self.test = asked, seed, test
        self.faces, self.images, self.specs = world.faces.iloc[rows], world.images[rows], specs_of(world, rows)
        self.masks = label_mask(self.faces, size=asked.size)
        self.changed: list[dict[tuple[str, str], Any]] = []  # interventions per face, and their pictures: the same for every model
        self.pictures: list[np.ndarray] = []
        self.kept_pictures: list[np.ndarray] = []  # per face those of its `subsets_of`

    def explain(self, model: Any) -> dict[str, np.ndarray]:
        """Return every method's maps of the predicted class, then those of the baselines."""
        from ferlab.explanation.attributions import explain_faces
        from ferlab.explanation.worlds import predict_logits

        self.explained = predict_logits(model, self.images).argmax(axis=1)
        asked = {"methods": _methods(self.asked, model), "batch_size": FACES_PER_PASS, **method_options(self.asked)}
        maps = explain_faces(model, self.images, explained_class=self.explained, **asked)
        return with_baselines(maps, self.images, self.explained, seed=self.seed)

    def located(self, name: str, maps: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """Score maps against the ground-truth pixels."""
        from ferlab.explanation.localisation import localise

        values = {method: localise(each, self.masks) | {"zero": ~each.any(axis=(1, 2))} for method, each in maps.items()}
        return self._long(name, values)

    def unchanged(self, name: str, maps: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """Score how alike the maps of a model and those of another are, by rank correlation; both explain their own prediction."""
        from ferlab.explanation.randomisation import similarity

        return self._long(name, {method: {"similarity": similarity(before[method], each)} for method, each in maps.items()})

    def intervene(self) -> None:
        """Draw the interventions of the test on every face."""
        from ferlab.explanation.interventions import draw_all, interventions_of, region_interventions, subsets_of

        numbers = self.faces["source_path"].str.extract(r"/(\d+)")[0].astype(int)
        for number, spec in zip(numbers, self.specs, strict=True):
            own = region_interventions(spec, seed=self.seed, number=number) if spec.region else interventions_of(spec, seed=self.seed)
            self.changed.append(own)
            self.pictures.append(draw_all([spec, *own.values()], size=self.asked.size))
            if not spec.region:
                self.kept_pictures.append(draw_all(list(subsets_of(spec).values()), size=self.asked.size))

    def effects(self, name: str, model: Any) -> pd.DataFrame:
        """Measure the interventions on every face under one model."""
        from ferlab.explanation.interventions import measure_effects
        from ferlab.explanation.worlds import predict_logits

        rows = []
        for (_, face), changed, pictures, cls in zip(self.faces.iterrows(), self.changed, self.pictures, self.explained, strict=True):
            effects = measure_effects(predict_logits(model, pictures), list(changed), explained_class=int(cls))
            rows.append(effects.assign(face_id=face["face_id"], subject=f"{self.seed}:{face['subject']}"))
        return pd.concat(rows, ignore_index=True).assign(seed=self.seed, test=self.test, model=name)

    def parts(self, name: str, model: Any, maps: Mapping[str, np.ndarray], effects: pd.DataFrame) -> pd.DataFrame:
        """Score maps against the effects of interventions: correctness and completeness."""
        from ferlab.explanation.interventions import part_masks, subsets_of
        from ferlab.explanation.part_scores import completeness, correctness, part_mass
        from ferlab.explanation.worlds import predict_logits

        values = {method: {"correctness": np.zeros(len(self.specs)), "completeness": np.zeros(len(self.specs))} for method in maps}
        whole = effects[(effects["part"] != "nothing") & ~effects["kind"].str.startswith("unit")]
        for place, (face_id, spec) in enumerate(zip(self.faces["face_id"], self.specs, strict=True)):
            own = whole[whole["face_id"] == face_id]
            true = own.groupby("part", sort=False)["effect"].mean().to_dict()
            flips = own.groupby("part")["flip"].any()
            subsets = subsets_of(spec)
            classes = predict_logits(model, self.kept_pictures[place]).argmax(axis=1)
            predicted = dict(zip(subsets, classes.tolist(), strict=True))
            masks = part_masks(spec, size=self.asked.size)
            for method, each in maps.items():
                mass = part_mass(each[place], masks)
                values[method]["correctness"][place] = correctness(mass, true)
                irrelevant = frozenset(flips.index[~flips])
                values[method]["completeness"][place] = (
                    completeness(mass, predicted=predicted, irrelevant=irrelevant) if spec.action_units else np.nan
                )
        return self._long(name, values)

    def contrast(self, name: str, model: Any) -> pd.DataFrame:
        """Score whether maps follow the explained class, on faces whose halves show two expressions."""
        from ferlab.explanation.attributions import explain_faces
        from ferlab.explanation.interventions import draw_all, part_masks
        from ferlab.explanation.part_scores import contrastivity, part_mass

        faces, specs, classes = self._chimeras(model)
        if not len(specs):
            return pd.DataFrame()
        images = draw_all(specs, size=self.asked.size)
        asked = {"methods": _methods(self.asked, model), "batch_size": FACES_PER_PASS, **method_options(self.asked)}
        upper, lower = (with_baselines(explain_faces(model, images, explained_class=c, **asked), images, c, seed=self.seed) for c in classes.T)
        masks = [part_masks(spec, size=self.asked.size) for spec in specs]
        halves = [{"upper": each["brows"] | each["eyes"], "lower": each["mouth"]} for each in masks]
        values = {
            method: {"contrastivity": np.array([
                contrastivity(part_mass(one, half), part_mass(other, half))
                for one, other, half in zip(upper[method], lower[method], halves, strict=True)
            ])}
            for method in upper
        }  # fmt: skip
        return _long(values, faces, seed=self.seed, test="chimera", model=name)

    def _chimeras(self, model: Any) -> tuple[pd.DataFrame, list[Any], np.ndarray]:
        """Return faces of two expressions, their specs and both classes (N, 2); removing either half lowers its own class against the other."""
        from ferlab.explanation.interventions import PARTS, chimera, draw_all, without_units
        from ferlab.explanation.worlds import predict_logits
        from ferlab.expressions import EXPRESSIONS

        pairs = [(upper, lower) for upper in UPPER for lower in LOWER if upper != lower]
        chosen = np.random.default_rng(self.seed).permutation(len(self.specs) * len(pairs))[: CANDIDATES * self.asked.chimeras]
        mixed = [(number // len(pairs), *pairs[number % len(pairs)]) for number in chosen]
        specs = [chimera(self.specs[place], upper=upper, lower=lower) for place, upper, lower in mixed]
        classes = np.array([[EXPRESSIONS.index(upper), EXPRESSIONS.index(lower)] for _, upper, lower in mixed])
        halves = ((*PARTS["brows"], *PARTS["eyes"]), PARTS["mouth"])
        drawn = [specs, *([without_units(spec, units) for spec in specs] for units in halves)]
        whole, no_upper, no_lower = (_margin(predict_logits(model, draw_all(each, size=self.asked.size)), classes) for each in drawn)
        kept = np.flatnonzero((whole > no_upper) & (no_lower > whole))[: self.asked.chimeras]
        return self.faces.iloc[[mixed[n][0] for n in kept]], [specs[n] for n in kept], classes[kept]

    def shown(self, name: str, maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays that the page may show."""
        own = {f"{self.test}/image": self.images[:EXAMPLES], f"{self.test}/mask": self.masks[:EXAMPLES]}
        kept = {f"{self.test}/{name}/{method}": each[:EXAMPLES].astype(np.float32) for method, each in maps.items() if " " not in method}
        return own | kept

    def _long(self, name: str, values: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
        return _long(values, self.faces, seed=self.seed, test=self.test, model=name)


def with_baselines(maps: Mapping[str, np.ndarray], images: np.ndarray, classes: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """Return maps with those that every method must beat: random, centred blob, edges, and per method the mean map of its class without the face."""
    means = {CLASS_MEAN + method: class_mean_maps(each, classes) for method, each in maps.items()}
    return {**maps, **baseline_maps(images, seed=seed), **means}


def _wired(asked: Any, seed: int, world: Any) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Score every method on the hand-wired network, where the truth needs no intervention."""
    from ferlab.explanation import hand_wired
    from ferlab.explanation.attributions import attribute
    from ferlab.explanation.attributions import method_options as known_options
    from ferlab.explanation.localisation import localise

    rows = world.rows("test")[: asked.chimeras]
    inputs, classes = hand_wired.plant_patches(world.images[rows], seed=seed)
    module, mask = hand_wired.wire_model(asked.size), np.repeat(hand_wired.patch_mask(asked.size)[None], len(rows), axis=0)
    options = method_options(asked)
    maps = {}
    for method in asked.methods or all_methods():
        own = {name: value for name, value in options.items() if name in known_options(method)}
        maps[method] = attribute(method, module, inputs, explained_class=classes, layer=hand_wired.LAYER, **own)[:, 0].numpy()
    images = np.rint((inputs[:, 0].numpy() + 1) * 127.5).astype(np.uint8)
    whole = with_baselines(maps, images, classes, seed=seed)
    values = {method: localise(each, mask) | {"zero": ~each.any(axis=(1, 2))} for method, each in whole.items()}
    shown = {"wired/image": images[:EXAMPLES], "wired/mask": mask[:EXAMPLES]}
    shown |= {f"wired/wired/{method}": each[:EXAMPLES].astype(np.float32) for method, each in maps.items()}
    return _long(values, world.faces.iloc[rows], seed=seed, test="wired", model="wired"), shown


def all_methods() -> tuple[str, ...]:
    """Return the names of all attribution methods."""
    from ferlab.explanation.methods import METHODS

    return tuple(METHODS)


def _methods(asked: Any, model: Any) -> Sequence[str]:
    from ferlab.explanation.methods import METHODS

    return [method for method in asked.methods or METHODS if model.target_layer or not METHODS[method].needs_layer]


def _margin(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    rows = np.arange(len(logits))
    return logits[rows, classes[:, 0]] - logits[rows, classes[:, 1]]


def _long(values: Mapping[str, Mapping[str, np.ndarray]], faces: pd.DataFrame, *, seed: int, test: str, model: str) -> pd.DataFrame:
    def rows() -> Iterator[pd.DataFrame]:
        of = {
            "seed": seed,
            "test": test,
            "model": model,
            "face_id": faces["face_id"].to_numpy(),
            "subject": f"{seed}:" + faces["subject"].to_numpy(),
            "place": np.arange(len(faces)),
        }
        for method, measures in values.items():
            for measure, value in measures.items():
                yield pd.DataFrame({**of, "method": method, "measure": measure, "value": np.asarray(value, np.float64)})

    return pd.concat(rows(), ignore_index=True)
