"""A button that computes and shows a page: what takes many seconds does not hold up the panels of its notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ferlab.live.panels import Panel, announce, buttons, displayed, live_region, note, quiet
from ferlab.paths import InputError


class Later(Panel):
    """Shows what a function displays, when its button is pressed."""

    def __init__(self, words: str, show: Callable[..., None], *arguments: Any) -> None:
        """Make a button.

        Args:
            words: On the button.
            show: Displays the page.
            arguments: Of `show`.
        """
        self._show_page, self._arguments = show, arguments
        self._button, self._said, self._page = widgets.Button(description=words), live_region(), widgets.VBox()
        self._button.on_click(lambda _: self.compute())
        super().__init__([buttons(self._button), self._said, self._page])

    def compute(self) -> None:
        """Compute and show the page; an error is said in one line."""
        self._button.disabled = True
        announce(self._said, quiet("Computing: some seconds ..."))
        try:
            self._page.children = (displayed(self._show_page, *self._arguments),)
            announce(self._said, "")
        except InputError as error:
            announce(self._said, note(error, "error"))
        except Exception as error:  # noqa: BLE001 - a callback's error would reach the log alone, and the person would wait for ever
            announce(self._said, note(f"{type(error).__name__}: {error}", "error"))
        finally:
            self._button.disabled = False
