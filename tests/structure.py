"""Count the rooms of a checkout, and the imports between them.

`python -m tests.structure [FOLDER]` prints a line for each package. A room is what lies directly in
a package, a module or a folder; an arrow, that one room imports from another; a floor, how many
arrows one can follow upwards at most, rooms that import each other being one.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("stockbatch", "jobs")


def modules(root: Path) -> dict[str, Path]:
    """Return the files of all modules by their names."""
    found = {}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            for candidate in (name, name.rpartition(".")[0]):
                if candidate in known:
                    yield candidate
                    break


def room(module: str) -> str:
    """Return the room that a module is in."""
    return ".".join(module.split(".")[:2])


def arrows(root: Path) -> dict[str, set[str]]:
    """Return by room those it imports from."""
    known = modules(root)
    found: dict[str, set[str]] = {}
    for module, file in known.items():
        there = {room(other) for other in imported(file, known)} - {room(module), *PACKAGES}
        if module not in PACKAGES:
            found.setdefault(room(module), set()).update(there)
    return found


def reached(rooms: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return by room all that it depends on, itself included."""
    found = {name: {name} | others for name, others in rooms.items()}
    for between in rooms:  # Warshall's closure
        for others in found.values():
            if between in others:
                others |= found[between]
    return found


def floors(rooms: dict[str, set[str]]) -> int:
    """Return how many floors there are: one more than rooms of a chain that see less and less."""
    sizes = reached(rooms)

    @cache
    def height(name: str) -> int:
        below = [other for other in sizes[name] if name not in sizes[other]]
        return 1 + max(map(height, below), default=0)

    return max(map(height, rooms))


def largest_cycle(rooms: dict[str, set[str]]) -> int:
    """Return the size of the largest set of rooms that all depend on each other."""
    seen = reached(rooms)
    return max(sum(name in seen[other] for other in seen[name]) for name in rooms)


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    whole = arrows(root)
    for package in PACKAGES:
        files = [file for name, file in modules(root).items() if name.split(".")[0] == package]
        lines = sorted(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        own = [name for name in whole if name.startswith(f"{package}.")]
        rooms = {name: whole[name] & set(own) for name in own}
        print(
            f"{package}: {len(files)} modules, {sum(lines)} lines, the longest {lines[-1]};"
            f" {len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows, {floors(rooms)} floors,"
            f" largest cycle {largest_cycle(rooms)}"
        )


if __name__ == "__main__":
    main()
