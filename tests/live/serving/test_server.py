"""`ferlab serve` answers as the predictor does, refuses in one line, and stays up."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp import FormData, WSMsgType
from PIL import Image
from served import drawn_faces, encoded, model, photo, raw, serving

from ferlab.deployment.predictor import SHIPPED
from ferlab.live.serving import server as module
from ferlab.live.serving.limits import Access
from ferlab.live.serving.server import read_key, serve
from ferlab.paths import InputError

ROOT = Path(__file__).parents[3]
KEY = "k" * 31 + "7"


async def line_of(response: aiohttp.ClientResponse) -> str:
    """Return the one line that refuses a request."""
    text = await response.text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text)["error"]


def test_a_picture_is_answered_as_the_predictor_reads_it(tmp_path) -> None:
    (tmp_path / "photo.png").write_bytes(photo())
    (expected,) = model().predictor.read_image(tmp_path / "photo.png").faces

    async def check(client, _) -> None:
        response = await client.post("/predict", data=photo())
        answer = await response.json()
        assert (response.status, answer["model"], answer["size"]) == (200, "shipped", [240, 240])
        (face,) = answer["faces"]
        assert face["box"] == list(expected.box)
        np.testing.assert_allclose(list(face["probabilities"].values()), expected.probs, atol=1e-6)
        assert list(face["probabilities"]) == list(expected.expressions)
        assert (face["expression"], face["uncertain"]) == (expected.likeliest(1)[0], expected.uncertain)
        assert face["reliability"] == model().predictor.confidence.sentence(face["expression"])
        assert answer["card"]["calibration"].startswith("Confidences are calibrated: temperature")
        form = FormData()
        form.add_field("picture", photo(), filename="photo.png")
        assert (await (await client.post("/predict", data=form)).json())["faces"] == answer["faces"]
        assert not [name for name in response.headers if name.lower().startswith("access-control")]

    serving(check)


def test_options_are_those_of_the_predictor() -> None:
    expected = model().predictor.read_image(drawn_faces()[0], whole=True, flip=False).faces[0]

    async def check(client, _) -> None:
        answer = await (await client.post("/predict?whole=1&flip=0", data=encoded(drawn_faces()[0]))).json()
        np.testing.assert_allclose(list(answer["faces"][0]["probabilities"].values()), expected.probs, atol=1e-6)
        assert answer["faces"][0]["box"] == [0, 0, 48, 48]
        refused = await client.post("/predict?whole=perhaps", data=photo())
        assert (refused.status, await line_of(refused)) == (400, "?whole=perhaps: expected 1 or 0")

    serving(check)


def test_a_picture_without_a_face_has_a_note() -> None:
    async def check(client, _) -> None:
        answer = await (await client.post("/predict", data=encoded(np.full((200, 200), 90, np.uint8)))).json()
        assert answer["faces"] == []
        assert answer["note"].startswith("no face found of ")

    serving(check)


def test_faces_are_answered_on_the_same_connection_in_order() -> None:
    """And a bad message costs no other: cs231a's client lost what the server could not read."""
    expected = [model().predictor.read_image(face, whole=True).faces[0] for face in drawn_faces()]
    wide = encoded(np.zeros((10, 251), np.uint8))
    noise = encoded(np.random.default_rng(0).integers(0, 256, (250, 250, 3)).astype(np.uint8))
    assert len(noise) > 65_000

    async def check(client, _) -> None:
        async with client.ws_connect("/faces") as faces:
            for number, face in enumerate(drawn_faces()):
                await faces.send_bytes(encoded(face, "JPEG" if number == 3 else "PNG"))
            for bad in (b"no picture", wide, noise, b""):
                await faces.send_bytes(bad)
            await faces.send_str("happy?")
            answers = [await faces.receive_json() for _ in range(9)]
        assert [answer["number"] for answer in answers] == list(range(9))
        for answer, wanted in zip(answers[:3], expected, strict=False):
            np.testing.assert_allclose(list(answer["probabilities"].values()), wanted.probs, atol=1e-6)
        assert answers[3]["model"] == "shipped"
        lines = [answer["error"] for answer in answers[4:]]
        assert lines[0].startswith("the picture is no image")
        assert lines[1] == "the picture is 251 x 10; expected at most 250 pixels a side"
        assert lines[2].endswith("bytes; expected at most 65,000. Send pictures to /predict.")
        assert lines[3] == lines[4] == "expected a binary message: a picture of one cropped face"

    serving(check)


def test_a_message_beyond_all_bounds_ends_its_own_connection_alone() -> None:
    async def check(client, _) -> None:
        async with client.ws_connect("/faces") as faces:
            await faces.send_bytes(bytes(300_000))
            assert (await faces.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
            assert faces.close_code == 1009  # "message too big"

    serving(check)


def test_pages_say_what_there_is() -> None:
    async def check(client, server) -> None:
        assert (await (await client.get("/health")).json())["status"] == "ok"
        card = await (await client.get("/model")).json()
        assert card["trained_on"]["dataset"] == "fer2013"
        assert card["precision"]["happy"].startswith("Of ")
        page = await client.get("/")
        text = await page.text()
        assert f"curl --data-binary @photo.jpg http://127.0.0.1:{client.port}/predict" in text
        assert "$" not in text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        for method, path, status in (("GET", "/nope", 404), ("GET", "/predict", 405), ("OPTIONS", "/predict", 405), ("GET", "/faces", 426)):
            refused = await client.request(method, path)
            assert refused.status == status
            assert await line_of(refused)

    serving(check)


def bomb(side: int) -> bytes:
    """Return the head of a PNG of that many pixels a side: 20,000 would decode to 400 MB."""
    file = encoded(np.zeros((1, 1), np.uint8))
    head = b"IHDR" + side.to_bytes(4, "big") * 2 + file[24:29]
    return file[:12] + head + zlib.crc32(head).to_bytes(4, "big") + file[33:]


def animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(face) for face in drawn_faces()]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


BAD = {
    "nothing": (b"", "0 bytes; expected a picture"),
    "text": (b"happy", "the picture is no image"),
    "a cut picture": (photo()[:300], "the picture is cut or damaged"),
    "too many pixels": (bomb(6000), "the picture is 6000 x 6000; expected at most 25,000,000 pixels"),
    "a bomb": (bomb(20_000), "the picture has more pixels than a photograph of a face"),
    "a video": (b"\0\0\0\x18ftypmp42" + bytes(100), "the picture is a video"),
    "an animation": (animated(), "frames; expected one picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_in_one_line(name) -> None:
    sent, said = BAD[name]

    async def check(client, _) -> None:
        refused = await client.post("/predict", data=sent)
        assert refused.status == 400
        assert said in await line_of(refused)

    serving(check)


def test_broken_forms_are_refused() -> None:
    async def check(client, _) -> None:
        for body in (b"no form", b"--x--\r\n", b"--x\r\nContent-Disposition: form-data; name=picture\r\n\r\n\r\n--x--\r\n"):
            refused = await client.post("/predict", data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
            assert refused.status == 400
            assert await line_of(refused)
        refused = await client.post("/predict", data=b"x", headers={"Content-Type": "multipart/form-data"})
        assert refused.status == 400

    serving(check)


def test_a_picture_that_is_too_large_is_refused_before_it_is_read() -> None:
    async def endless():
        for _ in range(1000):
            yield bytes(10_000)

    async def check(client, _) -> None:
        status, answer = await raw(client, f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nContent-Length: 99999999\r\n\r\n".encode())
        assert (status, answer["error"]) == (413, "the picture has more than 200,000 bytes; send a smaller one")
        try:  # chunked: no length is stated
            refused = await client.post("/predict", data=endless())
            assert refused.status == 413
        except aiohttp.ClientConnectionError:
            pass  # closed while it was still being sent

    serving(check, picture_bytes=200_000)


def test_what_arrives_too_slowly_is_answered_and_closed() -> None:
    async def check(client, server) -> None:
        host = f"Host: 127.0.0.1:{client.port}\r\n"
        for sent, said in (
            (f"POST /predict HTTP/1.1\r\n{host}Content-Length: 1000\r\n\r\nhalf", "the picture did not arrive within 0.4 seconds"),
            (f"POST /predict HTTP/1.1\r\n{host}", "no request arrived within 0.4 seconds"),
            ("", "no request arrived within 0.4 seconds"),
        ):
            assert await raw(client, sent.encode()) == (408, {"error": said, "status": 408})
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /health HTTP/1.1\r\n" + host.encode() + b"\r\nGET /hea")  # a whole one, and a half
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 200")
        writer.close()
        async with client.ws_connect("/faces") as faces:
            closed = await faces.receive()
            assert (closed.type, closed.extra) == (WSMsgType.CLOSE, "no face within 0.8 seconds")

    serving(check, head_s=0.4, body_s=0.4, idle_s=0.8)


def test_bytes_that_are_no_http_are_answered_in_one_line(capfd) -> None:
    async def check(client, _) -> None:
        for sent in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9, b"happy\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n"):
            status, answer = await raw(client, sent)
            assert (status, answer["status"]) == (400, 400)
            assert answer["error"].startswith("no HTTP request")

    serving(check)
    assert capfd.readouterr() == ("", ""), "nothing of a request is logged"


def test_a_hundred_at_once_are_all_answered() -> None:
    async def check(client, _) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.post("/predict?whole=1", data=encoded(drawn_faces()[n % 4]))) for n in range(100)]
        assert [task.result().status for task in tasks] == [200] * 100

    serving(check)


def test_a_full_queue_is_told_and_faces_do_not_wait_for_pictures(monkeypatch) -> None:
    go, read_image = threading.Event(), model().predictor.read_image

    def slow(picture, **options):
        assert options.get("whole") or go.wait(10)
        return read_image(picture, **options)

    monkeypatch.setattr(model().predictor, "read_image", slow)

    async def check(client, server) -> None:
        waiting = [asyncio.create_task(client.post("/predict", data=photo())) for _ in range(3)]
        while server.lanes["pictures"].pending < 3:
            await asyncio.sleep(0.01)
        refused = await client.post("/predict", data=photo())
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert (await line_of(refused)).startswith("3 requests wait")
        async with client.ws_connect("/faces") as faces:
            await faces.send_bytes(encoded(drawn_faces()[0]))
            assert "expression" in await faces.receive_json()
        go.set()
        assert [(await task).status for task in waiting] == [200] * 3
        assert server.held.bytes == 0
        await asyncio.sleep(0.05)
        assert server.lanes["pictures"].pending == 0

    serving(check, waiting=2)


def test_a_client_that_leaves_frees_what_it_held(monkeypatch) -> None:
    go, read_image = threading.Event(), model().predictor.read_image
    monkeypatch.setattr(model().predictor, "read_image", lambda picture, **options: go.wait(10) and read_image(picture, **options))

    async def check(client, server) -> None:
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nContent-Length: {len(photo())}\r\n\r\n".encode()
        for _ in range(3):
            _, writer = await asyncio.open_connection(client.host, client.port)
            writer.write(head + photo())
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.close()
        go.set()
        while server.held.bytes or server.lanes["pictures"].pending or len(server.connections) > 1:
            await asyncio.sleep(0.02)

    serving(lambda client, server: asyncio.wait_for(check(client, server), 10))


def test_memory_for_pictures_is_bounded() -> None:
    async def check(client, server) -> None:
        refused = await client.post("/predict", data=photo())
        assert refused.status == 503
        assert await line_of(refused) == "too many pictures at a time; try again in a second"
        assert server.held.bytes == 0

    serving(check, held_bytes=100)


def test_connections_are_bounded_and_those_beyond_are_told(caplog) -> None:
    async def check(client, server) -> None:
        others = [await asyncio.open_connection(client.host, client.port) for _ in range(3)]
        await asyncio.sleep(0.05)
        status, answer = await raw(client, b"")
        assert (status, answer["error"]) == (503, "3 connections are open; try again in a second")
        for _, writer in others:
            writer.close()
        while server.connections:
            await asyncio.sleep(0.02)

    serving(check, connections=3)
    gc.collect()
    assert not [each for each in caplog.records if each.exc_info], "no traceback of aiohttp's for each"


def test_a_rate_above_the_limit_is_told() -> None:
    async def check(client, _) -> None:
        found = [(await client.get("/health")).status for _ in range(6)]
        assert found == [200] * 5 + [429]
        async with client.ws_connect("/faces") as _:
            pytest.fail("the connection is a request too")

    async def upto(client, server) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
            await check(client, server)
        server.rates._left.clear()

    serving(upto, rate=0.001, burst=5)


def test_only_those_with_the_key_are_answered(capfd) -> None:
    async def check(client, _) -> None:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": "Bearer ü"}):
            refused = await client.post("/predict", data=photo(), headers=given)
            assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert KEY not in await line_of(refused)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await client.ws_connect("/faces")
        allowed = {"Authorization": f"Bearer {KEY}"}
        assert (await client.post("/predict", data=photo(), headers=allowed)).status == 200
        page = await (await client.get("/", headers=allowed)).text()
        assert "$FERLAB_KEY" in page
        assert KEY not in page
        async with client.ws_connect("/faces", headers=allowed) as faces:
            await faces.send_bytes(encoded(drawn_faces()[0]))
            assert "expression" in await faces.receive_json()

    serving(check, access=Access("127.0.0.1", KEY))
    assert KEY not in "".join(capfd.readouterr())


def test_web_pages_of_other_names_and_origins_are_refused() -> None:
    async def check(client, _) -> None:
        own = f"127.0.0.1:{client.port}"
        for headers in ({"Host": "evil.example"}, {"Host": f"evil.example:{client.port}"}, {"Host": ""}, {"Origin": "https://evil.example"},
                        {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}):  # fmt: skip
            refused = await client.post("/predict", data=photo(), headers=headers)
            assert refused.status == 403, headers
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await client.ws_connect("/faces", headers=headers)
        for headers in ({"Host": f"localhost:{client.port}"}, {"Host": f"[::1]:{client.port}"}, {"Origin": f"http://{own}"}):
            assert (await client.get("/health", headers=headers)).status == 200, headers

    serving(check)


@pytest.mark.parametrize("header", [b"Host: [::1", b"Host: 127.0.0.1#evil", b"Host: evil.example@127.0.0.1", b"Host: 127.0.0.1:x",
                                    b"Host: localhost\r\nOrigin: http://[", b"Host: localhost\r\nOrigin: ftp://localhost"])  # fmt: skip
def test_a_host_or_origin_that_is_none_is_refused_and_no_failure(header, capfd) -> None:
    async def check(client, _) -> None:
        status, _ = await raw(client, b"GET /health HTTP/1.1\r\n" + header + b"\r\nConnection: close\r\n\r\n")
        assert status == 403
        status, _ = await raw(client, b"GET /health HTTP/1.1\r\nHost: LOCALHOST\r\nOrigin: http://localhost\r\nConnection: close\r\n\r\n")
        assert status == 200

    serving(check)
    assert "failed" not in capfd.readouterr().err


def test_a_key_that_is_no_text_is_wrong() -> None:
    async def check(client, _) -> None:
        request = b"GET /model HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n"
        assert (await raw(client, request))[0] == 401

    serving(check, access=Access("127.0.0.1", KEY))


def test_a_failure_inside_costs_its_own_request_alone_and_logs_no_content(monkeypatch, capfd) -> None:
    def fail(*_, **__):
        raise KeyError("the picture's content")

    monkeypatch.setattr(model().predictor, "read_image", fail)

    async def check(client, _) -> None:
        refused = await client.post("/predict", data=photo())
        assert (refused.status, await line_of(refused)) == (500, "this request failed inside the server")

    serving(check)
    assert capfd.readouterr().err == "ferlab serve: POST '/predict' failed: KeyError\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "0.0.0.0"}, r"--host 0\.0\.0\.0: other machines can reach it; expected a key"),
        ({"host": "faces.example"}, "expected a key"),
        ({"key": "short"}, "the key is too short"),
        ({"key": "k" * 20 + "\n" + "k"}, "the key is too short, or no plain text"),
        ({"name": "no_such.onnx"}, r"no_such\.onnx: no such file"),
        ({"port": 70_000}, "--port 70000: expected 0 to 65535"),
        ({"risk": 0.3}, r"risk 0\.3: expected one of 0\.05"),
    ],
)
def test_what_may_not_be_served_is_told_before_anything_is_opened(options, said, monkeypatch) -> None:
    monkeypatch.setattr(module, "_serve", lambda *_, **__: pytest.fail("served"))
    with pytest.raises(InputError, match=said) as error:
        serve(options.pop("name", None), **options)
    assert "\n" not in str(error.value)
    assert "kkk" not in str(error.value)


def test_the_key_comes_from_the_line_a_file_or_the_environment(tmp_path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\nof the lab\n")
    assert read_key(None, str(tmp_path / "key"), {"FERLAB_KEY": "other"}) == KEY
    assert read_key(KEY, None, {"FERLAB_KEY": "other"}) == KEY
    assert read_key(None, None, {"FERLAB_KEY": KEY}) == KEY
    assert read_key(None, None, {}) == ""
    (tmp_path / "empty").write_text("")
    for stated in ((None, str(tmp_path / "empty")), ("", None)):
        with pytest.raises(InputError, match=r"--key.* is empty; expected a key"):
            read_key(*stated, {"FERLAB_KEY": KEY})
    with pytest.raises(InputError, match="both state a key"):
        read_key(KEY, str(tmp_path / "key"), {})
    with pytest.raises(InputError, match=r"--key-file .*: cannot be read"):
        read_key(None, str(tmp_path / "none"), {})


def test_an_address_that_others_reach_is_warned_of_and_the_key_is_not_printed(capfd) -> None:
    module._announce(model(), Access("0.0.0.0", KEY), 8471)
    told = capfd.readouterr()
    assert told.out == "ferlab: shipped is served at http://0.0.0.0:8471/ (stop: Ctrl-C)\n"
    assert "warning: other machines can reach this address; key and pictures travel unencrypted" in told.err
    module._announce(model(), Access("::1", KEY), 8471)
    assert "http://[::1]:8471/" in (again := capfd.readouterr()).out
    assert "warning" not in again.err
    assert KEY not in told.out + told.err + again.out + again.err


def test_the_server_needs_no_torch() -> None:
    loaded = (
        "import sys, ferlab.live.serving.server; from ferlab.live.model import LiveModel; import numpy as np;"
        "LiveModel.load().predictor.read_image(np.zeros((64, 64), np.uint8)); sys.exit('torch' in sys.modules)"
    )
    told = "import sys; from ferlab.cli import main\ntry: main(['serve', '--help'])\n"
    told += "except SystemExit: sys.exit(bool({'torch', 'aiohttp'} & {*sys.modules}))"
    own = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for code in (loaded, told):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False, capture_output=True, text=True, env=own)
        assert done.returncode == 0, done.stderr


def test_the_shipped_model_is_what_is_served() -> None:
    assert model().content == SHIPPED.read_bytes()
