"""Which parameters are trained, and from which step on: a table of patterns."""

import fnmatch
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench._names import unknown

FROZEN = "frozen"
# A pattern of parameter names, as in a shell, and the step from which on they are trained.
Table = tuple[tuple[str, int], ...]


def trained_from(name: str, table: Table, held: Sequence[str]) -> int | None:
    """The step from which on a parameter is trained; None if never. The first pattern decides.

    Args:
        name: of a parameter, its keys joined by "/".
        table: patterns with steps; empty for all parameters but those held.
        held: patterns of what a model keeps from training unless the table names it.

    Example:
        >>> table = (("head/*", 0), ("body/*", 200))
        >>> [trained_from(name, table, ()) for name in ("head/bias", "body/kernel", "input/mean")]
        [0, 200, None]
    """
    if not table:
        return None if any(fnmatch.fnmatchcase(name, pattern) for pattern in held) else 0
    return next((step for pattern, step in table if fnmatch.fnmatchcase(name, pattern)), None)


def labels(params: Any, table: Table, held: Sequence[str]) -> Any:
    """For each parameter "from N", or "frozen"; a tree like the parameters.

    Raises:
        ValueError: for a pattern that matches nothing, or if nothing would be trained.
    """
    names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern, _ in table:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            error = unknown("pattern of train.trainable", pattern, names)
            raise ValueError(f"{error} (it matches no parameter)")

    def label(path: Any, _: Any) -> str:
        step = trained_from(_name(path), table, held)
        return FROZEN if step is None else f"from {step}"

    found = jax.tree_util.tree_map_with_path(label, params)
    if all(one == FROZEN for one in jax.tree.leaves(found)):
        raise ValueError("train.trainable: nothing would be trained")
    return found


def partitioned(
    update: Callable[[], optax.GradientTransformation], table: Table, held: Sequence[str]
) -> optax.GradientTransformation:
    """An optimizer for each step from which on parameters are trained; the others stay.

    Before its step a group is measured by its optimizer, but not moved: the rate is the schedule's.

    Args:
        update: makes the optimizer.
        table: see `trained_from`.
        held: likewise.
    """
    starts = sorted({step for _, step in table} or {0})
    transforms: dict[Hashable, Any] = {f"from {step}": _begun(update(), step) for step in starts}
    transforms[FROZEN] = optax.set_to_zero()
    return optax.partition(transforms, lambda params: labels(params, table, held))


def hold(params: Any, table: Table, held: Sequence[str]) -> Any:
    """The parameters; those that are never trained are constants, without a gradient."""

    def constant(path: Any, leaf: jax.Array) -> jax.Array:
        never = trained_from(_name(path), table, held) is None
        return jax.lax.stop_gradient(leaf) if never else leaf

    return jax.tree_util.tree_map_with_path(constant, params)


def matching(params: Any, patterns: Sequence[str]) -> Any:
    """True for each parameter that a pattern matches; a tree like the parameters."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(fnmatch.fnmatchcase(_name(path), pattern) for pattern in patterns),
        params,
    )


def _begun(update: optax.GradientTransformation, step: int) -> optax.GradientTransformation:
    if not step:
        return update
    return optax.chain(
        update,
        optax.scale_by_schedule(lambda count: jnp.where(jnp.asarray(count) < step, 0.0, 1.0)),
    )


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
