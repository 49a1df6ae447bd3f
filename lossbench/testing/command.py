"""The command `lossbench torture`: a loss by its name or place, and its verdict."""

import ast
from collections.abc import Iterable
from typing import Any

import jax

from lossbench import losses
from lossbench._names import find
from lossbench.testing.suite import check_loss
from lossbench.testing.torch_adapter import from_torch, is_module_class
from lossbench.testing.verdict import Verdict

DEVICES = 4


def torture(
    target: str, *, torch: bool = False, options: Iterable[str] = (), **settings: Any
) -> Verdict:
    """The verdict on a loss that is named on the command line.

    Args:
        target: what `loss_of` takes.
        torch: true for a function of PyTorch; modules are known.
        options: texts such as "gamma=0.5", options of the loss.
        **settings: of `check_loss`.

    Raises:
        ValueError: if the name stands for nothing, or the loss cannot be run.
    """
    use_devices(DEVICES)
    loss, given = loss_of(target), dict(map(option, options))
    if torch or is_module_class(loss):
        return check_loss(from_torch(loss, **given), name=target, **settings)
    return check_loss(loss, options=given, name=target, **settings)


def loss_of(target: str) -> Any:
    """What a name stands for.

    Args:
        target: a row of the catalog, `package.module.function`, `package.module:function` or
            `path/to/file.py:function`.

    Raises:
        ValueError: if there is no such thing, or it cannot be called.

    Example:
        >>> loss_of("math.hypot").__name__
        'hypot'
    """
    place, _, name = target.rpartition(".")
    dotted = ":" not in target and place and not target.endswith(".py")
    table = {row.name: row.function for row in losses.CATALOG.values()}
    found = find("loss", f"{place}:{name}" if dotted else target, table)
    if not callable(found):
        raise ValueError(f"{target} is a {type(found).__name__}, no function or class")
    return found


def option(text: str) -> tuple[str, Any]:
    """A name and a value of Python; what is no such value is a string.

    Raises:
        ValueError: if there is no name.

    Example:
        >>> option("gamma=0.5"), option("pool=batch")
        (('gamma', 0.5), ('pool', 'batch'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--option: expected NAME=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def use_devices(count: int) -> None:
    """So many virtual CPU devices, if JAX has not started."""
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # it has: with as many devices as there are
        return
