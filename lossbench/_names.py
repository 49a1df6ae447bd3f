"""Hints for names that nobody knows."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str]) -> ValueError:
    """The error for an unknown name: what it may have meant, and which names there are.

    Args:
        what: what is named, such as "loss" or "option of the loss dice".
        name: the name given.
        known: the names there are.

    Example:
        >>> print(unknown("loss", "dise", ["dice", "focal"]))
        unknown loss 'dise'; did you mean 'dice'? There are: dice, focal
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=3)
    meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return ValueError(f"unknown {what} {name!r}{meant} There are: {', '.join(known) or 'none'}")
