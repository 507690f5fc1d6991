"""Where things are in a checkout, and the recorded data that may lie beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
CASES = ROOT.parent / "shared" / "cases"
