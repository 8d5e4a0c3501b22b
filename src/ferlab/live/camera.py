"""The camera widget: a live camera, stills, video and picture files, dropped and pasted pictures, with the faces found in them.

Face search, landmarks and the model run in the browser, in a worker; what they need comes with the widget (`ferlab.live.parts`). Nothing leaves
the machine. The kernel receives a picture when the person takes or chooses one, and numbers of frames; a model that the browser cannot run (its
training faces were prepared by more than a crop) predicts in the kernel, from cropped faces.

`FRAMING` turns the detector's box into the square that FER2013's faces fill (tests/bench/framing.py, on 200 faces of its Training usage in a frame of
repeated edge pixels: 196 are found; the median IoU with the face's own square rises from 0.68 to 0.80).
"""

from __future__ import annotations

import gzip
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from ferlab.colours import COLOURS
from ferlab.data.readers.images import decode_picture
from ferlab.live.frames import Frame, Still, read_faces, read_frame
from ferlab.live.model import LiveModel
from ferlab.live.panels import style
from ferlab.live.parts import packed
from ferlab.paths import InputError

STATIC = Path(__file__).parent / "static"
STATES = (
    "idle", "starting", "running", "no camera", "denied", "no face", "several faces", "too large", "no picture", "no video", "ended", "failed",
)  # fmt: skip
USES = ("camera", "picture", "video")
MOST_BYTES = 32_000_000  # of a picture file; the browser states it before
SHOWN = 1600  # pixels: the longer side of the copy that the browser shows and searches
FRAMING = {"side": 0.846, "down": -0.031}
SEARCH = ("human.esm.js", "blazeface.json", "blazeface.bin", "facemesh.json", "facemesh.bin", "tfjs-backend-wasm-simd.wasm")
SPOOF = ("antispoof.json", "antispoof.bin", "liveness.json", "liveness.bin")
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
LOG = logging.getLogger(__name__)


@cache
def _source(*names: str) -> str:
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


class Camera(anywidget.AnyWidget):
    """A camera, files and the faces in them; see the module.

    Attributes:
        state: One of `STATES`, as the browser reports it.
        prompt: A text over the picture, such as an emoji to act; "" for none.
        labels: Whether the boxes carry the prediction.
        threshold: Predictions below this confidence are labelled uncertain.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    _parts = traitlets.Dict().tag(sync=True)
    _worker = traitlets.Unicode().tag(sync=True)
    _net = traitlets.Dict().tag(sync=True)
    _cleared = traitlets.Int(0).tag(sync=True)
    state = traitlets.Enum(STATES, "idle").tag(sync=True)
    prompt = traitlets.Unicode("").tag(sync=True)
    labels = traitlets.Bool(True).tag(sync=True)
    threshold = traitlets.Float(0.0).tag(sync=True)
    uses = traitlets.List(list(USES)).tag(sync=True)
    resolution = traitlets.List([640, 480]).tag(sync=True)
    spoof = traitlets.Bool(False).tag(sync=True)
    most_faces = traitlets.Int(5).tag(sync=True)
    most_bytes = traitlets.Int(MOST_BYTES).tag(sync=True)
    expressions = traitlets.List().tag(sync=True)
    colours = traitlets.Dict(dict(COLOURS)).tag(sync=True)
    framing = traitlets.Dict(dict(FRAMING)).tag(sync=True)
    predicts = traitlets.Enum(("browser", "kernel", "nothing"), "nothing").tag(sync=True)

    def __init__(self, model: LiveModel | None = None, *, uses: Sequence[str] = USES, spoof: bool = False, **options: Any) -> None:
        """Make a camera.

        Args:
            model: Predicts expressions; None: faces and landmarks alone.
            uses: What a person may hand over, of `USES`.
            spoof: Whether the spoof and liveness models run.
            options: Further traits.
        """
        files = [*SEARCH, *(SPOOF if spoof else ()), *RUNTIME]
        super().__init__(
            _esm=_source("boxes.js", "camera.js"), _css=style(), _worker=_source("worker.js"), _parts={name: packed(name) for name in files},
            uses=list(uses), spoof=spoof, **options,
        )  # fmt: skip
        self._functions: dict[str, list[Callable[[Any], None]]] = {"still": [], "frames": [], "state": [], "ended": [], "problem": []}
        self._received: dict[int, list[bytes]] = {}
        self._still: tuple[int, Still] | None = None
        self._own = 0
        self._set_model(model)
        self.on_msg(lambda _, content, buffers: self._receive(content, buffers))
        self.observe(lambda change: self._call("state", change["new"]), "state")

    @property
    def model(self) -> LiveModel | None:
        """The model; set another one at any time."""
        return self._model

    @model.setter
    def model(self, model: LiveModel | None) -> None:
        self._set_model(model)
        if self._still is not None:  # the picture that is shown is predicted anew, with its boxes and its selected face
            self._own -= 1
            self._show(self._own, self._still[1])

    def on_still(self, function: Callable[[Still], None]) -> None:
        """Call `function` with each still, and again when the person changes its boxes or selects another face."""
        self._functions["still"].append(function)

    def on_frames(self, function: Callable[[list[Frame]], None]) -> None:
        """Call `function` about five times a second with the frames since the last call, while the camera or a video runs."""
        self._functions["frames"].append(function)

    def on_state(self, function: Callable[[str], None]) -> None:
        """Call `function` with each new state."""
        self._functions["state"].append(function)

    def on_ended(self, function: Callable[[str], None]) -> None:
        """Call `function` with the name of a video that has been played to its end."""
        self._functions["ended"].append(function)

    def on_problem(self, function: Callable[[str], None]) -> None:
        """Call `function` with one line when a picture cannot be read or a function of the kernel failed."""
        self._functions["problem"].append(function)

    def start(self) -> None:
        """Start the camera."""
        self.send({"do": "start"})

    def stop(self) -> None:
        """Stop the camera or the video; its light goes out."""
        self.send({"do": "stop"})

    def clear(self) -> None:
        """Stop, and forget the picture in the kernel and in the browser: where a person discards it, or it is no longer needed."""
        self._still = None
        self._received.clear()
        self._cleared += 1
        self.send({"do": "clear", "cleared": self._cleared})

    def take(self) -> None:
        """Take a still of the running camera, as the button does."""
        self.send({"do": "take"})

    def play(self, video: bytes, *, name: str, kind: str = "video/mp4") -> None:
        """Play a video in the browser.

        Args:
            video: The file.
            name: What it is called.
            kind: Its MIME type.
        """
        self.send({"do": "play", "name": name, "type": kind}, buffers=[video])

    def show(self, picture: np.ndarray, *, name: str = "") -> None:
        """Show a picture of the kernel and search its faces, as if the person had chosen it.

        Args:
            picture: uint8 (H, W) or (H, W, 3) in RGB.
            name: What it is called.
        """
        self._own -= 1  # keys of the browser's own pictures are positive
        self._show(self._own, Still(picture, (), None, name, "sample"))

    def propose(self, boxes: Sequence[Sequence[float]]) -> None:
        """Put boxes, (x, y, width, height) in pixels each, over the picture that is shown, in place of the browser's own."""
        self.send({"do": "boxes", "boxes": [[float(value) for value in box] for box in boxes]})

    def _set_model(self, model: LiveModel | None) -> None:
        self._model = model
        if model is None:
            self._net, self.expressions, self.predicts, self.threshold = {}, [], "nothing", 0.0
            return
        net = model.predictor
        self.expressions, self.threshold = list(net.expressions), model.threshold
        self.predicts = "browser" if net.steps is None else "kernel"
        temperature = model.temperature
        shape = {"size": net.size, "channels": net.channels, "batch": net.batch, "expressions": list(net.expressions), "temperature": temperature}
        self._net = {**shape, "content": gzip.compress(model.content, 1, mtime=0)} if self.predicts == "browser" else {}

    def _receive(self, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        try:
            self._answer(content, buffers)
        except InputError as error:
            self._refuse(content, str(error))
        except Exception as error:  # an error in a callback would reach the log alone, and the person would wait for ever
            LOG.exception("the camera's message %s", content.get("kind"))
            self._refuse(content, f"{type(error).__name__}: {error}")

    def _answer(self, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        kind = content.get("kind")
        if kind == "frames":
            self._call("frames", [read_frame(row) for row in content["frames"]])
        elif kind == "file":
            if content.get("cleared", 0) == self._cleared:  # else: sent before the browser knew that the picture is to be forgotten
                self._collect(content, bytes(buffers[0]))
        elif kind == "played":
            self._still = None
        elif kind == "still":
            self._take_faces(content)
        elif kind == "crops":
            self._predict_crops(content, buffers)
        elif kind == "ended":
            self._call("ended", str(content.get("name", "")))

    def _refuse(self, content: Mapping[str, Any], text: str) -> None:
        line = " ".join(text.split())
        self.send({"do": "refuse", "key": content.get("key"), "text": line})
        self._call("problem", line)

    def _collect(self, content: Mapping[str, Any], part: bytes) -> None:
        """Join the parts of a file; decode and show it when the last one is here."""
        key, total, most = int(content["key"]), int(content["bytes"]), self.most_bytes
        if total > most:
            raise InputError(f"{content['name']}: {total:,} bytes; pictures of at most {most:,} are read")
        parts = self._received.setdefault(key, [])
        if len(parts) != int(content["part"]) or sum(map(len, parts)) + len(part) > most:
            self._received.pop(key)
            raise InputError(f"{content['name']}: a part of it got lost on the way; choose it again")
        parts.append(part)
        if len(parts) < int(content["parts"]):
            return
        whole = b"".join(self._received.pop(key))
        name = str(content["name"])
        picture = decode_picture(whole, where=name or "the camera's picture")
        self._show(key, Still(picture, (), None, name, str(content["source"]), whole))

    def _show(self, key: int, still: Still) -> None:
        self._still = (key, still)
        high, wide = still.picture.shape[:2]
        small = Image.fromarray(still.picture)
        small.thumbnail((SHOWN, SHOWN), Image.Resampling.BILINEAR)
        png = io.BytesIO()
        small.save(png, format="PNG", compress_level=1)
        faces = [{**asdict(face), "probs": None} for face in still.faces] or None
        known = {"name": still.name, "width": wide, "height": high, "faces": faces, "chosen": still.chosen}
        self.send({"do": "show", "key": key, **known}, buffers=[png.getvalue()])

    def _take_faces(self, content: Mapping[str, Any]) -> None:
        if self._still is None or content["key"] != self._still[0]:
            return
        key, still = self._still
        faces = read_faces(content["faces"])
        chosen = content.get("chosen")
        known = None if chosen is None else int(content["faces"][chosen]["id"])
        if self.predicts == "kernel" and self._model is not None:
            faces = tuple(replace(face, probs=self._model.predict(still.picture, face.box)) for face in faces)
            by_id = {face.id: face.probs.tolist() for face in faces}
            self.send({"do": "label", "key": key, "rows": [by_id[int(face["id"])] for face in content["faces"]]})
        place = next((place for place, face in enumerate(faces) if face.id == known), None)
        self._still = (key, replace(still, faces=faces, chosen=place))
        self._call("still", self._still[1])

    def _predict_crops(self, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        rows = []
        for face, buffer in zip(content["faces"], buffers, strict=True):
            pixels = np.frombuffer(buffer, np.uint8).reshape(int(face["height"]), int(face["width"]), 3)
            rows.append([int(face["id"]), self._model.predictor.predict_faces(pixels[None])[0].tolist()] if self._model else [int(face["id"]), None])
        self.send({"do": "probs", "key": content["key"], "rows": rows})

    def _call(self, what: str, value: Any) -> None:
        for function in self._functions[what]:
            function(value)
