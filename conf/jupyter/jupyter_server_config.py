"""JupyterLab's settings for this workspace, read by `make lab`."""

import os
import sys
import warnings
from pathlib import Path

c = get_config()  # noqa: F821 - Jupyter defines it

# The server and its kernels run the code of this checkout, installed or not.
source = str(Path(__file__).resolve().parents[2] / "src")
sys.path.insert(0, source)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))

from ferlab.notebooks import strip_before_save  # noqa: E402 - after the path

# A run and a save without an edit leaves a pipeline notebook's bytes as they were, so no stage goes stale.
# JupyterLab reads this file twice, once for the server and once for itself, and would warn that the hook replaces itself.
warnings.filterwarnings("ignore", message="Overriding existing pre_save_hook")
c.FileContentsManager.pre_save_hook = strip_before_save

# Faces dropped into an upload widget travel over the websocket; its default of 10 MB drops larger ones without a word.
c.ServerApp.tornado_settings = {"websocket_max_message_size": 100 * 1024 * 1024}
# A page that is opened again asks for the widgets' states, with the parts that the browser runs, in one message.
c.ZMQChannelsWebsocketConnection.iopub_data_rate_limit = 1_000_000_000
c.ServerApp.root_dir = str(Path(__file__).resolve().parents[2])
c.LabApp.default_url = "/lab/tree/notebooks/00_explore.ipynb"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
