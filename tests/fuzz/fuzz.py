"""Give spoilt input to whatever reads files from strangers: it must succeed or say in one line what is wrong, soon, and within memory.

    python tests/fuzz/fuzz.py                              200 rounds of 500 inputs, over all targets
    python tests/fuzz/fuzz.py --target models --seed 7     one target, from another seed on
    python tests/fuzz/fuzz.py --target models --only 7001  one input again

Each round of a target runs in a process of its own with bounded memory, so that a crash of a library is a finding like any other. An input
is made anew from its number; a finding prints the command that makes it again, and leaves the input below the folder named by --keep.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "src")]
SHARES = {"pictures": 200, "readers": 110, "configurations": 80, "models": 80, "tables": 30}  # of a round of 500 inputs
MOST_MEMORY = 3 << 30  # bytes more than a process has when its whole inputs are made
MOST_SECONDS = 20  # for one input
HANGS = 25  # seconds for one input, which is then ended
FOUND = 3  # exit status of a process whose inputs found something
SETTING_UP = 120  # seconds to make the whole inputs


def main() -> int:
    """Run what is asked for; 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=list(SHARES))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="number of the first input, times 1,000")
    parser.add_argument("--only", type=int, help="one input by its number")
    parser.add_argument("--keep", default="data/scratch/fuzz", help="where inputs that found something are left")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only is not None or chosen.child is not None:
        numbers = [chosen.only] if chosen.only is not None else range(chosen.seed * 1000, chosen.seed * 1000 + chosen.child)
        return run_here(chosen.target, list(numbers), Path(chosen.keep))
    found = 0
    for number in range(chosen.seed, chosen.seed + chosen.rounds):
        for target in [chosen.target] if chosen.target else SHARES:
            found += run_apart(target, seed=number, count=SHARES[target], keep=chosen.keep)
    print(f"{chosen.rounds} rounds from seed {chosen.seed} on: {found or 'no'} findings")
    return 1 if found else 0


def run_apart(target: str, *, seed: int, count: int, keep: str) -> int:
    """Run inputs in a process of its own; return how many findings it had, a crash or a hang being one."""
    command = [sys.executable, __file__, "--target", target, "--seed", str(seed), "--child", str(count), "--keep", keep]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SETTING_UP + 2 * count + MOST_SECONDS)
        status, out, error = ran.returncode, ran.stdout, ran.stderr[-3000:]
    except subprocess.TimeoutExpired as stopped:
        status, out, error = 124, (stopped.stdout or b"").decode(errors="replace").replace("\r", "\n"), ""
    last = out.rstrip().rpartition("\n")[2]
    out = "\n".join(line for line in out.split("\n") if not re.fullmatch(r"input \d+", line))
    if status not in (0, FOUND):
        print(f"{out[-4000:]}{error}FINDING {target}: ended with status {status} at: {last}; see --only", flush=True)
        return 1 + out.count("FINDING ")
    print(out if status else f"{target}: {last}", flush=True)
    return out.count("FINDING ")


def run_here(target: str, numbers: list[int], keep: Path) -> int:
    """Run inputs in this process; return FOUND if anything was found. One that hangs ends it, with the place where it does."""
    from targets import TARGETS

    from ferlab.paths import InputError

    warnings.simplefilter("ignore")
    found = refused = 0
    with tempfile.TemporaryDirectory() as whole:
        subject = TARGETS[target](Path(whole))
        limit = _address_space() + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in numbers:
            folder = Path(tempfile.mkdtemp())
            print(f"input {number}", end="\r", flush=True)
            began, said = time.monotonic(), ""
            faulthandler.dump_traceback_later(HANGS, exit=True)
            try:
                subject.run(random.Random(number), folder)
            except InputError as error:
                refused += 1
                said = f"an error of several lines: {str(error)!r}" if "\n" in str(error) or not str(error) else ""
            except Exception:  # noqa: BLE001 - that is what is looked for
                said = traceback.format_exc()
            faulthandler.cancel_dump_traceback_later()
            if time.monotonic() - began > MOST_SECONDS:
                said += f"took {time.monotonic() - began:.0f} seconds"
            if said:
                found += 1
                shutil.rmtree(keep / f"{target}-{number}", ignore_errors=True)
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copytree(folder, keep / f"{target}-{number}", symlinks=True, copy_function=_copy_plain)
                print(f"FINDING {target} {number}: python tests/fuzz/fuzz.py --target {target} --only {number}\n{said}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(numbers)} inputs: {len(numbers) - refused - found} read, {refused} refused, {found} findings")
    return FOUND if found else 0


def _copy_plain(source: str, target: str) -> None:
    if os.path.isfile(source):
        shutil.copyfile(source, target)


def _address_space() -> int:
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[0]) * resource.getpagesize() if pages.is_file() else 64 << 30


if __name__ == "__main__":
    sys.exit(main())
