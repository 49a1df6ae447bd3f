"""Dice and intersection over union of hard predictions: for a batch, and over a stream of cases."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.metrics._cases import ratio, static
from lossbench.metrics._counted_cases import CountStream
from lossbench.metrics._counts import Counts, count_pixels


def _dice(counts: Counts) -> Array:
    """2 TP / (2 TP + FP + FN)."""
    # As floats: twice a count may not fit into int32.
    true_positive, predicted, true = (n.astype(jnp.float32) for n in counts)
    return ratio(2 * true_positive, predicted + true)


def _iou(counts: Counts) -> Array:
    """TP / (TP + FP + FN)."""
    union = counts.predicted + counts.true - counts.true_positive
    return ratio(counts.true_positive, union)


def dice(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Dice coefficient of each class: `2 TP / (2 TP + FP + FN)`.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where a class is in neither of both.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> print(dice(jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]]), num_classes=3))
        [[0.8  0.6666667  nan]]

    Reference: Dice, Measures of the Amount of Ecologic Association Between Species, 1945.
    """
    return _dice(count_pixels(predictions, labels, num_classes=num_classes, where=where))


def iou(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Intersection over union (Jaccard index) of each class: `TP / (TP + FP + FN)`.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where a class is in neither of both.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> print(iou(jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]]), num_classes=2))
        [[0.6666667 0.5 ]]

    Reference: Jaccard, The Distribution of the Flora in the Alpine Zone, 1912.
    """
    return _iou(count_pixels(predictions, labels, num_classes=num_classes, where=where))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dice(CountStream):
    """Dice coefficient over a stream of cases; the mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Dice.empty(cases=1, num_classes=2)
        >>> for piece in ([0, 1], [1, 0]):  # one case in two pieces
        ...     state = state.update(jnp.array([piece]), jnp.array([[0, 1]]), case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.5
    """

    count = staticmethod(count_pixels)

    name: str = static("dice")

    def score(self, counts: Counts) -> Array:
        """2 TP / (2 TP + FP + FN)."""
        return _dice(counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Iou(CountStream):
    """Intersection over union over a stream of cases; the mean leaves out class 0.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Iou.empty(cases=2, num_classes=2)
        >>> state = state.update(
        ...     jnp.array([[0, 1], [1, 1]]), jnp.array([[0, 1], [0, 1]]), case=jnp.array([0, 1])
        ... )
        >>> print(state.compute().mean)
        0.75
    """

    count = staticmethod(count_pixels)

    name: str = static("iou")

    def score(self, counts: Counts) -> Array:
        """TP / (TP + FP + FN)."""
        return _iou(counts)
