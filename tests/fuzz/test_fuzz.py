"""Input that was spoilt at random is read or refused in one line; and what finds the contrary finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
TARGETS = ("pictures", "readers", "configurations", "models", "tables")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_spoilt_input_is_read_or_refused_in_one_line(target: str, tmp_path: Path) -> None:
    command = [sys.executable, FUZZ, "--target", target, "--rounds", "1", "--seed", "0", "--keep", tmp_path / "kept"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 findings" in ran.stdout


@pytest.mark.parametrize(
    ("does", "status", "said"),
    [
        ("pass", 0, "1 read, 0 refused, 0 findings"),
        ("raise InputError('one line')", 0, "0 read, 1 refused, 0 findings"),
        ("raise InputError('two\\nlines')", 3, "an error of several lines"),
        ("[][0]", 3, "IndexError"),
        ("bytearray(4 << 30)", 3, "MemoryError"),
        ("time.sleep(9)", 1, "Timeout"),
    ],
)
def test_what_goes_wrong_is_found(does: str, status: int, said: str, tmp_path: Path) -> None:
    code = f"""
import sys, time; sys.path.insert(0, {str(FUZZ.parent)!r})
from pathlib import Path
import fuzz, targets
from ferlab.paths import InputError
class Bad:
    def __init__(self, folder): pass
    def run(self, rng, folder):
        (folder / "input").write_text("x")
        {does}
targets.TARGETS["tables"], fuzz.HANGS = Bad, 1
sys.exit(fuzz.run_here("tables", [5], Path({str(tmp_path)!r}) / "kept"))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == status
    assert said in ran.stdout + ran.stderr
    if status == 3:
        assert (tmp_path / "kept" / "tables-5" / "input").read_text() == "x"
        assert "--target tables --only 5" in ran.stdout
