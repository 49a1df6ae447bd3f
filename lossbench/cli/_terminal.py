"""What the commands share: where they write, what they say, the compile cache."""

import os
import sys
from pathlib import Path


def say(text: str) -> None:
    """Tells what goes on, apart from a command's output."""
    print(text, file=sys.stderr, flush=True)


def check_folder(option: str, folder: Path) -> None:
    """Raises a ValueError where nothing could be written; before anything is computed."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{option}: {folder} cannot be made or written to, because of {there}")


def number(value: float | None) -> str:
    """A number as a command prints it."""
    return "undefined" if value is None or value != value else f"{value:.4f}"


def use_compile_cache() -> None:
    """One persistent compile cache, the user's own: its entries are executable code."""
    import jax

    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        try:
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            folder = home / "lossbench" / "jax"
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (OSError, RuntimeError):  # no home, or none to write to: compile every time
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
