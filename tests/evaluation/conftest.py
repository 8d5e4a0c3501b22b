"""Lets the tests of this room import `seeded_runs`, which makes predictions of runs for them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
