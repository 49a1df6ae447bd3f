"""Means over named axes of a table of scores, of what is defined."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lossbench.metrics._cases import mean_of_defined

CASES_AND_CLASSES = ("cases", "classes")


class Mean(NamedTuple):
    """A mean of scores.

    Attributes:
        values: one value for each place of the axes that are left; NaN where nothing is defined.
        undefined: number of NaN in the table, which are in no mean.
    """

    values: Float[Array, "..."]
    undefined: Int[Array, ""]


def mean_over(
    table: Float[Array, "..."],
    *order: str | Sequence[str],
    axes: Sequence[str] = CASES_AND_CLASSES,
) -> Mean:
    """The mean over axes by their names, one after the other, of the defined values.

    Where values are undefined the order matters. Over "classes", then "cases" every case counts the
    same, however many classes it has; over "cases", then "classes" every class does, however rare;
    over both at once every value. Where all is defined the three agree.

    Args:
        table: scores, NaN where undefined, as `Scores.per_case`; without the background
            `per_case[:, 1:]`.
        order: the axes to take the mean over, first to last; several names at once are one mean.
        axes: the names of the axes of the table.

    Returns:
        The means, over the axes that are left, in their order; and how many values are undefined.

    Raises:
        ValueError: for a name that is no axis or comes twice, or for another number of axes than
            the table has.

    Example:
        >>> import jax.numpy as jnp
        >>> dice = jnp.array([[0.9, 0.5], [0.7, jnp.nan]])  # the second case lacks a class
        >>> for order in (["cases"], ["classes", "cases"], ["cases", "classes"]):
        ...     print(order, mean_over(dice, *order).values)
        ['cases'] [0.79999995 0.5       ]
        ['classes', 'cases'] 0.7
        ['cases', 'classes'] 0.65
        >>> print(mean_over(dice, ("cases", "classes")).values)
        0.7

    Reference: Maier-Hein et al., Metrics Reloaded: Recommendations for Image Analysis Validation,
    Nature Methods 2024 (aggregation).
    """
    if len(axes) != table.ndim or len(set(axes)) != len(axes):
        raise ValueError(
            f"axes: expected a name for each of the table's {table.ndim} axes, got {tuple(axes)}"
        )
    left = list(axes)
    means = table.astype(jnp.float32)
    for step in order:
        names = (step,) if isinstance(step, str) else tuple(step)
        for place, name in enumerate(names):
            if name not in left or name in names[:place]:
                raise ValueError(f"order: expected names among {tuple(left)}, got {name!r}")
        means = mean_of_defined(means, axis=tuple(left.index(name) for name in names))
        left = [name for name in left if name not in names]
    return Mean(means, jnp.sum(jnp.isnan(table), dtype=jnp.int32))
