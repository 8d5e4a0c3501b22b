"""A widget mounted in a page without a server: the real widget in this process, its real page side in Chromium, messages between them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from ipywidgets.widgets.widget import _remove_buffers
from playwright.sync_api import Page

ASK = """
([message, sent]) => new Promise((done) => {
  const worker = window.workers.at(-1), before = worker.onmessage;
  const faces = sent.map((face) => ({...face, data: Uint8ClampedArray.from(atob(face.data), (letter) => letter.charCodeAt(0))}));
  worker.onmessage = ({data}) => { worker.onmessage = before; done({...data, tensors: (data.tensors ?? []).map((one) => Array.from(one))}); };
  worker.postMessage({...message, faces});
})
"""
WORKERS = """window.workers = []; const Plain = Worker;
window.Worker = class extends Plain { constructor(...given) { super(...given); window.workers.push(this); } };"""
THEME = ("layout-color1", "layout-color2", "content-font-color1", "content-font-color2", "border-color1")  # of JupyterLab
LIGHT, DARK = ("#fff", "#eee", "#1b1b1b", "#595959", "#bdbdbd"), ("#111", "#242424", "#f2f2f2", "#b8b8b8", "#5a5a5a")
MOUNT = """
async ({sent, esm}) => {
  const bytes = (text) => { const raw = atob(text), out = new Uint8Array(raw.length); for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return new DataView(out.buffer); };
  const text64 = (buffer) => { const view = new Uint8Array(buffer.buffer ?? buffer); let out = ""; for (let i = 0; i < view.length; i += 32768)
    out += String.fromCharCode(...view.subarray(i, i + 32768)); return btoa(out); };
  const listeners = {}, state = {};
  let changed = {};
  const fire = (name, ...values) => (listeners[name] ?? []).slice().forEach((each) => each(...values));
  const absorb = ([values, buffers]) => {
    for (const [path, text] of buffers) { const last = path.pop(); path.reduce((at, key) => at[key], values)[last] = bytes(text); }
    Object.assign(state, values);
    for (const key of Object.keys(values)) fire(`change:${key}`);
  };
  window.fromKernel = (messages) => messages.forEach(([kind, ...content]) =>
    kind === "state" ? absorb(content) : fire("msg:custom", content[0], content[1].map(bytes)));
  const tell = async (kind, content, parts) => window.fromKernel(await window.toKernel(kind, JSON.stringify(content), parts));
  const model = {
    sent: [],
    get: (key) => state[key],
    set: (key, value) => { state[key] = changed[key] = value; fire(`change:${key}`); },
    save_changes: () => { const told = changed; changed = {}; return tell("state", told, []); },
    send: (content, _, buffers = []) => { model.sent.push(content); return tell("message", content, buffers.map(text64)); },
    on: (name, act) => { (listeners[name] ??= []).push(act); },
    off: (name, act) => { listeners[name] = (listeners[name] ?? []).filter((each) => each !== act); },
  };
  absorb(sent);
  window.model = model;
  const module = await import(URL.createObjectURL(new Blob([esm], {type: "text/javascript"})));
  const begun = performance.now();
  window.leave = await module.default.render({model, el: document.getElementById("here")});
  window.renderedMs = performance.now() - begun;
}
"""


def mount(page: Page, widget: Any, *, dark: bool = False) -> None:
    """Show a widget in an empty page, in a theme of JupyterLab; messages and traits reach the widget, and the other way round."""
    page.route("http://localhost/", lambda route: route.fulfill(body=_document(widget, dark=dark), content_type="text/html"))
    page.add_init_script(WORKERS)
    page.expose_function("toKernel", lambda *message: _receive(page, widget, *message))
    page.goto("http://localhost/")  # a secure address, as the camera needs it; nothing is requested
    page.pending = []  # what the widget sent and the page has not got: the answer to the page's next message, or by `deliver`
    widget.send = lambda content, buffers=None: page.pending.append(("message", content, [_text(part) for part in buffers or []]))
    names = [name for name in widget.keys if name not in ("layout", "tabbable", "tooltip", "_esm", "_css", "_dom_classes")]
    page.heard = {}
    widget.observe(lambda change: _change(page, widget, change["name"]), names)
    page.evaluate(MOUNT, {"sent": _state(widget, names), "esm": str(widget._esm)})


def _document(widget: Any, *, dark: bool) -> str:
    colours = DARK if dark else LIGHT
    theme = ";".join(f"--jp-{name}:{colour}" for name, colour in zip(THEME, colours, strict=True))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A widget</title><style>{widget._css}</style></head>'
        f'<body data-jp-theme-light="{str(not dark).lower()}" style="{theme};background:{colours[0]};margin:12px;font-family:sans-serif">'
        '<main><h1 style="font-size:1px">A widget</h1><div id="here"></div></main></body></html>'
    )


def _receive(page: Page, widget: Any, kind: str, content: str, parts: list[str]) -> list[Any]:
    read = json.loads(content)
    if kind == "state":
        page.heard = read
        widget.set_state(read)
        page.heard = {}
    else:
        widget._handle_custom_msg(read, [base64.b64decode(part) for part in parts])
    told = list(page.pending)
    page.pending.clear()
    return told


def _change(page: Page, widget: Any, name: str) -> None:
    if name not in page.heard or widget.get_state(name)[name] != page.heard[name]:
        page.pending.append(("state", *_state(widget, [name])))


def _state(widget: Any, names: list[str]) -> tuple[dict[str, Any], list[tuple[Any, str]]]:
    state, paths, buffers = _remove_buffers(widget.get_state(names))
    return state, [(path, _text(part)) for path, part in zip(paths, buffers, strict=True)]


def _text(part: Any) -> str:
    return base64.b64encode(bytes(part)).decode()


def deliver(page: Page) -> None:
    """Hand what the widget sent to the page."""
    told = list(page.pending)
    page.pending.clear()
    if told:
        page.evaluate("(messages) => window.fromKernel(messages)", told)


def eventually(page: Page, condition: Callable[[], bool]) -> bool:
    """Return whether a condition of this process holds within ten seconds."""
    for _ in range(200):
        if condition():
            return True
        page.wait_for_timeout(50)
    return False


def wait(page: Page, until: Any, *, seconds: float = 30) -> None:
    """Deliver messages until a condition of this process holds."""
    for _ in range(int(seconds * 20)):
        deliver(page)
        if until():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within {seconds} s")


def ask_worker(page: Page, message: dict[str, Any], faces: list[Any]) -> dict[str, Any]:
    """Send faces, uint8 (H, W, 3) each, to the page's worker and return its answer."""
    sent = [{"data": base64.b64encode(_rgba(face)).decode(), "width": face.shape[1], "height": face.shape[0]} for face in faces]
    return page.evaluate(ASK, [message, sent])


def _rgba(face: Any) -> bytes:
    return np.concatenate([face, np.full((*face.shape[:2], 1), 255, np.uint8)], axis=2).tobytes()
