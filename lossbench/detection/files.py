"""Where a detector lies, and files that are whole or not there."""

import os
from pathlib import Path

from lossbench.detection.saved import is_detector

# What it is called in the folder of a run.
FOLDER = "detector"
MOST_NAMED = 8


def find_detector(directory: str | os.PathLike[str]) -> Path:
    """The folder of a saved detector.

    Args:
        directory: that folder itself; the folder of a run that has one; or of a comparison of which
            a single run has one.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if there is none in it, or more than one.
    """
    folder = Path(directory)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    for place in (folder, folder / FOLDER):
        if is_detector(place):
            return place
    runs = sorted(folder.glob("runs/*/")) if folder.is_dir() else []
    found = [run for run in runs if is_detector(run / FOLDER)]
    if len(found) == 1:
        return found[0] / FOLDER
    if found:
        named = "\n  ".join(map(str, found[:MOST_NAMED]))
        more = f"\n  and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise ValueError(
            f"{folder}: {len(found)} runs hold a detector; name one of them:\n  {named}{more}"
        )
    if runs:
        raise ValueError(
            f"{folder}: none of its {len(runs)} runs holds a detector; those hold one that have "
            "completed, and whose metrics rank scores, such as roc_auc"
        )
    raise ValueError(
        f"{folder}: not a saved detector (no detector.json), nor a run or a comparison that holds "
        "one"
    )


def write_bytes(file: str | os.PathLike[str], content: bytes) -> Path:
    """Writes a file at once."""
    file = Path(file)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return file
