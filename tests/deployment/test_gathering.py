"""What is named on the command line: folders in order, addresses within bounds, and a picture on standard input."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferlab.cli import main
from ferlab.control.clips import write_clip
from ferlab.deployment import gathering
from ferlab.deployment.gathering import gather
from ferlab.paths import InputError


def png(side: int = 40) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


PICTURE = png()
MOVED = {"/moved": "/photo.png", "/file": "file:///etc/hostname", "/ftp": "ftp://127.0.0.1:1/photo.png"}


class Answers(BaseHTTPRequestHandler):
    """Answers by path; keeps what was asked."""

    asked: list[tuple[str, str]] = []
    video = b""

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers["User-Agent"]))
        path = self.path.partition("?")[0]
        if path in MOVED:
            self.send_response(302)
            self.send_header("Location", MOVED[path])
            self.end_headers()
            return
        known = {"/clip.avi": self.video, "/page": b"<!DOCTYPE html><html>"}
        content = (known | dict.fromkeys(("/photo.png", "/caf%C3%A9.png", "/cut"), PICTURE)).get(path)
        if path == "/silent":
            threading.Event().wait(3)
        if content is None and path not in ("/large", "/endless"):
            self.send_error(404)
            return
        self.send_response(200)
        if path != "/endless":
            self.send_header("Content-Length", str({"/large": 1 << 40, "/cut": 10 * len(PICTURE)}.get(path, len(content or b""))))
        self.end_headers()
        self.wfile.write(b"\x89PNG\r\n\x1a\n" * 20_000 if path == "/endless" else content or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch) -> Iterator[str]:
    """A server on this machine."""
    monkeypatch.setenv("NO_PROXY", "*")
    Answers.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_folder_is_read_whole_in_the_order_of_its_names(tmp_path) -> None:
    for name in ("b.jpg", "a/2.PNG", "a/10.png", "c.mp4", ".hidden.png", ".git/x.png", "notes.txt", "a b.webp", "@eaDir/t.jpg", "out/old.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    given, problems = gather([str(tmp_path)], aside=tmp_path / "out")
    assert [Path(each.name).relative_to(tmp_path).as_posix() for each in given] == ["a/10.png", "a/2.PNG", "a b.webp", "b.jpg", "c.mp4"]
    assert [each.clip for each in given] == [False] * 4 + [True]
    assert [str(each.place) for each in given] == ["a/10.png", "a/2.png", "a b.jpg", "b.jpg", "c.mp4"]
    assert problems == []


def test_a_folder_without_pictures_is_a_line(tmp_path) -> None:
    (tmp_path / "notes.txt").touch()
    given, ((name, line),) = gather([str(tmp_path)])
    assert (given, name) == ([], str(tmp_path))
    assert line.startswith(f"{tmp_path}: no picture or video lies in it; expected PNG, ")


@pytest.mark.parametrize(
    ("name", "place", "clip"),
    [
        ("https://example.org/a/photo.JPEG?key=x/y.png#z", "photo.jpg", False),
        ("http://example.org", "picture.jpg", False),
        ("http://example.org/..%2F..%2Fetc%00.png", "etc_.png", False),
        ("HTTPS://example.org/clip.webm", "clip.mp4", True),
        ("-", "stdin.jpg", False),
        ("../up/photo.png", "photo.png", False),
        ("none.mov", "none.mp4", True),
    ],
)
def test_a_copy_is_named_as_its_source(name, place, clip) -> None:
    ((given,), problems) = gather([name])
    assert (given.name, str(given.place), given.clip, problems) == (name, place, clip, [])


def test_a_picture_is_fetched_also_where_it_was_moved_to(address) -> None:
    for path in ("/photo.png?size=large", "/moved", "/café.png"):
        picture = gather([address + path])[0][0].picture()
        np.testing.assert_array_equal(picture, np.asarray(Image.open(io.BytesIO(PICTURE))))
    assert [path for path, _ in Answers.asked] == ["/photo.png?size=large", "/moved", "/photo.png", "/caf%C3%A9.png"]
    assert Answers.asked[0][1].startswith("ferlab/0")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none.png", "answered 404 Not Found; expected a picture or video"),
        ("/page", "is a web page; expected a picture"),
        ("/large", "has 1,099,511,627,776 bytes; expected at most"),
        ("/endless", "has more than 100,000 bytes; expected at most as many"),
        ("/cut", r"ended after [\d,]+ of [\d,]+ bytes; try again"),
        ("/silent", "nothing came for 0.5 seconds"),
        ("/file", "answered 302 .* is not allowed"),
        ("/ftp", r"cannot be fetched \(unknown url type: ftp\)"),
    ],
)
def test_what_is_no_picture_too_much_cut_or_silent_is_one_line(path, said, address, monkeypatch) -> None:
    monkeypatch.setattr(gathering, "MOST_BYTES", 100_000)
    monkeypatch.setattr(gathering, "SILENCE", 0.5)
    with pytest.raises(InputError, match=said) as error:
        gather([address + path])[0][0].picture()
    assert str(error.value).startswith(address + path)
    assert "\n" not in str(error.value)


def test_a_download_that_never_ends_is_ended(address, monkeypatch) -> None:
    monkeypatch.setattr(gathering, "LONGEST", -1.0)
    with pytest.raises(InputError, match="is not whole after -1 seconds"):
        gather([address + "/photo.png"])[0][0].picture()


def test_no_host_is_one_line(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("http://127.0.0.1:1/a.png", "http://[::/a.png", "http://127.0.0.1:port/a.png"):
        with pytest.raises(InputError, match=r"cannot be fetched \(.*save the file first"):
            gather([name])[0][0].picture()


def test_a_video_is_fetched_and_named_by_its_address(address, tiny_onnx, tmp_path, monkeypatch, capsys) -> None:
    write_clip(tmp_path / "plain.avi", (np.full((60, 80, 3), 90, np.uint8) for _ in range(20)), fps=10)
    monkeypatch.setattr(Answers, "video", (tmp_path / "plain.avi").read_bytes())
    assert main(["predict", f"{address}/clip.avi", f"{address}/photo.png", "--whole", "--model", str(tiny_onnx)]) == 0
    clip, picture = capsys.readouterr().out.splitlines()
    assert clip.startswith(f"{address}/clip.avi: 20 frames, 1.90 s, 10.0 frames a second, 80 x 60: no face in any frame")
    assert picture.startswith(f"{address}/photo.png: face at 0, 0, 40 x 40: ")
    monkeypatch.setattr(Answers, "video", b"<html>")
    assert main(["predict", f"{address}/clip.avi", "--model", str(tiny_onnx)]) == 1
    assert capsys.readouterr().err.startswith(f"ferlab: {address}/clip.avi is a web page; expected a video")
