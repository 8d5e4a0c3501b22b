"""What `ferlab predict` is given: pictures and videos by path, by folder, by address on the web, and a picture on standard input.

A folder is read with all below it, in the order of its names, hidden and system files excluded; names decide there what is a picture or a video.
Nothing is decoded before its turn. What comes from the web is as untrusted as a file: its content decides what it is, its size and the time that
it takes are bounded, and a redirection leads to another http or https address only.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import quote, unquote

import numpy as np

from ferlab.data.readers.delivery import is_helper
from ferlab.data.readers.images import MOST_BYTES, NAMED, decode_picture, is_picture
from ferlab.deployment import clip_files
from ferlab.deployment.face_search import ADDRESS, read_picture
from ferlab.paths import InputError, walk_files
from ferlab.version import ferlab_version

STDIN = "-"
WEB = re.compile(r"https?://[^/]", re.IGNORECASE)
MOST_VIDEO = 1 << 31  # bytes of a video from the web
SILENCE, LONGEST = 15.0, 600.0  # seconds without a byte, and of a whole download
CHUNK = 1 << 16
KEPT = "%/:=&?~#+!$,;'@()*[]"  # of an address: what has a meaning there, or is quoted already


@dataclass(frozen=True)
class Given:
    """One picture or video.

    Attributes:
        name: As lines and tables show it: a path, an address, or "-".
        clip: Whether it is a video.
        place: Where its annotated copy lies below the folder of these.
    """

    name: str
    clip: bool
    place: PurePosixPath

    def picture(self) -> np.ndarray:
        """Return the picture, uint8 (H, W) or (H, W, 3) in RGB, upright.

        Raises:
            InputError: If it is missing, too large or no picture, or an address does not answer.
        """
        if self.name == STDIN:
            return decode_picture(_read_stdin(), where="the picture on standard input")
        if WEB.match(self.name):
            content = io.BytesIO()
            fetch(self.name, content, most=MOST_BYTES)
            return decode_picture(content.getvalue(), where=self.name)
        return read_picture(self.name)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Yield the file of a video; one from the web lies in a temporary folder meanwhile.

        Raises:
            InputError: If an address does not answer, or answers with too much.
        """
        if not WEB.match(self.name):
            yield Path(self.name)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video"
            with path.open("wb") as target:
                fetch(self.name, target, most=MOST_VIDEO)
            try:
                yield path
            except InputError as error:
                raise InputError(str(error).replace(str(path), self.name)) from None


def gather(names: Sequence[str], *, aside: Path | None = None) -> tuple[list[Given], list[tuple[str, str]]]:
    """Return the pictures and videos that are named, in this order, and each folder that has none or cannot be listed, with a line on it.

    Args:
        names: Paths of files and folders, addresses, and "-" for standard input.
        aside: A folder whose files are passed by in folders: where annotated pictures go.
    """
    found: list[Given] = []
    problems: list[tuple[str, str]] = []
    for name in names:
        if name != STDIN and not ADDRESS.match(name) and os.path.isdir(name):
            below, problem = _below(name, aside)
            found += below
            problems += [(name, line) for line in problem]
        else:
            found.append(_single(name))
    return found, problems


def _single(name: str) -> Given:
    if name == STDIN:
        return Given(name, clip=False, place=PurePosixPath("stdin.jpg"))
    if WEB.match(name):
        path = unquote(re.split("[?#]", name.partition("//")[2])[0].partition("/")[2])
        last = PurePosixPath("".join(letter if letter.isprintable() else "_" for letter in path)).name
        clip = PurePosixPath(last).suffix.lower() in clip_files.ENDINGS
        return Given(name, clip=clip, place=_place(PurePosixPath(last or "picture"), clip=clip))
    clip = clip_files.is_clip(name)
    return Given(name, clip=clip, place=_place(PurePosixPath(Path(name).name or "picture"), clip=clip))


def _place(file: PurePosixPath, *, clip: bool) -> PurePosixPath:
    return file.with_suffix(".mp4" if clip else ".png" if file.suffix.lower() == ".png" else ".jpg")


def _below(folder: str, aside: Path | None) -> tuple[list[Given], list[str]]:
    kept = None if aside is None else os.path.realpath(aside)
    try:
        files = sorted(PurePosixPath(os.path.relpath(path, folder)) for path, plain in walk_files(Path(folder), skip=is_helper) if plain)
    except (OSError, InputError) as error:
        return [], [f"{folder}: cannot be listed ({getattr(error, 'strerror', None) or error}); expected a folder of pictures"]
    found = []
    for file in files:
        clip = file.suffix.lower() in clip_files.ENDINGS
        inside = kept is not None and os.path.realpath(os.path.join(folder, file)).startswith(os.path.join(kept, ""))
        if (clip or is_picture(file)) and not inside:
            found.append(Given(os.path.join(folder, file), clip=clip, place=_place(file, clip=clip)))
    return found, [] if found else [f"{folder}: no picture or video lies in it; expected {NAMED}, or {clip_files.NAMED}, by their names"]


def _read_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("-: expected a picture on standard input, as by `ferlab predict - < photo.jpg`")
    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"the picture on standard input has more than {MOST_BYTES:,} bytes; expected at most as many. Shrink it.")
    return content


def fetch(address: str, target: IO[bytes], *, most: int) -> None:
    """Write what an http or https address answers with to a file.

    Args:
        address: The address; letters that it may not have are quoted.
        target: Open for writing bytes.
        most: Bytes at most.

    Raises:
        InputError: If there is no such address or host, the answer is an error, longer than `most`, shorter than it states or too slow.
    """
    from urllib.error import HTTPError, URLError  # Keep: urllib.request loads half of the standard library, for addresses alone
    from urllib.request import Request

    try:
        request = Request(quote(address, safe=KEPT), headers={"User-Agent": f"ferlab/{ferlab_version()}", "Accept": "image/*, video/*"})
        with _opener().open(request, timeout=SILENCE) as answer:
            _copy(answer, target, most=most)
    except HTTPError as error:
        error.close()
        raise InputError(f"{address}: answered {error.code} {error.reason}; expected a picture or video. See that the address is right.") from None
    except InputError as error:
        raise InputError(f"{address}: {error}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        silent = isinstance(reason, TimeoutError)
        told = f"nothing came for {SILENCE:g} seconds" if silent else " ".join(str(reason).split()) or type(reason).__name__
        raise InputError(f"{address}: cannot be fetched ({told}); see that the address is right and answers, or save the file first") from None


def _opener():  # type: ignore[no-untyped-def]  # urllib.request.OpenerDirector, imported here
    """Return what opens http and https alone: urllib's own opens files and FTP too, also where a redirection says so."""
    from urllib import request

    opener = request.OpenerDirector()
    kinds = (request.ProxyHandler, request.UnknownHandler, request.HTTPHandler, request.HTTPSHandler)
    for kind in (*kinds, request.HTTPDefaultErrorHandler, request.HTTPRedirectHandler, request.HTTPErrorProcessor):
        opener.add_handler(kind())
    return opener


def _copy(answer, target: IO[bytes], *, most: int) -> None:  # type: ignore[no-untyped-def]  # http.client.HTTPResponse
    header = answer.headers.get("Content-Length", "")
    stated, began, got = int(header) if header.isdecimal() else None, time.monotonic(), 0
    if stated is not None and stated > most:
        raise InputError(f"has {stated:,} bytes; expected at most {most:,}")
    while chunk := answer.read1(CHUNK):
        got += len(chunk)
        if got > most:
            raise InputError(f"has more than {most:,} bytes; expected at most as many")
        if time.monotonic() - began > LONGEST:
            raise InputError(f"is not whole after {LONGEST:g} seconds ({got:,} bytes); save the file first")
        target.write(chunk)
    if stated is not None and got < stated:
        raise InputError(f"ended after {got:,} of {stated:,} bytes; try again")
