"""Shards: a dataset too large for one disk as tar files in WebDataset's form, local or remote, in place of one `images.npy`.

`shards/shard-000000.tar` and so on hold `faces_per_shard` faces each as `<row, nine digits>.png`; `shards.json` names their count, shape, checksums
and place (`base`: a folder, or an address such as https://...). Any reader of WebDataset can use them. The PNGs are OpenCV's default (fast deflate
after one filter): half the time of Pillow's fastest to write and to read, a third larger. Times and owners in the tar are fixed, so the same faces
give the same bytes, also after an interruption.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ferlab.paths import ROOT, InputError, first_line, write_json, write_whole

SHARDS, INDEX = "shards", "shards.json"
MOST_DECODED = 1 << 26  # bytes of the faces of one shard
WINDOW = 1 << 29  # bytes of decoded faces that an epoch shuffles together
KEPT = WINDOW + (1 << 27)  # bytes of decoded faces in memory: the window moves while it is read
CACHED = 10 * 10**9  # bytes of remote shards on disk
REMOTE = ("http", "https", "ftps", "s3", "gs", "hf")  # Keep: webdataset would also run the commands of a pipe: address
THREADS = 2
ADVICE = "Get the shard again, or run the stage prepare again."


class ShardFiles:
    """An `ImageWriter` of shards. A shard is written whole or not at all, so an interrupted preparation resumes after the last one."""

    def __init__(self, folder: Path, *, faces_per_shard: int) -> None:
        """Write below `folder`.

        `resume` must come before `append`. Small shards (at most 64 MiB of pixels) shuffle better, large ones suit remote servers.
        """
        self.folder, self.block, self.count, self.shape = folder, faces_per_shard, 0, None
        self._sums: list[str] = []
        self._faces: list[np.ndarray] = []  # of the shard that is not yet whole
        (folder / SHARDS).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> ShardFiles:
        """Use it as a block, as every `ImageWriter`."""
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: no file is open between two shards."""

    def resume(self, count: int, shape: tuple[int, ...] | None) -> int:
        """Keep the whole shards of the first `count` faces, remove everything else, and return how many faces are kept."""
        whole: list[Path] = []
        while (len(whole) + 1) * self.block <= count and self._path(len(whole)).is_file():
            whole.append(self._path(len(whole)))
        for path in sorted(set((self.folder / SHARDS).iterdir()) - set(whole)):
            path.unlink()
        (self.folder / INDEX).unlink(missing_ok=True)
        self._sums, self._faces = [_checksum(path.read_bytes()) for path in whole], []
        self.count = len(whole) * self.block
        self.shape = shape if self.count else None
        return self.count

    def kept(self) -> Iterator[np.ndarray]:
        """Yield the images that `resume` has kept and those appended since, in order, up to the first that cannot be read."""
        for number in range(len(self._sums)):
            with suppress(InputError):
                yield from _decoded(self._path(number).read_bytes(), where=str(self._path(number)), first=number * self.block, count=self.block)
                continue
            return
        yield from self._faces

    def append(self, image: np.ndarray) -> None:
        """Add one image, uint8 (H, W) or (H, W, 3), of the shape of those before it.

        Raises:
            InputError: If a shard of so many faces of this size would be too large.
        """
        if self.shape is None:
            most = MOST_DECODED // image.nbytes
            if self.block > most:
                raise InputError(f"shards of {self.block} faces of {image.nbytes:,} bytes are too large; expected at most {most}. Set `shards`.")
            self.shape = image.shape
        self._faces.append(np.array(image))
        self.count += 1
        if len(self._faces) == self.block:
            self._write()

    def flush(self) -> None:
        """Do nothing: whole shards are on disk, and a partial one is redone."""

    def finish(self) -> None:
        """Write the last shard, which may be smaller, and the index."""
        if self._faces:
            self._write()
        index = {"count": self.count, "shape": list(self.shape or ()), "faces_per_shard": self.block, "base": SHARDS, "sha256": self._sums}
        write_json(self.folder / INDEX, index)

    def _write(self) -> None:
        from webdataset import TarWriter  # it imports torch

        first, packed = len(self._sums) * self.block, io.BytesIO()
        with ThreadPoolExecutor(THREADS) as pool, TarWriter(packed, user="ferlab", group="ferlab", mtime=0, encoder=False) as tar:
            for row, png in enumerate(pool.map(_encode, self._faces), start=first):
                tar.write({"__key__": _key(row), "png": png})
        path = self._path(len(self._sums))
        write_whole(path, packed.getvalue())
        self._sums.append(_checksum(packed.getvalue()))
        self._faces = []

    def _path(self, number: int) -> Path:
        return self.folder / SHARDS / _name(number)


class ShardedImages:
    """The images of a sharded store, read like an array of uint8 (N, H, W) or (N, H, W, 3), decoded shard by shard on access.

    Attributes:
        block: Faces per shard; rows `k * block` to `(k + 1) * block` lie together.
        shape: As an array's.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, folder: Path, *, base: str | None = None, cache: Path | None = None, memory: int = KEPT) -> None:
        """Read the index in `folder`.

        Args:
            folder: The store's, with `shards.json`.
            base: Place of the shards; None for the index's.
            cache: Folder for remote shards, at most `CACHED` bytes; None for one below data/.partial.
            memory: Bytes of decoded shards that are kept; one shard is always kept.

        Raises:
            InputError: If the index is missing or damaged, or its base is no folder and no address.
        """
        index = _read_index(folder / INDEX)
        self.block, self.shape = int(index["faces_per_shard"]), (int(index["count"]), *map(int, index["shape"]))
        self._index, self._sums, self._memory = folder / INDEX, index["sha256"], memory
        self._base, self._remote = _place(base or index["base"], folder)
        self._cache = cache or ROOT / "data" / ".partial" / "shards" / _checksum(json.dumps(index, sort_keys=True).encode())[:16]
        self._kept: OrderedDict[int, int] = OrderedDict()  # shard -> its place in _decoded, those used longest ago first
        self._decoded = self._empty()
        self._lock = Lock()

    @property
    def ndim(self) -> int:
        """Axes, 3 or 4."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all images as an array."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return images as a new array: a row, a slice, rows or a mask, and then anything for the other axes."""
        first, *others = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            return np.asarray(self)[key]
        rows = np.arange(len(self))[first]
        images = self._gather(rows.reshape(-1)).reshape(*rows.shape, *self.shape[1:])
        return images[(slice(None),) * rows.ndim + tuple(others)] if others else images

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield image after image."""
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all images in memory, for numpy; decoded shards are released."""
        images = self._gather(np.arange(len(self)))
        self._decoded = self._empty()
        return images.astype(dtype or np.uint8, copy=False)

    def _empty(self) -> np.ndarray:
        """Return room for decoded shards and drop the present ones."""
        each = max(1, self.block * self.nbytes // max(1, len(self)))
        places = max(1, min(len(self._sums), self._memory // each))
        self._kept.clear()
        self._free = list(range(places))
        # Keep: one array. Shards in arrays of their own fragment the memory: 0.6 GB of them took 3.7 GB.
        return np.empty((places, self.block, *self.shape[1:]), dtype=np.uint8)

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        shards = rows // self.block
        order = np.argsort(shards, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1) if len(rows) else []:
            number = int(shards[places[0]])
            with self._lock:
                images[places] = self._shard(number)[rows[places] - number * self.block]
        return images

    def _shard(self, number: int) -> np.ndarray:
        """Return the decoded faces of a shard, valid until the next call; the least recently used one makes room."""
        if number not in self._kept:
            if not self._free:
                self._free.append(self._kept.popitem(last=False)[1])
            self._decode(number, self._decoded[self._free[-1]])
            self._kept[number] = self._free.pop()
        self._kept.move_to_end(number)
        return self._decoded[self._kept[number]]

    def _decode(self, number: int, faces: np.ndarray) -> None:
        """Decode a shard into `faces`, whose end the last shard may leave unchanged."""
        first, where = number * self.block, self._where(number)
        count = min(self.block, len(self) - first)
        for place, face in enumerate(_decoded(self._read(number), where=where, first=first, count=count)):
            if face.shape != self.shape[1:]:
                raise InputError(f"{where}, {_key(first + place)}.png is no face of {self.shape[1:]}; expected that of {self._index}. {ADVICE}")
            faces[place] = face

    def _read(self, number: int) -> bytes:
        """Return the bytes of a shard with the right checksum; a remote one is cached on disk."""
        from webdataset import LRUCleanup  # it imports torch

        where = self._where(number)
        if not self._remote:
            try:
                return self._checked((self._base / _name(number)).read_bytes(), number)
            except FileNotFoundError:
                raise InputError(f"{where} is missing; expected one of the {len(self._sums)} shards of {self._index}. {ADVICE}") from None
        cached = self._cache / _name(number)
        if cached.is_file() and _checksum(data := cached.read_bytes()) == self._sums[number]:
            return data
        data = self._checked(_fetch(where), number)
        self._cache.mkdir(parents=True, exist_ok=True)
        write_whole(cached, data)
        LRUCleanup(str(self._cache), CACHED, interval=None).cleanup()
        return data

    def _checked(self, data: bytes, number: int) -> bytes:
        found, expected = _checksum(data), self._sums[number]
        if found != expected:
            told = f"{self._where(number)} is cut or damaged: its checksum begins with {found[:12]}, expected {expected[:12]}"
            raise InputError(f"{told} as in {self._index}. {ADVICE}")
        return data

    def _where(self, number: int) -> str:
        return f"{self._base}/{_name(number)}"


def _name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def _key(row: int) -> str:
    return f"{row:09d}"


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _decoded(data: bytes, *, where: str, first: int, count: int) -> Iterator[np.ndarray]:
    """Yield the faces of a shard of `count` rows from `first` on."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    try:
        samples = list(group_by_keys(tar_file_expander([{"url": where, "stream": io.BytesIO(data)}])))
    except Exception as error:  # noqa: BLE001 - tarfile and webdataset raise many types for a damaged file
        raise InputError(f"{where} is cut or damaged ({str(error)[:200] or type(error).__name__}). {ADVICE}") from None
    if [sample["__key__"] for sample in samples] != [_key(first + place) for place in range(count)]:
        raise InputError(f"{where} does not hold the faces {first} to {first + count - 1}; expected those of its index. {ADVICE}")
    with ThreadPoolExecutor(THREADS) as pool:
        for place, face in enumerate(pool.map(_decode_png, (sample.get("png") for sample in samples))):
            if face is None:
                raise InputError(f"{where}, {_key(first + place)}.png is no face. {ADVICE}")
            yield face


def _encode(image: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _decode_png(data: bytes | None) -> np.ndarray | None:
    import cv2

    image = cv2.imdecode(np.frombuffer(data or b"\0", dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    return image if image is None or image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text())
        shards = -(-index["count"] // index["faces_per_shard"])
        if len(index["sha256"]) != shards or len(index["shape"]) not in (2, 3) or not isinstance(index["base"], str):
            raise ValueError(f"{len(index['sha256'])} checksums for {shards} shards of faces of shape {index['shape']}")
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        found = f"{path} is no index of shards ({first_line(error)})"
        raise InputError(f"{found}; expected the file that the stage prepare writes. Run it again.") from None
    return index


def _place(base: str, folder: Path) -> tuple[Any, bool]:
    """Return the folder or the address of the shards, and whether it is an address."""
    scheme = base.split("://")[0] if "://" in base else base.split(":")[0] if ":" in base else ""
    if scheme in REMOTE:
        return base.rstrip("/"), True
    if scheme:
        raise InputError(f"{folder / INDEX}: the base {base!r} cannot be read; expected a folder, or an address with {', '.join(REMOTE)}.")
    return folder / base, False


def _fetch(where: str) -> bytes:
    from webdataset import gopen

    try:
        with gopen(where) as stream:
            return stream.read()
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{where} cannot be fetched ({first_line(error)[:200]}); check the base in {INDEX} and the connection.") from None
