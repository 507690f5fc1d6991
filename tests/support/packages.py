"""Packages of other people, as an installer leaves them."""

from pathlib import Path


def install(folder: Path, name: str, group: str, entries: dict[str, str], **modules: str) -> None:
    """Write modules and what an installer writes beside them."""
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{entry} = {target}" for entry, target in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
