"""What a name in a configuration stands for, and hints for names that stand for nothing."""

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def find(what: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of a table; or what a user wrote elsewhere, named by its place.

    Args:
        what: what is named, such as "loss".
        name: a key of the table, or `package.module:attribute`, or `path/to/file.py:attribute`
            (a path from the working directory).
        table: what comes with lossbench.

    Raises:
        ValueError: if the name stands for nothing.

    Example:
        >>> find("number", "pi", {"pi": 3}), round(find("number", "math:pi", {}), 2)
        (3, 3.14)
    """
    if name in table:
        return table[name]
    place, colon, attribute = str(name).rpartition(":")
    if not colon:
        raise unknown(what, name, table)
    try:
        module = load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        return getattr(module, attribute)
    except Exception as error:  # whatever a user's own file raises
        raise ValueError(f"{what} {name!r}: {type(error).__name__}: {error}") from error


def source(name: str) -> str:
    """The code of the file that a name with a place stands for; see `find`.

    Remarks and `get_config` are left out: they change no result.
    """
    place, _, _ = name.rpartition(":")
    if place.endswith(".py"):
        text = Path(place).read_text()
    else:
        text = inspect.getsource(importlib.import_module(place))
    tree = ast.parse(text)
    tree.body = [node for node in tree.body if getattr(node, "name", None) != "get_config"]
    return ast.unparse(tree)


def load_file(path: Path) -> types.ModuleType:
    """Runs a Python file as a module of its own, under a name that no import can meet.

    Raises:
        FileNotFoundError: if there is no such file.
        Exception: whatever the file raises.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    name = f"{path.resolve()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses, and so Flax modules, look their module up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


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
