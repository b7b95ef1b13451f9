"""Files that are there whole or not at all, whenever the process is killed."""

from pathlib import Path

PLACES = ("", "done", "error")
"""Where a collector may have put a file since, below the folder it was written to."""


def replace(target: Path, content: bytes) -> None:
    """Under another name first: readers see nothing, or all of it."""
    partial = target.with_name(f"{target.name}.part")
    partial.write_bytes(content)
    partial.replace(target)


def save_secret(target: Path, content: bytes) -> None:
    """As `replace`, for nobody else to read."""
    partial = target.with_name(f"{target.name}.part")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(content)
    partial.replace(target)


def is_there(folder: Path, name: str, size: int | None = None) -> bool:
    """Whether the file is in its folder or where a collector puts what it has read; of that size, if one is given."""
    return any(
        found.exists() and size in (None, found.stat().st_size) for found in (folder / place / name for place in PLACES)
    )
