"""The readers, one per dataset, in a table that can be read whole.

A new dataset is a file and one line here; `make deps` then lists the file in dvc.yaml.
"""

from __future__ import annotations

READERS: dict[str, str] = {
    "affectnet": "ferlab.data.affectnet:read",
    "captured": "ferlab.data.captured:read",
    "ckplus": "ferlab.data.ckplus:read",
    "class_folders": "ferlab.data.class_folders:read",
    "control": "ferlab.control.source:read",
    "fer2013": "ferlab.data.fer2013:read",
    "fer2013_reshuffled": "ferlab.data.fer2013_reshuffled:read",
    "ferplus": "ferlab.data.ferplus_benchmark:read",
    "jaffe": "ferlab.data.jaffe:read",
    "listed": "ferlab.data.listed:read",
    "rafdb": "ferlab.data.rafdb:read",
}
