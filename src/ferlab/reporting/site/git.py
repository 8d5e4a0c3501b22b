"""What Git knows of the clone."""

from __future__ import annotations

import shutil
import subprocess

from ferlab import paths


def git(*arguments: str) -> str | None:
    """Return what `git` answers in the clone; None where there is no git, outside Git, or where it refuses."""
    if shutil.which("git") is None:
        return None
    answer = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    return answer.stdout if answer.returncode == 0 else None
