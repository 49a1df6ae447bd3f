"""Rates of hard predictions, each class against the rest: for a batch, and over a stream of cases.

All are made of the four cells of a class: TP, FP, FN and TN, pixels that are of the class in both,
in the prediction alone, in the truth alone and in neither. What concerns all classes at once is in
`agreement`.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.metrics._cases import ratio, static
from lossbench.metrics._counted_cases import CountStream
from lossbench.metrics._counts import Cells, count_cells


def _precision(cells: Cells) -> Array:
    """TP / (TP + FP)."""
    return ratio(cells.true_positive, cells.true_positive + cells.false_positive)


def _recall(cells: Cells) -> Array:
    """TP / (TP + FN)."""
    return ratio(cells.true_positive, cells.true_positive + cells.false_negative)


def _specificity(cells: Cells) -> Array:
    """TN / (TN + FP)."""
    return ratio(cells.true_negative, cells.true_negative + cells.false_positive)


def _f_beta(cells: Cells, beta: float) -> Array:
    """(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)."""
    # As floats: a multiple of a count may not fit into int32.
    tp, fp, fn, _ = (n.astype(jnp.float32) for n in cells)
    found, missed = (1 + beta**2) * tp, beta**2 * fn
    return ratio(found, found + missed + fp)


def _mcc(cells: Cells) -> Array:
    """(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))."""
    # As shares of the four margins, whose product fits into float32 where that of counts does not.
    tp, fp, fn, tn = cells
    right = ratio(tp, tp + fp) * ratio(tp, tp + fn) * ratio(tn, tn + fp) * ratio(tn, tn + fn)
    wrong = ratio(fp, tp + fp) * ratio(fn, tp + fn) * ratio(fp, tn + fp) * ratio(fn, tn + fn)
    return jnp.sqrt(right) - jnp.sqrt(wrong)


def _checked(beta: float | int) -> float:
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta: expected a finite number of at least 0, got {beta}")
    return float(beta)


def precision(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Precision of each class: `TP / (TP + FP)`, the share of the predicted that is true.

    Also called the positive predictive value. scikit-learn and torchmetrics give 0 where nothing is
    predicted, unless told otherwise.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where a class is not predicted.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(precision(predictions, labels, num_classes=3))
        [[1.  0.5 nan]]

    Reference: Powers, Evaluation: From Precision, Recall and F-Measure to ROC, Informedness,
    Markedness and Correlation, 2011.
    """
    cells = count_cells(predictions, labels, num_classes=num_classes, where=where)
    return _precision(cells)


def recall(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Recall of each class: `TP / (TP + FN)`, the share of the true that is predicted.

    Also called sensitivity and the true positive rate; torchmetrics' accuracy of a class is this.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where a class is not in the truth.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(recall(predictions, labels, num_classes=3))
        [[0.6666667 1.              nan]]

    Reference: Powers, Evaluation: From Precision, Recall and F-Measure to ROC, Informedness,
    Markedness and Correlation, 2011.
    """
    cells = count_cells(predictions, labels, num_classes=num_classes, where=where)
    return _recall(cells)


def specificity(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Specificity of each class: `TN / (TN + FP)`, the recall of all that is not of it.

    Also called the true negative rate, which is 1 less the false positive rate. Of a small class it
    is near 1 whatever is predicted.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where every pixel is of the class.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(specificity(predictions, labels, num_classes=3))
        [[1.        0.6666667 1.       ]]

    Reference: Powers, Evaluation: From Precision, Recall and F-Measure to ROC, Informedness,
    Markedness and Correlation, 2011.
    """
    cells = count_cells(predictions, labels, num_classes=num_classes, where=where)
    return _specificity(cells)


def f_beta(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    beta: float | int = 1,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """F-beta of each class: `(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)`.

    The harmonic mean of precision and recall, in which recall weighs b^2 times as much: with b = 1
    the Dice coefficient.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        beta: b, at least 0, with which it is the precision; a number and not traced.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where a class is in neither of both.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(f_beta(predictions, labels, num_classes=3, beta=2))
        [[0.71428573 0.8333333         nan]]

    Reference: van Rijsbergen, Information Retrieval, 1979.
    """
    beta = _checked(beta)
    cells = count_cells(predictions, labels, num_classes=num_classes, where=where)
    return _f_beta(cells, beta)


def mcc(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Matthews correlation coefficient (MCC) of each class: the correlation of the two masks.

    `(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))`, each class against the rest,
    as in MONAI. Of two classes both have the same, and scikit-learn and torchmetrics give that; of
    more they give one number for all, R_K by Gorodkin, which is no mean of these.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [-1, 1], to about 3e-7; NaN, as in MONAI, where a class
        has no pixel or every one in truth or prediction. scikit-learn gives 0 there; torchmetrics a
        value of its own, such as 0.58 where nothing is predicted and one pixel of four was to be.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(mcc(predictions, labels, num_classes=3))
        [[0.57735026 0.57735026        nan]]

    Reference: Matthews, Comparison of the Predicted and Observed Secondary Structure of T4 Phage
    Lysozyme, 1975.
    """
    cells = count_cells(predictions, labels, num_classes=num_classes, where=where)
    return _mcc(cells)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Precision(CountStream):
    """Precision over a stream of cases; the mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = Precision.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        1.0
    """

    count = staticmethod(count_cells)

    name: str = static("precision")

    def score(self, counts: Cells) -> Array:
        """TP / (TP + FP)."""
        return _precision(counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Recall(CountStream):
    """Recall over a stream of cases; the mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = Recall.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.5
    """

    count = staticmethod(count_cells)

    name: str = static("recall")

    def score(self, counts: Cells) -> Array:
        """TP / (TP + FN)."""
        return _recall(counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Specificity(CountStream):
    """Specificity over a stream of cases; the mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = Specificity.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        1.0
    """

    count = staticmethod(count_cells)

    name: str = static("specificity")

    def score(self, counts: Cells) -> Array:
        """TN / (TN + FP)."""
        return _specificity(counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FBeta(CountStream):
    """F-beta over a stream of cases; the mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = FBeta.empty(cases=1, num_classes=2, beta=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.5555556
    """

    count = staticmethod(count_cells)

    beta: float = static(1.0)
    name: str = static("f_beta")

    @classmethod
    def empty(
        cls,
        *,
        cases: int,
        num_classes: int,
        spacing: Sequence[float | int] | None = None,
        beta: float | int = 1,
    ) -> "FBeta":
        """A state that has seen nothing.

        Args:
            cases: how many there is room for.
            num_classes: number of classes, background included.
            spacing: size of a pixel, which every stream takes; counts have no use for it.
            beta: how much more recall weighs than precision; see `f_beta`.

        Raises:
            ValueError: for a beta below 0 or infinite.
        """
        return cls._begin(cases, num_classes, beta=_checked(beta))

    def score(self, counts: Cells) -> Array:
        """(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)."""
        return _f_beta(counts, self.beta)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mcc(CountStream):
    """Matthews correlation over a stream of cases, in [-1, 1]; the mean leaves out class 0.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = Mcc.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.57735026
    """

    count = staticmethod(count_cells)

    name: str = static("mcc")

    def score(self, counts: Cells) -> Array:
        """(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))."""
        return _mcc(counts)
