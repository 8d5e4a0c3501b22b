"""A folder served over HTTP on this machine with the delays of an object store: a wait before each answer, and a rate at which each is sent.

    python tests/bench/object_store.py FOLDER LATENCY_SECONDS BYTES_PER_SECOND

Prints its port and serves until it is ended. Whole objects and ranges (`Range: bytes=a-b`), as S3 answers them for a path-style address without
signatures; answers to several requests at once do not slow each other down.
"""

from __future__ import annotations

import hashlib
import re
import sys
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PART = 1 << 16  # bytes between two looks at the clock


class Objects(BaseHTTPRequestHandler):
    """Answers GET and HEAD with the files below `folder`."""

    protocol_version = "HTTP/1.1"
    folder, latency, rate = Path(), 0.0, 1.0

    def do_GET(self) -> None:
        """Wait, then send an object or a range of it."""
        self._answer(send=True)

    def do_HEAD(self) -> None:
        """Wait, then send the headers alone."""
        self._answer(send=False)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, *, send: bool) -> None:
        time.sleep(self.latency)
        path = (self.folder / self.path.partition("?")[0].lstrip("/")).resolve()
        if not path.is_file() or not path.is_relative_to(self.folder):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = path.read_bytes()
        first, last, size = 0, len(data) - 1, len(data)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.md5(path.name.encode(), usedforsecurity=False).hexdigest()}"')
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if send:
            self._send(memoryview(data)[first : last + 1])

    def _send(self, data: memoryview) -> None:
        start = time.monotonic()
        for sent in range(0, len(data), PART):
            time.sleep(max(0.0, start + sent / self.rate - time.monotonic()))
            self.wfile.write(data[sent : sent + PART])


def main() -> None:
    """Serve."""
    Objects.folder, Objects.latency, Objects.rate = Path(sys.argv[1]).resolve(), float(sys.argv[2]), float(sys.argv[3])
    with ThreadingHTTPServer(("127.0.0.1", 0), Objects) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
