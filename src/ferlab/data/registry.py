"""The readers, one per dataset, in a table that can be read whole.

A new dataset is a file, one line here, and its file under `prepare` in dvc.yaml.
"""

from __future__ import annotations

READERS: dict[str, str] = {
    "control": "ferlab.control.source:read",
    "fer2013": "ferlab.data.fer2013:read",
}
