"""`ferlab serve`: predictions for other programs, over HTTP and a WebSocket; on loopback unless a key is stated.

    GET  /          how to call it, for people
    GET  /health    whether it is up
    GET  /model     the model's card
    POST /predict   a picture or a frame of a video in any format of `ferlab predict`; ?whole=1, ?flip=0, ?small=1
    GET  /faces     a WebSocket: a cropped face a message, answered on the same connection in the same order

cs231a's client sent a face by UDP and polled a second socket for the result; a WebSocket keeps its size (65 KB, 250 pixels) and answers where it was
asked. Answers are JSON, refusals one line. aiohttp does the HTTP; nothing is stored, and no request is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, WSMsgType, hdrs, web

from ferlab.deployment.predictor import ReadPicture
from ferlab.live.model import LiveModel
from ferlab.live.serving.answers import card_of, face_answer, page_text, picture_answer
from ferlab.live.serving.limits import Access, Held, Lane, Limits, Rates, Refusal, decode_bounded, is_loopback, read_whole, too_large
from ferlab.paths import InputError

PORT = 8471
CHUNK = 1 << 16
QUIET_S = 5.0  # for requests in progress when it stops
FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class OneLineHandler(web.RequestHandler):
    """A connection whose malformed requests are answered in one line, and not logged."""

    __slots__ = ()

    async def start(self) -> None:
        """Answer requests until the connection ends; one too many has ended before."""
        if self._manager is not None:  # Keep: aiohttp asserts that, and its traceback would fill the log of a flooded server
            await super().start()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Return the answer to a request that is no HTTP."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        what = "no HTTP request" if status == 400 else "this request failed inside the server"
        response = _refused(Refusal(status, f"{what} ({type(exc).__name__})" if exc else what))
        response.force_close()
        return response


class FaceServer(web.Server):
    """A model behind HTTP; see the module. One for each running loop."""

    def __init__(self, model: LiveModel, *, access: Access, limits: Limits | None = None) -> None:
        super().__init__(self._answer)
        self.model, self.access, self.limits = model, access, (limits := limits or Limits())
        self.rates, self.held = Rates(rate=limits.rate, burst=limits.burst), Held(limits.held_bytes)
        self.lanes = {name: Lane(name, waiting=limits.waiting) for name in ("pictures", "faces")}
        self.card = card_of(model)
        self._late: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._routes: dict[tuple[str, str], Callable[[web.BaseRequest], Any]] = {
            ("GET", "/"): self._page, ("GET", "/health"): self._health, ("GET", "/model"): self._model,
            ("POST", "/predict"): self._predict, ("GET", "/faces"): self._faces,
        }  # fmt: skip

    def __call__(self) -> web.RequestHandler:
        """Return what handles a new connection."""
        more = {"access_log": None, "keepalive_timeout": self.limits.idle_s, "lingering_time": 1.0, "auto_decompress": False}
        return OneLineHandler(self, loop=asyncio.get_running_loop(), **more)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Refuse a connection too many, and close one whose first request does not arrive."""
        super().connection_made(handler, transport)
        if len(self.connections) > self.limits.connections:
            _close(transport, Refusal(503, f"{self.limits.connections} connections are open; try again in a second", retry_after=1))
            return
        late = Refusal(408, f"no request arrived within {self.limits.head_s:g} seconds")
        self._late[handler] = asyncio.get_running_loop().call_later(self.limits.head_s, _close, transport, late)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget the connection."""
        super().connection_lost(handler, exc)
        self._in_time(handler)

    def close(self) -> None:
        """Let the threads end."""
        for lane in self.lanes.values():
            lane.close()

    def _in_time(self, handler: web.RequestHandler) -> None:
        if (timer := self._late.pop(handler, None)) is not None:
            timer.cancel()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._in_time(request.protocol)
        try:
            response = await self._routed(request)
        except Refusal as refusal:
            response = _refused(refusal)
        except InputError as error:
            response = _refused(Refusal(400, str(error)))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails for one request, the others are answered
            print(f"ferlab serve: {request.method} {request.path[:40]!r} failed: {type(error).__name__}", file=sys.stderr)
            response = _refused(Refusal(500, "this request failed inside the server"))
        if not isinstance(response, web.WebSocketResponse):
            await self._send(request, response)
        return response

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        try:
            async with asyncio.timeout(self.limits.send_s):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client takes no answer") from None

    async def _routed(self, request: web.BaseRequest) -> web.StreamResponse:
        known = {path: method for method, path in self._routes}
        self.rates.take(request.remote or "")
        self.access.check_source(host=request.headers.get(hdrs.HOST, ""), origin=request.headers.get(hdrs.ORIGIN))
        if request.path != "/health":
            self.access.check_key(request.headers.get(hdrs.AUTHORIZATION, ""))
        if request.path not in known:
            raise Refusal(404, f"no such page; expected one of {', '.join(known)}")
        if request.method != known[request.path]:
            raise Refusal(405, f"expected {known[request.path]} {request.path}")
        return await self._routes[request.method, request.path](request)

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        text = page_text(request.headers.get(hdrs.HOST, f"127.0.0.1:{PORT}"), self.card, limits=self.limits, key=bool(self.access.key))
        return web.Response(text=text, content_type="text/html", headers={**HEADERS, "Content-Security-Policy": POLICY})

    async def _health(self, _: web.BaseRequest) -> web.StreamResponse:
        waiting = {name: lane.pending for name, lane in self.lanes.items()}
        return _json({"status": "ok", "model": self.model.name, "waiting": waiting, "connections": len(self.connections)})

    async def _model(self, _: web.BaseRequest) -> web.StreamResponse:
        return _json(self.card)

    async def _predict(self, request: web.BaseRequest) -> web.StreamResponse:
        options = {name: _flag(request, name, default) for name, default in (("whole", False), ("flip", True), ("small", False))}
        with self.held.room() as count:
            data = await self._body(request, count)
            read = await self.lanes["pictures"].run(lambda: self._read(data, **options))
        return _json({"model": self.model.name, **picture_answer(read, self.model), "card": self.card["reliability"]})

    async def _body(self, request: web.BaseRequest, count: Callable[[int], None]) -> bytes:
        most = self.limits.picture_bytes
        if (request.content_length or 0) > most + CHUNK:  # a form has a head and a tail
            raise too_large(most)
        chunks = _form_chunks(request) if request.content_type.startswith("multipart/") else request.content.iter_chunked(CHUNK)
        data = await read_whole(chunks, count, most=most, seconds=self.limits.body_s)
        if not data:
            raise Refusal(400, "0 bytes; expected a picture as the body: curl --data-binary @photo.jpg URL")
        return data

    def _read(self, data: bytes, **options: bool) -> ReadPicture:
        picture = decode_bounded(data, most_pixels=self.limits.picture_pixels)
        return self.model.predictor.read_image(picture, **options)

    async def _faces(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=4 * self.limits.face_bytes, compress=False)
        if not socket.can_prepare(request).ok:
            raise Refusal(426, "expected a WebSocket: one cropped face a message")
        await socket.prepare(request)
        number = 0
        while True:
            try:
                async with asyncio.timeout(self.limits.idle_s):  # Keep: not receive's own, which begins again with every ping
                    message = await socket.receive()
            except TimeoutError:
                await socket.close(code=1001, message=f"no face within {self.limits.idle_s:g} seconds".encode())
                return socket
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return socket
            answer = {"number": number, **await self._face_or_line(request, message.data)}
            try:
                async with asyncio.timeout(self.limits.send_s):
                    await socket.send_json(answer)
            except (TimeoutError, ConnectionError):
                return socket
            number += 1

    async def _face_or_line(self, request: web.BaseRequest, data: Any) -> dict[str, Any]:
        try:
            self.rates.take(request.remote or "")
            if not isinstance(data, bytes) or not data:
                raise Refusal(400, "expected a binary message: a picture of one cropped face")
            if len(data) > self.limits.face_bytes:
                raise Refusal(413, f"the face has {len(data):,} bytes; expected at most {self.limits.face_bytes:,}. Send pictures to /predict.")
            with self.held.room() as count:
                count(len(data))
                return {"model": self.model.name, **await self.lanes["faces"].run(lambda: self._read_face(data))}
        except Refusal as refusal:
            return _line(refusal)
        except InputError as error:
            return _line(Refusal(400, str(error)))

    def _read_face(self, data: bytes) -> dict[str, Any]:
        face = decode_bounded(data, most_pixels=self.limits.picture_pixels, most_side=self.limits.face_side)
        (read,) = self.model.predictor.read_image(face, whole=True).faces
        return face_answer(read, self.model)


def serve(name: str | None = None, *, host: str = "127.0.0.1", port: int = PORT, key: str = "", risk: float | None = None) -> None:
    """Serve a model until the process is stopped (Ctrl-C, or SIGTERM).

    Args:
        name: As `LiveModel.load`.
        host: The address; one that other machines reach needs a key.
        port: 0 for any that is free.
        key: That each request has to bring as `Authorization: Bearer KEY`; "" for none.
        risk: Error rate among accepted faces, one of the model's card; None for the one that it states.

    Raises:
        InputError: As `LiveModel.load` and `Access`; a port out of range; if the address cannot be served.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: expected 0 to 65535")
    access = Access(host, key)
    model = LiveModel.load(name)
    if risk is not None:
        model.predictor.confidence = model.predictor.confidence.at_risk(risk)
    asyncio.run(_serve(model, access=access, port=port))


def read_key(key: str | None, path: str | None, environment: Mapping[str, str]) -> str:
    """Return the key from the command line, the first line of a file, or the variable FERLAB_KEY; "" for none. No error holds it.

    Raises:
        InputError: If two are stated, the file cannot be read, or what is stated is empty: that would serve without a key.
    """
    if key is not None and path is not None:
        raise InputError("--key and --key-file both state a key; expected one of them")
    if path is not None:
        try:
            found = Path(path).read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, ValueError):
            raise InputError(f"--key-file {path}: cannot be read; expected a text file that holds the key") from None
    else:
        found = (environment.get("FERLAB_KEY", "") if key is None else key).strip()
    if not found and (key is not None or path is not None):
        where = "--key" if path is None else f"--key-file {path}: the first line"
        raise InputError(f"{where} is empty; expected a key, or neither option to serve without one")
    return found


async def _serve(model: LiveModel, *, access: Access, port: int) -> None:
    server = FaceServer(model, access=access)
    runner, stop = web.ServerRunner(server), asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Keep: Windows has no signal handlers in its loop; Ctrl-C works there as elsewhere
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, access.host, port).start()
        except OSError as error:
            raise InputError(f"{access.host}:{port} cannot be served ({error.strerror}); choose another --port or --host") from None
        _announce(model, access, runner.addresses[0][1])
        await stop.wait()
    finally:
        server.pre_shutdown()
        await server.shutdown(QUIET_S)
        await runner.cleanup()
        server.close()


def _announce(model: LiveModel, access: Access, port: int) -> None:
    shown = f"[{access.host}]" if ":" in access.host else access.host
    print(f"ferlab: {model.name} is served at http://{shown}:{port}/ (stop: Ctrl-C)", flush=True)
    if not is_loopback(access.host):
        print(
            "ferlab: warning: other machines can reach this address; key and pictures travel unencrypted. Put a proxy with TLS before it.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    for note in model.predictor.notes:
        print(f"ferlab: {note}", file=sys.stderr, flush=True)


async def _form_chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield the first file of a form, as `curl -F picture=@photo.jpg` sends it."""
    try:
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader):
            raise Refusal(400, "the form is empty; expected a file: curl -F picture=@photo.jpg URL")
        while chunk := await part.read_chunk(CHUNK):
            yield chunk
    except (ValueError, KeyError, AssertionError, RuntimeError) as error:  # what aiohttp raises for broken forms
        raise Refusal(400, f"the form cannot be read ({type(error).__name__}); expected a file: curl -F picture=@photo.jpg URL") from None


def _flag(request: web.BaseRequest, name: str, default: bool) -> bool:
    value = request.query.get(name)
    if value is not None and value not in FLAGS:
        raise Refusal(400, f"?{name}={value[:20]}: expected 1 or 0")
    return default if value is None else FLAGS[value]


def _json(values: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(text=json.dumps(values) + "\n", status=status, content_type="application/json", headers={**HEADERS, **(headers or {})})


def _line(refusal: Refusal) -> dict[str, Any]:
    answer: dict[str, Any] = {"error": " ".join(refusal.line.split()), "status": refusal.status}
    return answer if refusal.retry_after is None else {**answer, "retry_after": refusal.retry_after}


def _refused(refusal: Refusal) -> web.Response:
    more = {} if refusal.retry_after is None else {hdrs.RETRY_AFTER: str(refusal.retry_after)}
    more |= {hdrs.WWW_AUTHENTICATE: "Bearer"} if refusal.status == 401 else {}
    response = _json(_line(refusal), status=refusal.status, headers=more)
    if refusal.status in (408, 413):  # what is left of the picture is not read
        response.force_close()
    return response


def _close(transport: asyncio.Transport, refusal: Refusal) -> None:
    """Answer a connection that has no request, and close it."""
    body = (json.dumps(_line(refusal)) + "\n").encode()
    head = [f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head += [f"Retry-After: {refusal.retry_after}"] if refusal.retry_after is not None else []
    transport.write("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
    transport.close()
