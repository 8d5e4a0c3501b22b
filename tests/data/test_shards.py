from __future__ import annotations

import functools
import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ferlab.data import shards
from ferlab.data.shards import ShardedImages, ShardFiles
from ferlab.data.store import ImageRows, open_store, write_faces, write_store
from ferlab.paths import InputError

GREY, COLOUR = (12, 10), (12, 10, 3)


def some_faces(count: int, shape: tuple[int, ...] = GREY) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


def write_shards(folder: Path, images: np.ndarray, *, block: int = 4) -> Path:
    writer = ShardFiles(folder, faces_per_shard=block)
    writer.resume(0, None)
    for image in images:
        writer.append(image)
    writer.finish()
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of shards that are decoded from now on."""
    numbers: list[int] = []
    decode = ShardedImages._decode

    def counting(self: ShardedImages, number: int, faces: np.ndarray) -> None:
        numbers.append(number)
        decode(self, number, faces)

    monkeypatch.setattr(ShardedImages, "_decode", counting)
    return numbers


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_shards_read_as_the_array_that_was_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = some_faces(10, shape)
    read = ShardedImages(write_shards(tmp_path, images))
    assert (read.shape, read.dtype, read.ndim, read.nbytes, len(read)) == (images.shape, images.dtype, images.ndim, images.nbytes, 10)
    np.testing.assert_array_equal(read, images)
    rows = np.array([9, 0, 0, 5])
    mask = np.arange(10) % 3 == 0
    nothing = np.array([], dtype=np.int64)
    for key in (3, -1, np.int64(7), slice(2, 9), slice(None, None, -3), slice(4, 4), rows, mask, [1, 8], nothing, rows.reshape(2, 2)):
        np.testing.assert_array_equal(read[key], images[key])
        assert read[key].dtype == np.uint8
    np.testing.assert_array_equal(read[2:7, :, ::-1], images[2:7, :, ::-1])
    np.testing.assert_array_equal(read[5, ..., 1:3], images[5, ..., 1:3])
    np.testing.assert_array_equal(read[..., ::-1], images[..., ::-1])
    np.testing.assert_array_equal(np.stack(list(read)), images)
    with pytest.raises(IndexError):
        read[10]


def test_a_shard_is_a_plain_tar_of_pngs_that_anyone_can_read(tmp_path: Path) -> None:
    images = some_faces(6, COLOUR)
    write_shards(tmp_path, images)
    with tarfile.open(tmp_path / "shards" / "shard-000001.tar") as tar:
        assert tar.getnames() == ["000000004.png", "000000005.png"]
        assert {(member.mtime, member.uname, member.gname, member.uid) for member in tar} == {(0, "ferlab", "ferlab", 0)}
        np.testing.assert_array_equal(Image.open(io.BytesIO(tar.extractfile("000000005.png").read())), images[5])  # type: ignore[union-attr]
    index = json.loads((tmp_path / "shards.json").read_text())
    assert (index["count"], index["shape"], index["faces_per_shard"], index["base"], len(index["sha256"])) == (6, [12, 10, 3], 4, "shards", 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files to the collector
def test_webdataset_itself_reads_them(tmp_path: Path) -> None:
    from webdataset import WebDataset

    images = some_faces(6, COLOUR)
    write_shards(tmp_path, images)
    samples = list(WebDataset([str(path) for path in sorted((tmp_path / "shards").iterdir())], shardshuffle=False).decode("rgb8"))
    np.testing.assert_array_equal(np.stack([sample["png"] for sample in samples]), images)


def test_the_same_faces_give_the_same_bytes(tmp_path: Path) -> None:
    assert files_below(write_shards(tmp_path / "a", some_faces(10))) == files_below(write_shards(tmp_path / "b", some_faces(10)))


def test_writing_goes_on_after_the_last_whole_shard(tmp_path: Path) -> None:
    images = some_faces(11)
    whole = files_below(write_shards(tmp_path / "whole", images))
    for there, kept in ((11, 8), (9, 8), (7, 4), (3, 0)):
        writer = ShardFiles(write_shards(tmp_path / "broken", images), faces_per_shard=4)
        assert writer.resume(there, GREY) == kept
        assert writer.shape == (GREY if kept else None)
        for image in images[kept:]:
            writer.append(image)
        writer.finish()
        assert files_below(tmp_path / "broken") == whole


def test_memory_is_bounded_and_a_shard_in_use_is_decoded_once(tmp_path: Path, decoded: list[int]) -> None:
    images = some_faces(40)
    read = ShardedImages(write_shards(tmp_path, images), memory=2 * 4 * 120)
    np.testing.assert_array_equal(np.concatenate([read[start : start + 3] for start in range(0, 40, 3)]), images)
    assert decoded == list(range(10))
    assert read._decoded.nbytes == 2 * 4 * 120
    assert list(read._kept) == [8, 9]


def test_rows_are_read_when_asked_for(tmp_path: Path, decoded: list[int]) -> None:
    images = some_faces(10)
    rows = np.array([8, 1, 2, 9])
    chosen = ImageRows(ShardedImages(write_shards(tmp_path, images)), rows)
    assert (len(chosen), chosen.shape, chosen.ndim, chosen.dtype) == (4, (4, *GREY), 3, np.uint8)
    assert decoded == []
    np.testing.assert_array_equal(chosen[1:3], images[[1, 2]])
    assert decoded == [0]
    np.testing.assert_array_equal(chosen[-1], images[9])


def test_an_open_store_holds_the_shards(tmp_path: Path) -> None:
    images = some_faces(10)
    faces = pd.DataFrame(
        {
            "face_id": [f"a/{row}" for row in range(10)],
            "content_hash": [f"{row:064x}" for row in range(10)],
            "source": "a",
            "source_path": [f"{row}.png" for row in range(10)],
            "usage": "all",
            "target": np.arange(10) % 7,
            "split": "train",
        }
    )
    write_store(tmp_path / "plain", images, faces)
    write_faces(write_shards(tmp_path / "sharded", images), faces)
    opened = open_store(tmp_path / "sharded")
    assert isinstance(opened.images, ShardedImages)
    np.testing.assert_array_equal(opened.images, open_store(tmp_path / "plain").images)
    write_store(tmp_path / "sharded", images[::-1], faces)
    np.testing.assert_array_equal(open_store(tmp_path / "sharded").images, images[::-1])
    (tmp_path / "plain" / "shards.json").write_text("{}")
    with pytest.raises(InputError, match=r"shards.json is no index of shards \('count'\)"):
        open_store(tmp_path / "plain")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), r"shards/shard-000001.tar is missing; expected one of the 3 shards of"),
        (lambda path: path.write_bytes(path.read_bytes()[:-512]), r"000001.tar is cut or damaged: its checksum begins with \w{12}, expected \w{12}"),
        (lambda path: shutil.copy(path.with_name("shard-000000.tar"), path), r"shard-000001.tar is cut or damaged"),
    ],
)
def test_a_harmed_shard_is_one_clear_line(tmp_path: Path, harm, message: str) -> None:
    read = ShardedImages(write_shards(tmp_path, some_faces(10)), memory=2 * 4 * 120)
    harm(tmp_path / "shards" / "shard-000001.tar")
    np.testing.assert_array_equal(read[:4], some_faces(10)[:4])
    for _ in range(2):
        with pytest.raises(InputError, match=message) as told:
            read[5]
        assert "\n" not in str(told.value)
    np.testing.assert_array_equal(read[8:], some_faces(10)[8:])
    np.testing.assert_array_equal(read[:4], some_faces(10)[:4])


def test_an_index_that_fits_no_shard_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, some_faces(10))
    index = json.loads((tmp_path / "shards.json").read_text())

    def reading(**changes: object) -> ShardedImages:
        (tmp_path / "shards.json").write_text(json.dumps({**index, **changes}))
        return ShardedImages(tmp_path)

    for changes in ({"count": 13}, {"faces_per_shard": 0}, {"sha256": None}, {"shape": []}):
        with pytest.raises(InputError, match="is no index of shards"):
            reading(**changes)
    with pytest.raises(InputError, match=r"shard-000000.tar, 000000000.png is no face of \(10, 12\)"):
        reading(shape=[10, 12])[0]
    with pytest.raises(InputError, match=r"shard-000002.tar does not hold the faces 8 to 8"):
        reading(count=9)[8]
    with pytest.raises(InputError, match="base 'pipe:touch x' cannot be read"):
        reading(base="pipe:touch x")


def test_shards_too_large_for_memory_are_refused_before_one_is_written(tmp_path: Path) -> None:
    writer = ShardFiles(tmp_path, faces_per_shard=1000)
    with pytest.raises(InputError, match="expected at most 445"):
        writer.append(np.zeros((224, 224, 3), np.uint8))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve tmp_path/far on this machine and return its address."""
    if shutil.which("curl") is None:
        pytest.skip("webdataset fetches with curl, which is not installed")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(tmp_path / "far"))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_remote_shards_are_fetched_checked_and_kept_for_a_while(tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_faces(10)
    write_shards(tmp_path / "near", images)
    shutil.move(tmp_path / "near" / "shards", tmp_path / "far" / "shards")
    far, cache = tmp_path / "far" / "shards", tmp_path / "cache"
    reading = functools.partial(ShardedImages, tmp_path / "near", base=f"{served}/shards", cache=cache)
    np.testing.assert_array_equal(reading(), images)
    assert [path.name for path in sorted(cache.iterdir())] == [path.name for path in sorted(far.iterdir())]

    (far / "shard-000000.tar").write_bytes(b"changed")
    np.testing.assert_array_equal(reading()[:4], images[:4])
    (cache / "shard-000000.tar").write_bytes(b"broken on disk")
    with pytest.raises(InputError, match=rf"{served}/shards/shard-000000.tar is cut or damaged"):
        reading()[0]
    (cache / "shard-000001.tar").unlink()
    (far / "shard-000001.tar").unlink()
    with pytest.raises(InputError, match=r"shard-000001.tar cannot be fetched .* check the base"):
        reading()[4]

    shutil.rmtree(cache)
    monkeypatch.setattr(shards, "CACHED", 1)
    np.testing.assert_array_equal(reading()[8:], images[8:])
    assert list(cache.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np, pandas as pd
from ferlab.data import shards
from ferlab.data.preparation.building import NotAFace, prepare_pictures
from ferlab.data.shards import ShardFiles
from ferlab.data.store import ImageFile

folder, kind, moment, place = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])

def die_at(now, where):
    if (moment, place) == (now, where):
        os.kill(os.getpid(), signal.SIGKILL)

class Pictures:
    def __len__(self):
        return 300

    def __getitem__(self, row):
        die_at("picture", row)
        return np.random.default_rng(row).integers(0, 256, (20, 16)).astype(np.uint8)

def step(row, picture):
    if row % 7 == 3:
        raise NotAFace("every seventh")
    return picture[2:-2], {"angle": row / 2}

writer = ImageFile(folder / "images.npy") if kind == "file" else ShardFiles(folder, faces_per_shard=50)
flush, finish, write_whole = writer.flush, writer.finish, shards.write_whole

def flushing():
    flush()
    die_at("flushed", writer.count // 50)

def writing(path, data):
    path.with_suffix(".part1").write_bytes(data[:99])
    die_at("half a shard", int(path.stem[-6:]))
    path.with_suffix(".part1").unlink()
    write_whole(path, data)

writer.flush, shards.write_whole = flushing, writing
table = prepare_pictures(Pictures(), pd.Series([f"{row}.png" for row in range(300)]), step, writer=writer, work=folder / "work")
die_at("finish", 0)
writer.finish()
die_at("table", 0)
table.to_csv(folder / "table.csv")
"""


def prepare(folder: Path, kind: str, moment: str = "never", place: int = 0) -> int:
    command = [sys.executable, "-c", KILLED, str(folder), kind, moment, str(place)]
    done = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "shards"])
def test_a_preparation_killed_again_and_again_ends_with_the_bytes_of_an_unbroken_one(tmp_path: Path, kind: str) -> None:
    kills = [("picture", 40), ("picture", 130), ("flushed", 3), ("picture", 260), ("finish", 0), ("table", 0)]
    if kind == "shards":
        kills[2:2] = [("half a shard", 2)]
        kills[-1:] = [("half a shard", 5), ("table", 0)]
    assert prepare(tmp_path / "whole", kind) == 0
    for kill in kills:
        assert prepare(tmp_path / "broken", kind, *kill) == -signal.SIGKILL, kill
        assert not (tmp_path / "broken" / "table.csv").exists()
    assert prepare(tmp_path / "broken", kind) == 0
    whole = files_below(tmp_path / "whole")
    assert sum(name.endswith((".npy", ".tar")) for name in whole) == (1 if kind == "file" else 6)
    assert files_below(tmp_path / "broken") == whole
