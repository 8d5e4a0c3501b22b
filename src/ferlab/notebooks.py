"""The stored form of notebooks: no outputs, no counts, nothing that a save without an edit changes.

A stage depends on the bytes of its notebook. JupyterLab calls `strip_before_save` before it saves (`conf/jupyter/jupyter_server_config.py`).

    python -m ferlab.notebooks notebooks/*.ipynb          rewrite these files in stored form
    python -m ferlab.notebooks --check notebooks/*.ipynb  name those that are not, and exit 1
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ferlab.paths import InputError

KERNELSPEC: dict[str, str] = {"display_name": "Python 3", "language": "python", "name": "python3"}  # JupyterLab writes the kernel's own display name


def strip(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return an nbformat 4 notebook (plain JSON, not changed) with ids, tags and sources alone."""
    cells = [_strip_cell(cell, number) for number, cell in enumerate(notebook["cells"])]
    return {"cells": cells, "metadata": {"kernelspec": dict(KERNELSPEC)}, "nbformat": 4, "nbformat_minor": 5}


def stored_text(notebook: dict[str, Any]) -> str:
    """Return a notebook's text in stored form, byte for byte as nbformat and JupyterLab write it."""
    lined = strip(notebook)
    for cell in lined["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return json.dumps(lined, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": ")) + "\n"


def strip_before_save(model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """JupyterLab's pre-save hook: strip the notebooks of notebooks/ and notebooks/live/ in place, and no other file.

    Args:
        model: The contents model; `content` holds the notebook.
        path: Below the server's root folder.
        contents_manager: The server's, which knows the path on disk.
    """
    if model.get("type") != "notebook" or model["content"].get("nbformat") != 4:
        return
    on_disk = Path(contents_manager._get_os_path(path))
    folder = on_disk.parent.parent if on_disk.parent.name == "live" else on_disk.parent
    if folder.name != "notebooks" or not (folder.parent / "dvc.yaml").is_file():
        return
    content: dict[str, Any] = model["content"]
    stripped = strip(content)
    for cell, plain in zip(content["cells"], stripped["cells"], strict=True):
        cell.clear()
        cell.update(plain)
    for key in ("metadata", "nbformat", "nbformat_minor"):
        content[key] = type(content[key])(stripped[key])


def _strip_cell(cell: dict[str, Any], number: int) -> dict[str, Any]:
    source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    tags = cell.get("metadata", {}).get("tags")
    plain: dict[str, Any] = {
        "cell_type": cell["cell_type"],
        "id": cell.get("id", f"cell-{number:03d}"),
        "metadata": {"tags": list(tags)} if tags else {},
        "source": source,
    }
    if cell.get("attachments"):  # pictures pasted into prose
        plain["attachments"] = cell["attachments"]
    if cell["cell_type"] == "code":
        plain |= {"execution_count": None, "outputs": []}
    return plain


def _read(file: Path) -> tuple[str, str]:
    """Return the text of a file, and that of its stored form."""
    try:
        text = file.read_text(encoding="utf-8")
        return text, stored_text(json.loads(text))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; expected a notebook of format 4") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: expected a notebook of format 4, got {type(error).__name__}: {error}") from None


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check notebook files; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ferlab.notebooks", description="Keep notebooks in stored form.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="only name the files that are not in stored form")
    options = parser.parse_args(arguments)
    changed = 0
    for file in options.files:
        try:
            text, stored = _read(file)
        except InputError as error:
            print(f"notebooks: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        if stored != text:
            changed += 1
            print(f"{file}: {'not in stored form' if options.check else 'rewritten'}")
            if not options.check:
                file.write_text(stored, encoding="utf-8")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
