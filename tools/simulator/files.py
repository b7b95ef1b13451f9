"""Atomic file writes: whenever the process is killed, a file is complete or absent."""

from pathlib import Path

PLACES = ("", "done", "error")
"""Folders into which a collector may have moved a file, relative to the folder it was written to."""


def replace(target: Path, content: bytes) -> None:
    """Writes a file under a temporary name, then renames it: readers see nothing, or the whole file."""
    partial = target.with_name(f"{target.name}.part")
    partial.write_bytes(content)
    partial.replace(target)


def save_secret(target: Path, content: bytes) -> None:
    """Writes a file like `replace`, readable by its owner only."""
    partial = target.with_name(f"{target.name}.part")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(content)
    partial.replace(target)


def is_there(folder: Path, name: str, size: int | None = None) -> bool:
    """Tells whether a file, of the given size if any, is in its folder or where a collector moves what it has read."""
    return any(
        found.exists() and size in (None, found.stat().st_size) for found in (folder / place / name for place in PLACES)
    )
