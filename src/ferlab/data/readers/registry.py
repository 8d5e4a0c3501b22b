"""The readers by dataset. A new dataset is a file and one line here; `make deps` then lists the file in dvc.yaml."""

from __future__ import annotations

READERS: dict[str, str] = {
    "affectnet": "ferlab.data.readers.affectnet:read",
    "captured": "ferlab.data.readers.captured:read",
    "ckplus": "ferlab.data.readers.ckplus:read",
    "class_folders": "ferlab.data.readers.class_folders:read",
    "control": "ferlab.control.source:read",
    "fer2013": "ferlab.data.readers.fer2013:read",
    "fer2013_reshuffled": "ferlab.data.readers.fer2013_reshuffled:read",
    "ferplus": "ferlab.data.readers.fer2013:read_ferplus",
    "jaffe": "ferlab.data.readers.jaffe:read",
    "listed": "ferlab.data.readers.listed:read",
    "rafdb": "ferlab.data.readers.rafdb:read",
}

# What a reader reads below its folder, where that is not all of it: "module:function", from the folder to files and folders; "": nothing.
READS: dict[str, str] = {
    "control": "",
    "fer2013": "ferlab.data.readers.fer2013_forms:files_read",
    "ferplus": "ferlab.data.readers.fer2013_forms:files_read",
}
