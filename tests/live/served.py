"""A server of the model that ships, in a test's own loop, and what is sent to it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestClient
from PIL import Image

from ferlab.control import read
from ferlab.live.model import LiveModel
from ferlab.live.serving.limits import Access, Limits
from ferlab.live.serving.server import FaceServer


class Served(BaseTestServer):
    """aiohttp's test server around ours."""

    def __init__(self, server: FaceServer) -> None:
        super().__init__()
        self.faces = server

    async def _make_runner(self, **_: Any) -> web.ServerRunner:
        return web.ServerRunner(self.faces)


@cache
def model() -> LiveModel:
    return LiveModel.load()


def serving(check: Callable[[TestClient, FaceServer], Awaitable[None]], *, access: Access | None = None, **limits: Any) -> None:
    """Run `check` with a client of a fresh server; it must be up afterwards."""

    async def main() -> None:
        server = FaceServer(model(), access=access or Access("127.0.0.1"), limits=Limits(**limits))
        try:
            async with TestClient(Served(server)) as client:
                await check(client, server)
                assert (await client.get("/health")).status == 200, "it is up afterwards"
        finally:
            server.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@cache
def drawn_faces(count: int = 4, size: int = 48) -> np.ndarray:
    return read(faces=count, size=size, seed=0)[0]


@cache
def photo() -> bytes:
    """Return a picture with one drawn face in it."""
    pixels = np.full((240, 240), 120, np.uint8)
    pixels[60:156, 70:166] = drawn_faces(1, 96)[0]
    return encoded(pixels)


async def raw(client: TestClient, sent: bytes, *, wait: float = 5.0) -> tuple[int, dict[str, Any]]:
    """Send bytes on a connection of their own; return the status and the line of what comes back before the server closes."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        writer.write(sent)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), wait)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body.count(b"\n") == 1, "one line"
    return int(head.split()[1]), json.loads(body)
