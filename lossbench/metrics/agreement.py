"""How far predictions of all classes agree with the truth: one number an example or case.

Each class against the rest is in `rates`. A pixel whose label is no class is not counted; one whose
prediction is none is wrong.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.metrics._cases import ratio, static
from lossbench.metrics._counted_cases import NumberStream
from lossbench.metrics._counts import Cells, count_labeled_cells

WEIGHTING = {"square": 2, "simple": 1, "uniform": 0}
ABSENT = ("skip", "rarest")


def _accuracy(cells: Cells) -> Array:
    """Sum over classes of TP / (TP + FN), as one ratio."""
    right, wrong = jnp.sum(cells.true_positive, -1), jnp.sum(cells.false_negative, -1)
    return ratio(right, right + wrong)


def _cohen_kappa(cells: Cells) -> Array:
    """1 - N (wrong pixels) / sum of (true pixels of c) (pixels predicted otherwise)."""
    # Where one class has nearly all, (p_o - p_e) / (1 - p_e) loses its digits in both differences.
    tp, _, fn, tn = _floats(cells)
    pixels, wrong = jnp.sum(tp + fn, -1), jnp.sum(fn, -1)
    by_chance = jnp.sum((tp + fn) * (fn + tn), -1)
    return 1 - ratio(pixels * wrong, by_chance)


def _generalized_dice(cells: Cells, weighting: str, absent: str) -> Array:
    """2 sum w TP / sum w (2 TP + FP + FN), w = 1 / (TP + FN)^2."""
    tp, fp, fn, _ = _floats(cells)
    true = tp + fn
    present = true > 0
    # The weights are relative to that of the rarest class, so that none is too small for float32.
    rarest = jnp.min(jnp.where(present, true, jnp.inf), -1, keepdims=True)
    weights = (rarest / jnp.where(present, true, 1)) ** WEIGHTING[weighting]
    weights = jnp.where(present, weights, 1.0 if absent == "rarest" else 0.0)
    return ratio(2 * jnp.sum(weights * tp, -1), jnp.sum(weights * (2 * tp + fp + fn), -1))


def _floats(cells: Cells) -> Cells:
    """As floats: products of counts do not fit into int32."""
    return Cells(*(n.astype(jnp.float32) for n in cells))


def _check(weighting: str, absent: str) -> None:
    _checks.choice("weighting", weighting, tuple(WEIGHTING))
    _checks.choice("absent", absent, ABSENT)


def accuracy(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, " batch"]:
    """Accuracy: the share of the pixels whose class is right, as scikit-learn's.

    In torchmetrics it is `average="micro"`; `MulticlassAccuracy` by default is the mean recall of
    the classes. Where the background is nearly everything, who predicts nothing else is nearly
    right.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise. One that is no class is not counted.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example, in [0, 1]; NaN where nothing is counted.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(accuracy(predictions, labels, num_classes=3))
        [0.75]

    Reference: Powers, Evaluation: From Precision, Recall and F-Measure to ROC, Informedness,
    Markedness and Correlation, 2011.
    """
    cells = count_labeled_cells(predictions, labels, num_classes=num_classes, where=where)
    return _accuracy(cells)


def cohen_kappa(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, " batch"]:
    """Cohen's kappa: agreement beyond chance, `(p_o - p_e) / (1 - p_e)`, unweighted.

    `p_o` is the share of the pixels on which prediction and truth agree, `p_e` that on which they
    would if they were independent: `sum over c of (TP_c + FP_c) (TP_c + FN_c) / N^2`. As in
    scikit-learn and torchmetrics.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise. One that is no class is not counted.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example, in [-1, 1]: 1 where all agree, 0 for chance; NaN where `p_e` is 1,
        that is where truth and prediction have one class and the same, and where nothing is
        counted.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(cohen_kappa(predictions, labels, num_classes=3))
        [0.5]

    Reference: Cohen, A Coefficient of Agreement for Nominal Scales, 1960.
    """
    cells = count_labeled_cells(predictions, labels, num_classes=num_classes, where=where)
    return _cohen_kappa(cells)


def generalized_dice(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    weighting: str = "square",
    absent: str = "skip",
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, " batch"]:
    """Generalized Dice, one ratio for all classes: `2 sum w TP / sum w (2 TP + FP + FN)`.

    With the weights `w = 1 / (TP + FN)^2` a small class counts as much as the background, which is
    a class like any other. `absent="rarest"` is MONAI's `compute_generalized_dice(...,
    sum_over_classes=True)`, which without that returns the plain Dice of each class. torchmetrics
    takes the weight of an absent class from the other examples of the batch.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise. One that is no class is not counted.
        num_classes: number of classes, background included.
        weighting: "square" is `w = 1 / (TP + FN)^2`, "simple" `1 / (TP + FN)`, "uniform" 1.
        absent: the weight of a class that is not in the truth: "skip" is 0, so that what is
            predicted of it costs only as what other classes miss; "rarest" that of the rarest class
            that is there.
        where: true = counted.

    Returns:
        One value an example, in [0, 1]; NaN where nothing is counted.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(generalized_dice(predictions, labels, num_classes=3))
        [0.6875]

    Reference: Sudre et al., Generalised Dice Overlap as a Deep Learning Loss Function for Highly
    Unbalanced Segmentations, DLMIA 2017.
    """
    _check(weighting, absent)
    cells = count_labeled_cells(predictions, labels, num_classes=num_classes, where=where)
    return _generalized_dice(cells, weighting, absent)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Accuracy(NumberStream):
    """Accuracy over a stream of cases; the mean is that over cases.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = Accuracy.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.75
    """

    count = staticmethod(count_labeled_cells)

    name: str = static("accuracy")

    def score(self, counts: Cells) -> Array:
        """The share that is right."""
        return _accuracy(counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CohenKappa(NumberStream):
    """Cohen's kappa over a stream of cases, in [-1, 1]; the mean is that over cases.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = CohenKappa.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.5
    """

    count = staticmethod(count_labeled_cells)

    name: str = static("cohen_kappa")

    def score(self, counts: Cells) -> Array:
        """1 - N (wrong pixels) / sum of (true pixels of c) (pixels predicted otherwise)."""
        return _cohen_kappa(counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GeneralizedDice(NumberStream):
    """Generalized Dice over a stream of cases; the mean is that over cases.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 0]])
        >>> state = GeneralizedDice.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 0, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.75
    """

    count = staticmethod(count_labeled_cells)

    weighting: str = static("square")
    absent: str = static("skip")
    name: str = static("generalized_dice")

    @classmethod
    def empty(
        cls,
        *,
        cases: int,
        num_classes: int,
        spacing: Sequence[float | int] | None = None,
        weighting: str = "square",
        absent: str = "skip",
    ) -> "GeneralizedDice":
        """A state that has seen nothing.

        Args:
            cases: how many there is room for.
            num_classes: number of classes, background included.
            spacing: size of a pixel, which every stream takes; counts have no use for it.
            weighting: "square", "simple" or "uniform"; see `generalized_dice`.
            absent: "skip" or "rarest".

        Raises:
            ValueError: for another weighting or weight of an absent class.
        """
        _check(weighting, absent)
        return cls._begin(cases, num_classes, weighting=weighting, absent=absent)

    def score(self, counts: Cells) -> Array:
        """2 sum w TP / sum w (2 TP + FP + FN)."""
        return _generalized_dice(counts, self.weighting, self.absent)
