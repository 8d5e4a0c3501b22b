"""Keys of a panel: one key per expression, store, discard, undo. They act while the focus is in the panel, and never while a text is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

ESM = """
// JupyterLab's and Voila's own shortcuts rest while the focus is in the panel.
function render({ model, el }) {
  let root = null;
  const typed = (target) => target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName) ||
    (target.tagName === "INPUT" && !["checkbox", "radio", "button", "submit"].includes(target.type));
  const onKey = (event) => {
    const heard = model.get("heard"), digit = /^Digit[0-9]$/.test(event.code) ? event.code.slice(5) : "";
    const plain = event.key.length === 1 ? event.key.toLowerCase() : event.key, shifted = `shift+${digit || plain}`;
    const key = event.ctrlKey || event.metaKey ? `ctrl+${plain}` : event.shiftKey && heard.includes(shifted) ? shifted : plain;
    if (event.altKey || event.isComposing || event.repeat) return;
    if (!model.get("active") || !heard.includes(key) || typed(event.target)) return;
    if (["Enter", " "].includes(key) && event.target.closest("button, a, input, summary")) return;  // they have their own use of it
    event.preventDefault();
    event.stopPropagation();
    model.send({ key, turn: model.get("turn") });
  };
  const attach = () => {
    root = el.closest(".fl-panel");
    if (!root) return requestAnimationFrame(attach);
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    if (!root.hasAttribute("tabindex")) root.setAttribute("tabindex", "-1");
    root.addEventListener("keydown", onKey);
  };
  attach();
  model.on("change:focused", () => root && root.focus({ preventScroll: true }));
  return () => root && root.removeEventListener("keydown", onKey);
}
export default { render };
"""


class Keys(anywidget.AnyWidget):
    """A widget without looks; as a child of a panel it reports the panel's keys.

    Attributes:
        heard: Keys as browsers name them, letters small: "1", "s", "Enter", "Backspace", "ArrowLeft"; with others held: "shift+s", "ctrl+z" (or the
            command key). Shift is ignored where "shift+..." is not heard.
        turn: What the keys are about, such as the number of the face that is shown: a key that was pressed before the last change does nothing.
        active: Whether keys are reported.
        focused: Counts the calls of `take_focus`.
    """

    _esm = ESM
    heard = traitlets.List(traitlets.Unicode()).tag(sync=True)
    active = traitlets.Bool(True).tag(sync=True)
    focused = traitlets.Int(0).tag(sync=True)
    turn = traitlets.Int(0).tag(sync=True)

    def __init__(self, functions: dict[str, Callable[[], None]], **options: Any) -> None:
        """Call `functions[key]` when a key is pressed."""
        super().__init__(heard=list(functions), **options)
        self.functions = functions
        self.on_msg(self._pressed)

    def take_focus(self) -> None:
        """Move the focus to the panel, as after a button that had it is gone: its keys go on working."""
        self.focused += 1

    def press(self, key: str) -> None:
        """Do what the key does."""
        if self.active and key in self.functions:
            self.functions[key]()

    def _pressed(self, _: Any, content: Any, __: Any) -> None:
        if isinstance(content, dict) and content.get("turn", self.turn) == self.turn:
            self.press(str(content.get("key", "")))
