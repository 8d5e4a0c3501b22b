from __future__ import annotations

import errno
import hashlib
import io
import json
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ferlab.models import hub
from ferlab.models.hub import Unavailable, fetch
from ferlab.paths import InputError

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = "lab/net/resolve/main/weights.safetensors"


class Server(ThreadingHTTPServer):
    """Serves CONTENT, or a part of it before it hangs up; remembers what it was asked for."""

    content, etag, hangs_up_after = CONTENT, '"one"', None
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked, etag = self.headers.get("Range"), self.headers.get("If-Range")
        self.server.asked.append((self.path, asked))
        if self.path.endswith("absent.pth"):
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and etag == self.server.etag else 0
        if start > len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        self.wfile.write(body[: self.server.hangs_up_after])

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def refused(source: str, kind: type[InputError] = InputError, **options: Any) -> str:
    with pytest.raises(kind) as raised:
        fetch(source, **options)
    assert raised.type is kind
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_file_of_the_hub_is_fetched_once_and_checked(server: Server, tmp_path: Path) -> None:
    path = fetch("hf:lab/net/weights.safetensors", folder=tmp_path, sha256=SHA256.upper())
    assert path == tmp_path / "hf" / "lab" / "net" / "main" / "weights.safetensors"
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == ["weights.safetensors"]
    assert fetch("hf:lab/net/weights.safetensors", folder=tmp_path) == path
    assert server.asked == [(f"/{PLACE}", None)]


def test_a_revision_and_a_folder_are_part_of_the_address(server: Server, tmp_path: Path) -> None:
    fetch("hf:lab/net@v1.0/deep/weights.safetensors", folder=tmp_path)
    assert server.asked[0][0] == "/lab/net/resolve/v1.0/deep/weights.safetensors"
    for name in (
        "hf:lab/net",
        "hf:net/../../etc/passwd",
        "hf:lab/net/../../up.pth",
        "hf:lab/net/a b.pth",
        "hf:../..@../up.pth",
        "hf:lab/..@main/up.pth",
        "hf:lab/net@../up.pth",
        "hf:lab/net/./up.pth",
        "hf:lab/net//",
    ):
        assert "expected hf:owner/name/file" in refused(name, folder=tmp_path)


def test_a_download_that_broke_off_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.hangs_up_after = 1000
    message = refused(f"{server.url}/a/net.pth", Unavailable, folder=tmp_path, sha256=SHA256)
    assert f"interrupted after 1000 of {len(CONTENT)} bytes; run again" in message
    assert left(tmp_path) == ["net.pth.etag", "net.pth.part"]
    server.hangs_up_after = None
    assert fetch(f"{server.url}/a/net.pth", folder=tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=1000-"]
    assert left(tmp_path) == ["net.pth"]


def test_a_file_that_changed_meanwhile_is_fetched_afresh(server: Server, tmp_path: Path) -> None:
    server.hangs_up_after = 1000
    refused(f"{server.url}/net.pth", Unavailable, folder=tmp_path)
    server.hangs_up_after, server.content, server.etag = None, b"another", '"two"'
    assert fetch(f"{server.url}/net.pth", folder=tmp_path).read_bytes() == b"another"


def test_a_beginning_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    place = tmp_path / server.url.removeprefix("http://").replace(":", "_")
    place.mkdir()
    (place / "net.pth.part").write_bytes(CONTENT + b"more")
    (place / "net.pth.etag").write_text(server.etag)
    assert "416" in refused(f"{server.url}/net.pth", Unavailable, folder=tmp_path)
    assert fetch(f"{server.url}/net.pth", folder=tmp_path).read_bytes() == CONTENT


def test_another_checksum_is_refused_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    message = refused(f"{server.url}/net.pth", folder=tmp_path, sha256="0" * 64)
    assert f"sha256 is {SHA256}, expected {'0' * 64}; the download is removed" in message
    assert left(tmp_path) == []
    fetch(f"{server.url}/net.pth", folder=tmp_path)
    assert "remove it to fetch it again" in refused(f"{server.url}/net.pth", folder=tmp_path, sha256="0" * 64)


def test_what_is_not_there_cannot_be_had(server: Server, tmp_path: Path) -> None:
    assert "answered 404" in refused("hf:lab/net/absent.pth", Unavailable, folder=tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        message = refused(f"http://127.0.0.1:{nobody.getsockname()[1]}/net.pth", Unavailable, folder=tmp_path)
    assert "no answer" in message
    assert message.endswith("net.pth")
    assert left(tmp_path) == []


def test_a_disk_that_fills_is_named_and_what_has_come_is_kept(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any, _: int) -> None:
        target.write(source.read(500))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hub.shutil, "copyfileobj", full)
        assert "net.pth: No space left on device while fetching it; make room" in refused(f"{server.url}/net.pth", folder=tmp_path)
    fetch(f"{server.url}/net.pth", folder=tmp_path, sha256=SHA256)
    assert server.asked[-1][1] == "bytes=500-"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(CONTENT)
    assert fetch(str(path), sha256=SHA256) == path
    assert "correct the checksum" in refused(str(path), sha256="0" * 64)
    assert "no such file; give the path of the weights" in refused(str(tmp_path / "none.pth"))


@pytest.mark.parametrize("source", ["http://../up.pth", "http:///up.pth", "http://host", "http://host/..", "http://[/up.pth"])
def test_an_address_of_no_file_is_refused_before_anything_is_made(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no address of a file"):
        fetch(source, folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_link_in_the_way_of_a_download_is_taken_away_not_followed(server: Server, tmp_path: Path) -> None:
    source = f"{server.url}/weights.safetensors"
    place = fetch(source, folder=tmp_path / "kept")
    place.unlink()
    (tmp_path / "mine").write_text("kept")
    place.with_name(place.name + ".part").symlink_to(tmp_path / "mine")
    assert fetch(source, folder=tmp_path / "kept").read_bytes() == CONTENT
    assert (tmp_path / "mine").read_text() == "kept"


PACKAGE = {"model/net.json": json.dumps([{"paths": ["net.bin"], "weights": []}]).encode(), "model/net.bin": CONTENT, "dist/net.pth": CONTENT}
MANIFEST_SHA256 = hashlib.sha256(PACKAGE["model/net.json"] + CONTENT).hexdigest()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm that packs PACKAGE; it writes what it was asked for, a line per call, to the path that is returned."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with tarfile.open(folder / "net-1.2.3.tgz", "w:gz") as tar:
        for name, content in PACKAGE.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    client = folder / "npm"
    client.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\ncp {folder}/net-1.2.3.tgz . && echo net-1.2.3.tgz\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "asked"


def test_a_manifest_comes_out_of_a_package_with_its_binary_files_once(npm: Path, tmp_path: Path) -> None:
    source, kept = "npm:@lab/net@1.2.3/model/net.json", tmp_path / "kept"
    path = fetch(source, folder=kept, sha256=MANIFEST_SHA256)
    assert path == kept / "npm" / "@lab" / "net" / "1.2.3" / "model" / "net.json"
    assert path.with_name("net.bin").read_bytes() == CONTENT
    assert left(kept) == ["net.bin", "net.json"]
    assert fetch(source, folder=kept, sha256=MANIFEST_SHA256) == path
    assert npm.read_text().splitlines() == ["pack --silent @lab/net@1.2.3"]
    path.with_name("net.bin").write_bytes(CONTENT[:-1])
    assert "remove it to fetch it again" in refused(source, folder=kept, sha256=MANIFEST_SHA256)


@pytest.mark.usefixtures("npm")
def test_another_file_of_a_package_comes_alone(tmp_path: Path) -> None:
    path = fetch("npm:net@1.2.3/dist/net.pth", folder=tmp_path / "kept", sha256=SHA256)
    assert left(tmp_path / "kept") == ["net.pth"]
    assert path.read_bytes() == CONTENT


@pytest.mark.usefixtures("npm")
def test_a_package_of_other_content_or_without_the_file_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert "check the source of the checksum" in refused("npm:net@1.2.3/model/net.json", folder=kept, sha256="0" * 64)
    assert "package/model/none.json cannot be read from it" in refused("npm:net@1.2.3/model/none.json", folder=kept)
    assert not kept.exists()


@pytest.mark.parametrize("source", ["npm:net/model/net.json", "npm:net@1.2.3", "npm:net@1.2.3/", "npm:net@1.2.3/../net.json", "npm:..@1/net.json"])
def test_a_source_that_is_no_file_of_a_package_is_refused(source: str, tmp_path: Path) -> None:
    assert "expected npm:package@version/file" in refused(source, folder=tmp_path)


def test_without_npm_a_package_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    message = refused("npm:@lab/net@1.2.3/model/net.json", Unavailable, folder=tmp_path)
    assert "npm is not installed" in message
    assert f"put model/net.json at {tmp_path}/npm/@lab/net/1.2.3/model/net.json" in message
