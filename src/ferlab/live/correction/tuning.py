"""The part of the panel that fine-tunes a run on corrected and collected faces, in a process of its own, and shows what that changed."""

from __future__ import annotations

import html
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

import ipywidgets as widgets
import pandas as pd

from ferlab.live.correction.personalise import EPOCHS, MOST_EPOCHS, Personalised, read_result
from ferlab.live.panels import announce, buttons, live_region, note, quiet, table
from ferlab.params import Params
from ferlab.paths import ROOT, InputError, artefact

LINES = 6  # of progress that are shown
PATIENCE = 15.0  # seconds that DVC may take to clean up
STATES = ("idle", "running", "done", "failed", "stopped")


class Tuning(widgets.VBox):
    """A button that fine-tunes, its progress, and the paired difference on held-out people.

    Attributes:
        state: One of STATES.
        result: The last result; None before.
    """

    def __init__(self, params: Params, set_name: str) -> None:
        self.set_name, self.state = set_name, "idle"
        self.result: Personalised | None = None
        self._process: subprocess.Popen[str] | None = None
        self._late: threading.Timer | None = None
        runs = [name for name in params.runs if artefact("train", "weights", name).is_file()]
        own = [name for name in runs if params.runs[name].data == set_name]
        self.run = widgets.Dropdown(options=[*own, *(name for name in runs if name not in own)], description="run", disabled=not runs)
        self.epochs = widgets.BoundedIntText(EPOCHS, min=1, max=MOST_EPOCHS, description="epochs")
        self.start = widgets.Button(description="Fine-tune and compare", disabled=not runs)
        self.stop = widgets.Button(description="Stop", disabled=True)
        self.progress, self.told = widgets.HTML(), live_region()
        self.start.on_click(lambda _: self.begin())
        self.stop.on_click(lambda _: self.end())
        said = "Starts from the weights of the run, trains a few epochs on the corrected set, and compares both on its test faces, by person. A DVC "
        said += "experiment in a copy of the workspace: params.yaml and results stay as they are. It takes minutes."
        if not runs:
            said = "No run of params.yaml is trained yet: `dvc repro` trains them; then a run can be fine-tuned on corrected faces here."
        super().__init__([widgets.HTML(quiet(said)), buttons(self.run, self.epochs, self.start, self.stop), self.progress, self.told])

    def begin(self) -> None:
        """Start the experiment; one at a time."""
        if self.state == "running" or not self.run.value:
            return
        self.state, self.result = "running", None
        self.start.disabled, self.stop.disabled = True, False
        announce(self.told, note("The experiment has started."))
        options = ["--set", self.set_name, "--epochs", str(self.epochs.value)]
        command = [sys.executable, "-m", "ferlab.live.correction.personalise", self.run.value, *options]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.thread = threading.Thread(target=self._follow, args=(self._process,), daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Stop the experiment; DVC removes its copy."""
        if self._process and self.state == "running":
            self.state = "stopped"
            self._signal(signal.SIGINT)
            self._late = threading.Timer(PATIENCE, self._signal, [signal.SIGTERM])
            self._late.daemon = True
            self._late.start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _follow(self, process: subprocess.Popen[str]) -> None:
        """Show the lines of the process, and its result or its last line."""
        lines: deque[str] = deque(maxlen=LINES)
        for line in process.stdout or ():
            if text := line.strip():
                lines.append(text)
                shown = "\n".join(html.escape(each) for each in lines)
                self.progress.value = f'<pre class="fl-quiet" style="white-space:pre-wrap;margin:4px 0">{shown}</pre>'
        code = process.wait()
        self.start.disabled, self.stop.disabled = False, True
        last = lines[-1] if lines else "it printed nothing"
        if self.state == "stopped":
            announce(self.told, note("Stopped: nothing was kept.", "warning"))
        elif code:
            self.state = "failed"
            announce(self.told, note(last, "error"))
        else:
            self._show(last)

    def _show(self, last: str) -> None:
        try:
            self.result = read_result(Path(last.removeprefix("result: ")).parent.name)
        except InputError as error:
            self.state = "failed"
            announce(self.told, note(error, "error"))
            return
        self.state = "done"
        announce(self.told, "".join(note(line, "done" if number == 0 else "plain") for number, line in enumerate(self.result.sentences())))
        self.progress.value = table(recall_table(self.result), caption="Recall per expression before and after fine-tuning, in percent")


def recall_table(result: Personalised) -> pd.DataFrame:
    """Return recall per expression before and after, in percent, on the held-out faces."""
    shown = {"before": "before, %", "after": "after, %"}
    rows = [
        {"expression": name, "faces": of["faces"], **{title: "" if of[key] is None else f"{100 * of[key]:.1f}" for key, title in shown.items()}}
        for name, of in result.recalls.items()
    ]
    return pd.DataFrame(rows)
