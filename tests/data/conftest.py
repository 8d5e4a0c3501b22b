"""Lets the tests of this room import `fer2013_files`, which writes small FER2013 files for them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
