"""A server under load and attack for a minute: every request is answered, memory stays flat, and it ends when told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import psutil
import pytest
from served import drawn_faces, encoded, photo

ROOT = Path(__file__).parents[3]
SECONDS, RATE = 60, 50
GROWTH = 30_000_000  # bytes of resident memory, from the tenth second on
pytestmark = [pytest.mark.slow, pytest.mark.long]


class Load:
    """What was asked and answered."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session, self.port, self.url = session, port, f"http://127.0.0.1:{port}"
        self.asked, self.answered, self.repeated = 0, Counter(), 0
        self.writers: list[asyncio.StreamWriter] = []
        self.faces = [encoded(face) for face in drawn_faces()]

    async def post(self, number: int) -> None:
        """Send one picture, a sixth of them to be searched; again where the server says when."""
        self.asked += 1
        path, data = ("/predict", photo()) if number % 6 == 0 else ("/predict?whole=1&flip=0", self.faces[number % 4])
        while True:
            async with self.session.post(self.url + path, data=data) as response:
                answer = await response.json()
            if response.status not in (429, 503):
                break
            self.repeated += 1
            await asyncio.sleep(int(response.headers["Retry-After"]))
        self.answered[response.status if "faces" in answer else "no answer"] += 1

    async def stream(self, rate: float) -> None:
        """Send faces on one connection, and read each answer."""
        async with self.session.ws_connect(f"{self.url}/faces") as faces:
            for number in range(int(SECONDS * rate)):
                self.asked += 1
                await faces.send_bytes(self.faces[number % 4])
                answer = await faces.receive_json()
                self.answered["face" if answer["number"] == number and "expression" in answer else str(answer)] += 1
                await asyncio.sleep(1 / rate)

    async def steady(self, rate: float) -> None:
        """Send pictures at a rate that does not wait for the answers."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(SECONDS * rate)):
                await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
                group.create_task(self.post(number))

    async def attack(self) -> None:
        """Each second: noise, a half of a picture, an oversized one, a request that never ends, a caller that leaves."""
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        for second in range(SECONDS):
            for sent in (bytes(range(256)), f"{head}Content-Length: 5000\r\n\r\nhalf".encode(), f"{head}Content-Length: 9999999999\r\n\r\n".encode(),
                         f"{head}X-Slow: ".encode(), f"{head}Content-Length: {len(photo())}\r\n\r\n".encode() + photo()):  # fmt: skip
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    self.writers.append(writer)
                    writer.write(sent)
                    if second % 5:
                        writer.close()
                    else:
                        asyncio.get_running_loop().call_later(12, writer.close)  # after the server's patience
            if second == SECONDS // 2:
                await asyncio.gather(*(self.post(number) for number in range(1, 101)))
            await asyncio.sleep(1)


async def soak(port: int, process: psutil.Process) -> tuple[Load, list[int], dict]:
    """Load the server; return what was answered, its memory each second, and its last word on its health."""
    memory: list[int] = []

    async def watch() -> None:
        while True:
            memory.append(process.memory_info().rss)
            await asyncio.sleep(1)

    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=60)) as session:
        load = Load(session, port)
        watching = asyncio.create_task(watch())
        await asyncio.gather(load.steady(RATE - 10), load.stream(10), load.attack())
        watching.cancel()
        for writer in load.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in load.writers), return_exceptions=True)
        await asyncio.sleep(1)
        async with session.get(f"{load.url}/health") as response:
            return load, memory, await response.json()


def test_a_minute_of_load_and_attacks_loses_no_request_and_no_memory() -> None:
    own = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ferlab.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own) as server:
        try:
            port = int(re.search(r"127\.0\.0\.1:(\d+)/", server.stdout.readline())[1])
            # Keep: a thread of its own, for a browser test may have left its loop running in this one
            with ThreadPoolExecutor(1) as apart:
                load, memory, health = apart.submit(lambda: asyncio.run(soak(port, psutil.Process(server.pid)))).result()
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        assert server.stderr.read() == ""
    print(f"{load.asked} requests, {load.repeated} repeated, {load.answered}; memory {memory[9] / 1e6:.0f} to {memory[-1] / 1e6:.0f} MB")
    assert load.asked >= SECONDS * RATE
    assert sum(load.answered.values()) == load.asked
    assert set(load.answered) == {200, "face"}
    assert health["status"] == "ok"
    assert health["waiting"] == {"pictures": 0, "faces": 0}
    assert max(memory[10:]) - memory[9] < GROWTH
