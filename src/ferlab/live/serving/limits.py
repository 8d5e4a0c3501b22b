"""What keeps a server of predictions up: limits, who may ask, how often, and two threads that predict.

Each refusal is a status and one line. Nothing of a request is stored or logged.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import ipaddress
import re
import warnings
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import numpy as np
from PIL import Image

from ferlab.data.readers.images import FORMATS, decode_picture, picture_format
from ferlab.paths import InputError

T = TypeVar("T")
ADDRESSES = 1024  # whose rates are remembered
NAMED = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::\d{1,5})?")  # a Host header: name or address, and port
SHORTEST_KEY = 16  # characters


@dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    Attributes:
        picture_bytes: Of a picture.
        picture_pixels: Of a picture, by its header.
        face_bytes: Of a face on a WebSocket; cs231a's faces fit one UDP datagram of 65 KB.
        face_side: Of such a face, in pixels.
        connections: Open at a time.
        waiting: Requests that wait for a thread.
        held_bytes: Of all pictures that arrive, wait or are predicted.
        rate: Requests a second of one address, over time.
        burst: Requests of one address at once.
        head_s: Until the first request of a connection is complete, in seconds.
        body_s: Until its picture is.
        idle_s: Between two requests of a connection.
        send_s: Until the client has taken an answer.
    """

    picture_bytes: int = 16_000_000
    picture_pixels: int = 25_000_000
    face_bytes: int = 65_000
    face_side: int = 250
    connections: int = 128
    waiting: int = 128
    held_bytes: int = 128_000_000
    rate: float = 100.0
    burst: int = 200
    head_s: float = 10.0
    body_s: float = 20.0
    idle_s: float = 60.0
    send_s: float = 10.0


class Refusal(Exception):
    """A request that is refused with one line.

    Attributes:
        status: Of HTTP.
        line: For the client.
        retry_after: Seconds after which to try again; None where that is no use.
    """

    def __init__(self, status: int, line: str, *, retry_after: int | None = None) -> None:
        super().__init__(line)
        self.status, self.line, self.retry_after = status, line, retry_after


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        host: The address that is served.
        key: That each request has to bring; "" for none, which loopback alone allows.
    """

    host: str
    key: str = ""

    def __post_init__(self) -> None:
        """Check that the address may be served without a key.

        Raises:
            InputError: If it may not, or the key is short.
        """
        if not self.key and not is_loopback(self.host):
            raise InputError(f"--host {self.host}: other machines can reach it; expected a key: --key-file FILE, or FERLAB_KEY. Or use 127.0.0.1.")
        if self.key and (len(self.key) < SHORTEST_KEY or not (self.key.isascii() and self.key.isprintable())):
            raise InputError(f"the key is too short, or no plain text; expected {SHORTEST_KEY} or more letters and digits: openssl rand -hex 16")

    def check_source(self, *, host: str, origin: str | None) -> None:
        """Check where a request comes from, by its headers.

        Args:
            host: `Host`. On loopback another name than the machine's own is a web page's that rebinds its name (DNS rebinding).
            origin: `Origin`; a page of another origin may not ask, as browsers do not keep the answers of a WebSocket from it.

        Raises:
            Refusal: 403.
        """
        named = NAMED.fullmatch(host)
        if is_loopback(self.host) and not (named and is_loopback(named[1].strip("[]").lower())):
            raise Refusal(403, "the Host header names another machine; expected 127.0.0.1 or localhost")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            raise Refusal(403, "pages of other origins may not ask")

    def check_key(self, authorization: str) -> None:
        """Check the header `Authorization`, in time that does not depend on what it holds.

        Raises:
            Refusal: 401.
        """
        given = authorization.removeprefix("Bearer ").strip()
        if self.key and not hmac.compare_digest(given.encode(errors="surrogateescape"), self.key.encode()):
            raise Refusal(401, "the key is missing or wrong; expected the header Authorization: Bearer KEY")


def is_loopback(host: str) -> bool:
    """Return whether an address or a name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Rates:
    """A token bucket for each address."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one request.

        Raises:
            Refusal: 429.
        """
        now = self._clock()
        left, before = self._left.pop(address, (float(self._burst), now))
        left = min(float(self._burst), left + (now - before) * self._rate)
        self._left[address] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        if left < 1:
            raise Refusal(429, f"more than {self._rate:g} requests a second; wait a second", retry_after=1)


class Held:
    """Bytes of all pictures in memory."""

    def __init__(self, most: int) -> None:
        self.most, self.bytes = most, 0

    @contextmanager
    def room(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts arriving bytes until the block ends; it raises Refusal 503 beyond the limit."""
        own = 0

        def count(arrived: int) -> None:
            nonlocal own
            if self.bytes + arrived > self.most:
                raise Refusal(503, "too many pictures at a time; try again in a second", retry_after=1)
            own += arrived
            self.bytes += arrived

        try:
            yield count
        finally:
            self.bytes -= own


class Lane:
    """One thread that predicts, and a bounded queue before it: faces do not wait for pictures, which are searched first."""

    def __init__(self, name: str, *, waiting: int) -> None:
        self._pool, self._waiting = ThreadPoolExecutor(1, thread_name_prefix=f"ferlab-{name}"), waiting
        self.pending = 0

    async def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, computed in the thread.

        Raises:
            Refusal: 503 where the queue is full.
        """
        if self.pending > self._waiting:
            raise Refusal(503, f"{self.pending} requests wait; try again in a second", retry_after=1)
        loop = asyncio.get_running_loop()
        self.pending += 1
        job = self._pool.submit(function)
        job.add_done_callback(lambda _: self._done(loop))
        return await asyncio.wrap_future(job)

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self.pending -= 1

    def close(self) -> None:
        """Drop what waits and let the thread end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def read_whole(chunks: AsyncIterator[bytes], count: Callable[[int], None], *, most: int, seconds: float) -> bytes:
    """Return a picture that arrives in chunks.

    Args:
        chunks: As they arrive.
        count: From `Held.room`.
        most: Bytes.
        seconds: Until the last has to be there.

    Raises:
        Refusal: 408, 413 or 503.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in chunks:
                size += len(chunk)
                if size > most:
                    raise too_large(most)
                count(len(chunk))
                parts.append(chunk)
    except TimeoutError:
        raise Refusal(408, f"the picture did not arrive within {seconds:g} seconds") from None
    return b"".join(parts)


def too_large(most: int) -> Refusal:
    """Return the refusal of a picture of too many bytes."""
    return Refusal(413, f"the picture has more than {most:,} bytes; send a smaller one")


def decode_bounded(data: bytes, *, most_pixels: int, most_side: int | None = None) -> np.ndarray:
    """Return a picture as `ferlab.data.readers.images.decode_picture` does, its size checked before anything is decoded.

    Args:
        data: The file.
        most_pixels: Of the whole picture.
        most_side: Of its longer side.

    Raises:
        InputError: As `decode_picture`; if it is larger.
    """
    if picture_format(data[:32]) in FORMATS:
        width, height = _size(data)
        if width * height > most_pixels or max(width, height) > (most_side or max(width, height)):
            expected = f"{most_side} pixels a side" if most_side else f"{most_pixels:,} pixels"
            raise InputError(f"the picture is {width} x {height}; expected at most {expected}")
    return decode_picture(data, where="the picture")


def _size(data: bytes) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on sizes: what is too large is refused
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.size
    except Exception:  # noqa: BLE001 - decode_picture says what is wrong
        return 0, 0
