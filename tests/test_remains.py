"""What remains of a person is found in every kind of file that ferlab writes, and nothing else is taken for it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ferlab.data.faces import content_hash
from ferlab.remains import Traces, search

FACE = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
OTHERS = np.random.default_rng(1).integers(0, 256, (5, 48, 48), np.uint8)
PERSON = "p-7k3q"


def png(face: np.ndarray = FACE, *, level: int = 6) -> bytes:
    content = io.BytesIO()
    Image.fromarray(face).save(content, "PNG", compress_level=level)
    return content.getvalue()


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def table(values: list[str | bytes]) -> bytes:
    content = io.BytesIO()
    pd.DataFrame({"face_id": values}).to_parquet(content)
    return content.getvalue()


def shard(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("000000001.png")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
    return packed.getvalue()


def page(content: bytes) -> bytes:
    return json.dumps({"cells": [{"outputs": [{"data": {"image/png": base64.encodebytes(content).decode()}}]}]}).encode()


HOLDING = {
    "the same file": png(),
    "saved anew": png(level=1),
    "store": npy(np.concatenate([OTHERS, FACE[None]])),
    "one array": npy(FACE),
    "attributions": npz(faces=np.stack([OTHERS[0], FACE])),
    "ids in an npz": npz(ids=np.array([f"captured/{PERSON}/a.png"])),
    "predictions": table([f"captured/{PERSON}/a.png", "captured/p-2222/b.png"]),
    "pictures in a table": table([png(OTHERS[0]), png(level=1)]),
    "shard": shard(png(level=1)),
    "zip": zipped(png(level=1)),
    "zip in a zip": zipped(zipped(b"x " + PERSON.encode())),
    "gzip": gzip.compress(b"x," + PERSON.encode() + b",y"),
    "text": b"a\n" * 100_000 + b"captured/p-7k3q/a.png",
    "page": page(png(level=1)),
    "html": b'<img src="data:image/png;base64,' + base64.b64encode(png(level=1)) + b'">',
    "id": b"captured/by-hand/0001.png",
}
OTHER = {
    "another file": png(OTHERS[0]),
    "another store": npy(OTHERS),
    "floats": npy(np.zeros((3, 48, 48))),
    "objects": npy(np.array(["a"], dtype=object)),
    "another table": table(["captured/p-7k3qa/a.png", "captured/xp-7k3q/a.png", "captured/p-2222/b.png"]),
    "another shard": shard(png(OTHERS[1])),
    "damaged zip": zipped(png())[:-30],
    "damaged table": table(["a"])[:40],
    "damaged picture": png()[:200],
    "another page": page(png(OTHERS[2])),
    "nothing": b"",
}
TRACES = Traces(frozenset({PERSON, "captured/by-hand/0001.png"}), frozenset({hashlib.sha256(png()).hexdigest()}), frozenset({content_hash(FACE)}))


@pytest.mark.parametrize("name", HOLDING)
def test_what_holds_the_person_is_found(tmp_path, name):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".hidden").write_bytes(HOLDING[name])
    found = search([tmp_path], TRACES)
    assert (found.searched, list(found.found)) == (1, [tmp_path / "deep" / ".hidden"])


def test_what_is_of_others_is_not_found(tmp_path):
    for name, content in OTHER.items():
        (tmp_path / name).write_bytes(content)
    assert (found := search([tmp_path], TRACES)).found == {}
    assert found.searched == len(OTHER)


DAMAGED = [npy(OTHERS)[:-30], npy(OTHERS)[:90], b"PAR1" + bytes(36) + table([f"{number}" for number in range(99)])[40:]]


@pytest.mark.parametrize("content", DAMAGED, ids=["cut array", "cut head", "table"])
def test_a_damaged_array_or_table_is_named_and_the_search_goes_on(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    (tmp_path / "b.html").write_bytes(b"image/png;base64,AAAAA " + PERSON.encode())
    found = search([tmp_path], TRACES).found
    assert "damaged" in found[tmp_path / "a.npy"]
    assert "pseudonym" in found[tmp_path / "b.html"]


def test_a_page_with_a_damaged_picture_is_searched_to_its_end(tmp_path):
    (tmp_path / "a.html").write_bytes(b"image/png;base64,AAAAA image/png;base64," + base64.b64encode(png(level=1)))
    assert list(search([tmp_path], TRACES).found.values()) == ["the pixels of a face, in a page"]


def test_a_name_is_found_what_is_skipped_is_not_and_links_to_folders_end_the_walk(tmp_path):
    (tmp_path / f"{PERSON}.png").write_bytes(b"")
    (tmp_path / "note.json").write_text(PERSON)
    (tmp_path / "circle").symlink_to(tmp_path)
    assert search([tmp_path], TRACES, skip=[tmp_path / "note.json"]).found == {tmp_path / f"{PERSON}.png": "its name"}


def test_without_traces_nothing_is_found(tmp_path):
    (tmp_path / "a").write_bytes(png())
    assert search([tmp_path], Traces()).found == {}
