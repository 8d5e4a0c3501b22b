"""Substitutes for the programs of SLURM: sbatch starts every job of an array at once on this machine, and keeps its script."""

from __future__ import annotations

import sys
from pathlib import Path

SBATCH = """#!{python}
import os, re, subprocess, sys
from pathlib import Path
text, kept = Path(sys.argv[1]).read_text(), Path({folder!r})
first = 4711 + 100 * len(list(kept.glob("script_*")))
(kept / f"script_{{first}}").write_text(text)
shared = dict(os.environ, SLURM_JOB_NUM_NODES="1", SLURM_NTASKS="1", SLURM_NNODES="1", SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0",
              SLURM_JOB_NODELIST="localhost")
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
array = re.search(r"--array=0-(\\d+)", text)
for task in range(int(array[1]) + 1) if array else [None]:  # the script may be moved as soon as this returns
    own = dict(SLURM_JOB_ID=str(first + (task or 0)))
    own |= dict(SLURM_ARRAY_JOB_ID=str(first), SLURM_ARRAY_TASK_ID=str(task)) if array else {{}}
    subprocess.Popen(["bash", "-c", text], env=shared | own, start_new_session=True, **quiet)
print(f"Submitted batch job {{first}}")
"""
SRUN = """#!{python}
import subprocess, sys
program = sys.argv[sys.argv.index({python!r}):]
sys.exit(subprocess.run(program, stdout=subprocess.DEVNULL).returncode)
"""


def write_programs(folder: Path) -> Path:
    """Write sbatch, srun, sacct and scancel to a new folder, which stands first on PATH then; return it. sbatch keeps its scripts there."""
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", "#!/bin/sh\n"), ("scancel", '#!/bin/sh\necho "$@" >> {folder}/cancelled\n')):
        (folder / name).write_text(text.format(python=sys.executable, folder=str(folder)))
        (folder / name).chmod(0o755)
    return folder


def scripts(folder: Path) -> list[str]:
    """The scripts that sbatch was given, in order."""
    return [path.read_text() for path in sorted(folder.glob("script_*"))]
