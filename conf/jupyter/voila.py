"""Voila's settings for this workspace, read by `make live`: the live notebooks alone, for this machine alone."""

import os
from pathlib import Path

c = get_config()  # noqa: F821 - Jupyter defines it

source = str(Path(__file__).resolve().parents[2] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))

# Loopback only, so no token is needed, and none is printed. Tornado's own check refuses pages of other addresses (websockets of another origin).
c.Voila.ip = "127.0.0.1"
c.Voila.token = ""
c.Voila.auto_token = False
c.VoilaConfiguration.strip_sources = True
c.VoilaConfiguration.show_tracebacks = False

# A picture of 32 MB comes in parts of 4 MB; the parts that the browser runs go out once, with the widget's first state.
c.Voila.tornado_settings = {"websocket_max_message_size": 100 * 1024 * 1024, "allow_remote_access": False, "local_hostnames": ["localhost"]}
c.ZMQChannelsWebsocketConnection.iopub_data_rate_limit = 1_000_000_000
c.ZMQChannelsWebsocketConnection.rate_limit_window = 1.0

# Voila's own page asks another machine for icon fonts. Ours does not, and the browser refuses what is not of this machine.
os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent / "share"), os.environ.get("JUPYTER_PATH")]))
c.VoilaConfiguration.template = "ferlab"
OWN = "'self' 'unsafe-inline' 'unsafe-eval' blob: data:"
POLICY = {"default-src": OWN, "connect-src": f"{OWN} ws://127.0.0.1:* ws://localhost:*", "media-src": OWN}
# Nor may a page of another address show ours in a frame, below buttons of its own.
POLICY |= {"frame-ancestors": "'self'", "form-action": "'self'", "base-uri": "'self'", "object-src": "'none'"}
c.Voila.tornado_settings["headers"] = {"Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in POLICY.items())}

# A kernel whose page is gone without a word, as after a crash of the browser, may hold a face: it ends after an hour.
c.MappingKernelManager.cull_idle_timeout = 3600
c.MappingKernelManager.cull_interval = 300
