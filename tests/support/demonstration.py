"""The demonstration, run once for all tests that look at what it leaves behind."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("stockbatch")
SMALLER = {"STOCKBATCH_MODEL__UNITS": "8", "STOCKBATCH_MODEL__EPOCHS": "2"}


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A home in which `stockbatch demo` has been run."""

    home: Path
    said: str
    """What the command said."""
    settings: Mapping[str, str]
    """Those it had, as variables."""

    def stockbatch(self, *arguments: str) -> str:
        """Return what a command says that succeeds in the same home."""
        return _call(self.home, self.settings, *arguments)


def brought(folder: Path) -> Demonstration:
    """Return what somebody ran in FOLDER/home, with the words that it said in FOLDER/said."""
    said = (folder / "said").read_text(encoding="utf-8")
    return Demonstration(home=folder / "home", said=said, settings={})


def run(home: Path) -> Demonstration:
    """Run it, with networks that are trained soon."""
    return Demonstration(home=home, said=_call(home, SMALLER, "demo"), settings=SMALLER)


def _call(home: Path, settings: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [PROGRAM, *arguments],
        env={**os.environ, **settings, "STOCKBATCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
