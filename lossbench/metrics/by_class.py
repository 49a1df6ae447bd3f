"""Metrics of masks, on class ids."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lossbench import _checks


def by_class(
    metric: Callable[..., Any],
    predictions: Array,
    labels: Array,
    *,
    num_classes: int,
    **options: Any,
) -> Any:
    """A metric of masks for each class: `metric(predictions == c, labels == c, **options)`.

    Args:
        metric: a function of two boolean masks `batch *space`, such as `hd95`.
        predictions: class ids, `batch *space`; never logits.
        labels: class ids, `batch *space`.
        num_classes: number of classes, background included.
        options: what the metric takes besides.

    Returns:
        What the metric returns with a leading axis of classes. All are computed side by side
        (`vmap`), which takes the memory of all.

    Raises:
        ValueError: for shapes or dtypes that do not fit; as the metric does.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.metrics.surface import hausdorff
        >>> labels = jnp.array([[[0, 0, 1, 1, 0, 0]]])
        >>> found = by_class(hausdorff, jnp.roll(labels, 1), labels, num_classes=3, spacing=(1, 2))
        >>> print(found.values[:, 0], found.undefined)  # nothing is of class 2
        [ 2.  2. nan] [0 0 1]
    """
    for name, ids in (("predictions", predictions), ("labels", labels)):
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"{name}: expected class ids (integer), got {ids.dtype}")
    _checks.shape("predictions", predictions, labels.shape, "the shape of labels")
    predictions, labels = predictions.astype(jnp.int32), labels.astype(jnp.int32)
    of_class = lambda c: metric(predictions == c, labels == c, **options)  # noqa: E731
    return jax.vmap(of_class)(jnp.arange(num_classes, dtype=jnp.int32))
