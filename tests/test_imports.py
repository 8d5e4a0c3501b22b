"""The runner does not load what papermill and nbformat could use and never do here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ferlab.imports import without


def test_papermill_is_imported_without_pyarrow_which_can_be_imported_afterwards():
    code = (
        "import sys; from ferlab.imports import without\n"
        "with without('rfc3987_syntax', 'pyarrow'):\n    import nbformat, papermill\n"
        "assert 'pyarrow' not in sys.modules and 'numpy' not in sys.modules\n"
        "import pyarrow.parquet"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_imported_already_stays():
    assert "subprocess" in sys.modules
    with without("subprocess", "this_is_hidden"):
        import subprocess as again

        with pytest.raises(ModuleNotFoundError):
            __import__("this_is_hidden")
    assert again is subprocess
    assert "this_is_hidden" not in sys.modules
