"""What is fuzzed: for each target a function that makes a seeded input from whole ones and gives it to the code as a user would.

Each ends well or with an InputError; anything else is a finding. `prepare` makes the whole inputs once, `run` one spoilt input.
"""

from __future__ import annotations

import functools
import io
import json
import os
import random
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Protocol

import numpy as np
from mutations import spoil_bytes, spoil_text, spoil_value
from PIL import Image


class Target(Protocol):
    """One thing that takes files from strangers."""

    def __init__(self, folder: Path) -> None: ...

    def run(self, rng: random.Random, folder: Path) -> None:
        """Make one spoilt input below `folder` and give it to the code."""


class Pictures:
    """Pictures of every format that is read, and of some that are not."""

    def __init__(self, folder: Path) -> None:
        grey = np.random.default_rng(0).integers(0, 256, (23, 31), dtype=np.uint8)
        colour = np.random.default_rng(1).integers(0, 256, (23, 31, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6
        forms = (("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"exif": exif}), ("TIFF", {}),
                 ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "jpeg"}), ("TIFF", {"compression": "tiff_adobe_deflate"}),
                 ("BMP", {}), ("PPM", {}), ("WEBP", {}),
                 ("WEBP", {"lossless": True}), ("GIF", {}), ("AVIF", {}), ("JPEG2000", {}))  # fmt: skip
        pictures = [Image.fromarray(grey), Image.fromarray(colour), Image.fromarray(colour).quantize(16), Image.fromarray(grey > 99)]
        self.seeds = []
        for image in pictures:
            for form, options in forms:
                data = io.BytesIO()
                try:
                    image.save(data, form, **options)
                except OSError:  # a mode that the format has not
                    continue
                self.seeds.append(data.getvalue())
        data = io.BytesIO()
        pictures[1].save(data, "MPO", save_all=True, append_images=pictures[1:2])
        self.seeds.append(data.getvalue())

    def run(self, rng: random.Random, folder: Path) -> None:
        """Read one picture and search it for faces."""
        from ferlab.deployment.face_search import find_faces, read_picture

        path = folder / "picture.png"
        path.write_bytes(spoil_bytes(rng, rng.choice(self.seeds), others=tuple(rng.sample(self.seeds, 2))))
        picture = read_picture(path)
        assert picture.dtype == np.uint8
        find_faces(picture)


class Readers:
    """Datasets in every layout that ferlab draws: a file spoilt, lost, renamed, replaced by what is none, or all in a damaged archive."""

    def __init__(self, folder: Path) -> None:
        from ferlab.control import layouts

        layouts.draw_image = lambda spec, size, *, colour=False: np.random.default_rng([*spec.noise_seed, spec.frame]).integers(
            0, 256, (size, size, 3) if colour else (size, size), np.uint8
        )
        self.layouts = {}
        for name, layout in layouts.LAYOUTS.items():
            layouts.draw_layout(name, folder / name, subjects=layout.fewest, each=1, size=24)
            self.layouts[name] = folder / name

    def run(self, rng: random.Random, folder: Path) -> None:
        """Read one delivery, its first pictures included."""
        from ferlab.data.preparation.sources import gather

        name = rng.choice(list(self.layouts))
        raw = folder / "raw"
        shutil.copytree(self.layouts[name], raw)
        for _ in range(rng.choice((1, 1, 2, 3))):
            self._spoil(rng, raw)
        if rng.random() < 0.25:
            raw = self._pack(rng, raw, folder)
        dataset = name.removesuffix("_csv")
        gathered = gather(raw, {dataset: {"dataset": dataset}})
        for row in range(min(4, len(gathered.faces))):
            gathered.pictures[row]

    def _spoil(self, rng: random.Random, raw: Path) -> None:
        tables = sorted(path for path in raw.rglob("*") if path.suffix in (".csv", ".txt", ".npy") and path.is_file())
        path = rng.choice(tables if tables and rng.random() < 0.6 else sorted(path for path in raw.rglob("*") if path.is_file()) or [raw / "none"])
        if not path.is_file():
            return
        content, way = path.read_bytes(), rng.randrange(9)
        if way <= 4:
            is_text = path.suffix in (".csv", ".txt")
            path.write_bytes(spoil_text(rng, content.decode(errors="surrogateescape")) if is_text else spoil_bytes(rng, content))
            return
        path.unlink()
        if way == 5:
            os.mkfifo(path)
        elif way == 6:
            path.symlink_to(rng.choice((raw, raw / "nowhere", Path("/dev/zero"), path)))
        elif way == 7:
            names = (b"caf\xe9.png", b"new\nline.png", b"a" * 200, b"price $5_$.png", b"0.zip", b"x.HEIC", b"t.csv")
            Path(os.fsdecode(os.fsencode(path.parent) + b"/" + rng.choice(names))).write_bytes(content)

    def _pack(self, rng: random.Random, raw: Path, folder: Path) -> Path:
        """Put the files into an archive, and spoil that."""
        inner = folder / "packed"
        inner.mkdir()
        files = [path for path in sorted(raw.rglob("*")) if path.is_file() and not path.is_symlink()]
        if rng.random() < 0.6:
            target = inner / rng.choice(("set.zip", "SET.ZIP"))
            with zipfile.ZipFile(target, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))) as archive:
                for path in files:
                    archive.writestr(os.fsencode(path.relative_to(raw)).decode("utf-8", "replace"), path.read_bytes())
        else:
            target = inner / rng.choice(("set.tar", "fer2013.tar.gz", "set.tgz", "set.tar.xz"))
            with tarfile.open(target, {"tar": "w", "z": "w:gz", "x": "w:xz"}[target.name[-1].replace("r", "tar")]) as archive:
                for path in files:
                    archive.add(path, arcname=path.relative_to(raw))
        if rng.random() < 0.7:
            target.write_bytes(spoil_bytes(rng, target.read_bytes()))
        return inner


class Configurations:
    """params.yaml as a study writes it, spoilt as text and as values."""

    def __init__(self, folder: Path) -> None:
        from ruamel.yaml import YAML

        from ferlab.studies import studies, study_text

        root = Path(__file__).parents[2]
        self.texts = [study_text(root, name) for name in studies(root)]
        self.yaml = YAML(typ="safe")
        self.values = [self.yaml.load(text) for text in self.texts]

    def run(self, rng: random.Random, folder: Path) -> None:
        """Check one file of parameters."""
        from ferlab.params import load_params

        path = folder / "params.yaml"
        if rng.random() < 0.5:
            path.write_bytes(spoil_text(rng, rng.choice(self.texts)))
        else:
            with path.open("w") as file:
                self.yaml.dump(spoil_value(rng, rng.choice(self.values)), file)
        load_params(path)


class Models:
    """Model files: an exported one, weights, weights of others; their bytes, and their cards."""

    def __init__(self, folder: Path) -> None:
        import pickle

        import torch
        from safetensors.torch import save

        from ferlab.models import create_model, load_model, save_model

        torch.set_num_threads(1)
        torch.manual_seed(0)
        module = create_model("mini_xception")
        expressions = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
        card = {"name": "mini_xception", "options": {}, "expressions": expressions, "mean": [0.5], "std": [0.2], "size": 48, "channels": 1}
        save_model(folder / "w.safetensors", module, **card)
        self.weights = (folder / "w.safetensors").read_bytes()
        self.tensors = {key: value.clone() for key, value in module.state_dict().items()}
        size = int.from_bytes(self.weights[:8], "little")
        self.card = json.loads(json.loads(self.weights[8 : 8 + size])["__metadata__"]["ferlab"])
        self.exported = self._export(load_model(folder / "w.safetensors"), folder / "m.onnx")
        small = {"fc.weight": torch.zeros(3, 2), "fc.bias": torch.zeros(3)}
        data = io.BytesIO()
        torch.save({"state_dict": small}, data)
        arrays = pickle.dumps({key: value.numpy() for key, value in small.items()})
        self.others = {".pth": data.getvalue(), ".pkl": arrays, ".safetensors": save(small)}

    def _export(self, model: object, path: Path) -> bytes:
        from ferlab.deployment.export import export_onnx

        rows = [{"risk": 0.1, "threshold": 0.5}]
        stated = {"temperature": 1.1, "fitted_on": "9 faces", "risk": 0.1, "abstention": rows, "precision": {}, "measured_on": "9 faces"}
        export_onnx(model, path, confidence=stated)  # type: ignore[arg-type]
        return path.read_bytes()

    def run(self, rng: random.Random, folder: Path) -> None:
        """Open one file and score two faces."""
        rng.choice((self._run_exported, self._run_card, self._run_weights, self._run_weights_card, self._run_checkpoint))(rng, folder)

    def _run_exported(self, rng: random.Random, folder: Path, content: bytes | None = None) -> None:
        from ferlab.deployment import Predictor

        path = folder / "m.onnx"
        path.write_bytes(spoil_bytes(rng, self.exported) if content is None else content)
        probs = Predictor.load(path).predict_faces(np.zeros((2, 48, 48), np.uint8))
        assert np.isfinite(probs).all()

    def _run_card(self, rng: random.Random, folder: Path) -> None:
        import onnx

        proto = onnx.load_model_from_string(self.exported)
        card = json.loads(proto.metadata_props[0].value)
        onnx.helper.set_model_props(proto, {"ferlab": json.dumps(spoil_value(rng, card))})
        dims = rng.choice((*proto.graph.input, *proto.graph.output)).type.tensor_type.shape.dim
        if rng.random() < 0.3:
            rng.choice(dims).dim_value = rng.choice((0, 1, 2, 7, 1024, 2**40, -1))
        node = rng.choice(proto.graph.node)
        if rng.random() < 0.5 and node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.i = rng.choice((0, 1, -1, 2, 2**31, 2**62))
            attribute.ints[:] = [rng.choice((0, 1, -1, 3, 2**31)) for _ in attribute.ints]
        elif rng.random() < 0.5:
            node.op_type = rng.choice(("Loop", "If", "Range", "Expand", "Tile", "NonZero", "Concat", "Gemm", "Conv", "Softmax", "Pad", "Resize"))
        self._run_exported(rng, folder, proto.SerializeToString())

    def _run_weights(self, rng: random.Random, folder: Path) -> None:
        from ferlab.models import load_model

        (folder / "w.safetensors").write_bytes(spoil_bytes(rng, self.weights))
        load_model(folder / "w.safetensors")

    def _run_weights_card(self, rng: random.Random, folder: Path) -> None:
        from safetensors.torch import save

        from ferlab.models import load_model

        card = spoil_value(rng, self.card | {"values": {"valence": [-1, 1]}, "output": "softmax"} if rng.random() < 0.5 else self.card)
        (folder / "w.safetensors").write_bytes(save(self.tensors, metadata={"ferlab": json.dumps(card)}))
        load_model(folder / "w.safetensors")

    def _run_checkpoint(self, rng: random.Random, folder: Path) -> None:
        from ferlab.models.checkpoints import read_checkpoint

        ending, content = rng.choice(list(self.others.items()))
        (folder / f"c{ending}").write_bytes(spoil_bytes(rng, content))
        read_checkpoint(folder / f"c{ending}")


class Tables:
    """Small tables that a user writes by hand: boxes, exclusions and corrections."""

    def __init__(self, folder: Path) -> None:
        self.boxes = "face_id,x,y,width,height\n" + "".join(f"s/{row}.png,{row},0,{10 + row},12\n" for row in range(6))
        self.excluded = "face_id,why,who\n" + "".join(f"s/{row}.png,blurred,me\n" for row in range(6))
        corrected = "".join(f"s/{row}.png,happy,sad|fear,me,looked,2026-11-28\n" for row in range(6))
        self.corrected = f"face_id,old,new,who,why,when\n{corrected}"

    def run(self, rng: random.Random, folder: Path) -> None:
        """Read one table."""
        import pandas as pd

        from ferlab.data.preparation.corrections import read_corrections
        from ferlab.data.preparation.sources import read_exclusions
        from ferlab.data.preparation.steps import read_boxes

        known = pd.Series([f"s/{row}.png" for row in range(6)])
        boxes = functools.partial(read_boxes, known=known)
        text, read = rng.choice(((self.boxes, boxes), (self.excluded, read_exclusions), (self.corrected, read_corrections)))
        (folder / "t.csv").write_bytes(spoil_text(rng, text))
        read(folder / "t.csv")


TARGETS: dict[str, type[Target]] = {
    "pictures": Pictures, "readers": Readers, "configurations": Configurations, "models": Models, "tables": Tables,
}  # fmt: skip
