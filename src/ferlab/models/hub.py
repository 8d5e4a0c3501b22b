"""Pretrained weights from a path, the Hugging Face hub, an npm package, or any other address.

A download is written to a `.part` file, resumed if the remote file has the same ETag, checked, and renamed, so the file in its place is complete.
A package is fetched by npm, whose settings name the registry; of it the one file is kept, or a weights manifest with its binary files.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ferlab.models.manifests import binary_files, manifest_sha256
from ferlab.models.packages import archived_file, npm_pack
from ferlab.paths import ROOT, InputError, write_whole

FOLDER = "data/raw/pretrained"  # below ROOT
HUB = "https://huggingface.co"  # or the environment's HF_ENDPOINT
HUB_ID = re.compile(r"hf:(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(?:@(?P<revision>[\w.-]+))?/(?P<file>[\w.\-/]+)")
PACKAGED = re.compile(r"npm:(?P<package>(?:@[\w.-]+/)?[\w.-]+)@(?P<version>[\w.-]+)/(?P<file>[\w.\-/]+)")
MANIFEST = ".json"  # the ending of a file that others belong to
TIMEOUT = 30  # seconds without a byte
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class Unavailable(InputError):
    """Weights that are not available: no known address, no connection, no such remote file."""


def fetch(source: str, *, folder: Path | None = None, sha256: str | None = None) -> Path:
    """Return the local file of a source, downloaded if necessary.

    Args:
        source: A path (relative ones below ROOT), "hf:owner/name/file" or "hf:owner/name@revision/file",
            "npm:package@version/file", or an http address.
        folder: Where downloads are kept; None for `data/raw/pretrained`.
        sha256: Of the file, see `content_sha256`; None where it is not known.

    Raises:
        Unavailable: It cannot be downloaded.
        InputError: A path without a file, a name that is no hub id or file of a package, another checksum, or a full disk.
    """
    kept = folder or ROOT / FOLDER
    if source.startswith("npm:"):
        return _packaged(source, kept, sha256)
    if source.startswith("hf:"):
        url, path = _on_hub(source, kept)
    elif source.startswith(("http://", "https://")):
        url, path = source, _for_address(source, kept)
    else:
        url, path = "", ROOT / Path(source).expanduser()
        if not path.is_file():
            raise InputError(f"{source}: no such file; give the path of the weights, or hf:owner/name/file")
    if path.is_file():
        _check(path, sha256, todo="remove it to fetch it again" if url else "get the file again, or correct the checksum")
    else:
        _download(url, path, sha256)
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of weights; of a weights manifest that of it and its binary files, one after the other."""
    return manifest_sha256(path) if path.suffix == MANIFEST else file_sha256(path)


def _packaged(source: str, folder: Path, sha256: str | None) -> Path:
    """Return the local file of an npm package's, fetched by npm if necessary."""
    found = PACKAGED.fullmatch(source)
    if found is None or {"", ".", ".."} & {*found["package"].split("/"), found["version"], *found["file"].split("/")}:
        raise InputError(f"{source}: not a file of a package; expected npm:package@version/file")
    path = folder / "npm" / found["package"] / found["version"] / found["file"]
    if path.is_file():
        _check(path, sha256, todo="remove it to fetch it again")
        return path
    with tempfile.TemporaryDirectory() as work:
        try:
            archive = npm_pack(f"{found['package']}@{found['version']}", Path(work), instead=f"fetch it by hand and put {found['file']} at {path}")
        except InputError as error:
            raise Unavailable(str(error)) from None
        _unpack(archive, PurePosixPath("package", found["file"]), path, sha256)
    return path


def _unpack(archive: Path, name: PurePosixPath, path: Path, sha256: str | None) -> None:
    """Move a file out of an npm tarball to its place once it is checked, after the binary files that it names."""
    content, first = archive.read_bytes(), archive.with_name("unpacked") / name.name
    first.parent.mkdir()
    first.write_bytes(archived_file(content, str(name), where=archive))
    others = binary_files(first) if first.suffix == MANIFEST else []
    for file in others:
        file.write_bytes(archived_file(content, str(name.with_name(file.name)), where=archive))
    _check(first, sha256, todo="check the source of the checksum")
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (*others, first):
        write_whole(path.with_name(file.name), file.read_bytes())


def _for_address(source: str, folder: Path) -> Path:
    try:
        host, name = urlsplit(source).netloc.replace(":", "_"), PurePosixPath(urlsplit(source).path).name
    except ValueError:  # half of an IPv6 address
        host = name = ""
    if {host, name} & {"", ".", ".."}:
        raise InputError(f"{source}: no address of a file; expected http://host/.../file")
    return folder / host / name


def _on_hub(source: str, folder: Path) -> tuple[str, Path]:
    found = HUB_ID.fullmatch(source)
    if found is None or any(part in ("", ".", "..") for name in found.groupdict(default="main").values() for part in name.lstrip("/").split("/")):
        raise InputError(f"{source}: not a file on the hub; expected hf:owner/name/file or hf:owner/name@revision/file")
    owner, name, file, revision = found["owner"], found["name"], found["file"].lstrip("/"), found["revision"] or "main"
    return f"{os.environ.get('HF_ENDPOINT', HUB)}/{owner}/{name}/resolve/{revision}/{file}", folder / "hf" / owner / name / revision / file


def _check(path: Path, sha256: str | None, *, todo: str) -> None:
    if sha256 and (found := content_sha256(path)) != sha256.lower():
        raise InputError(f"{path}: sha256 is {found}, expected {sha256}; {todo}")


def _download(url: str, path: Path, sha256: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part, tag = path.with_name(path.name + ".part"), path.with_name(path.name + ".etag")
    try:
        expected = _receive(url, part, tag)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the .part file is not a beginning of the remote file
            part.unlink(missing_ok=True)
        raise Unavailable(f"{url}: answered {error.code} {error.reason}; fetch it by hand and put it at {path}") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in DISK:
            raise InputError(f"{path}: {error.strerror} while fetching it; make room and run again: the download is resumed") from None
        raise Unavailable(f"{url}: no answer ({getattr(error, 'reason', error)}); fetch it by hand and put it at {path}") from None
    size = part.stat().st_size
    if expected is not None and size != expected:
        raise Unavailable(f"{url}: interrupted after {size} of {expected} bytes; run again: the download is resumed")
    tag.unlink(missing_ok=True)
    try:
        _check(part, sha256, todo="the download is removed; check the source of the checksum")
    except InputError:
        part.unlink()
        raise
    part.replace(path)


def _receive(url: str, part: Path, tag: Path) -> int | None:
    """Resume `part`, or write it anew. Returns its expected size in bytes, None if unknown."""
    for file in (part, tag):
        if file.is_symlink():  # removed, not followed
            file.unlink()
    request, have = urllib.request.Request(url, headers={"User-Agent": "ferlab"}), 0
    if part.is_file() and tag.is_file():
        have = part.stat().st_size
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text())
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        goes_on = answer.status == 206
        tag.unlink(missing_ok=True)
        with part.open("ab" if goes_on else "wb") as file:
            if (etag := answer.headers.get("ETag")) and not etag.startswith("W/"):
                tag.write_text(etag)
            shutil.copyfileobj(answer, file, 2**20)
        length = answer.headers.get("Content-Length")
    return None if length is None else int(length) + have * goes_on
