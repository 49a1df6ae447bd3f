"""Calibration: whether what is said with a probability of 0.8 is so in 8 cases of 10.

Probabilities go into bins, and within each bin their mean is compared with how often they came
true. They are taken as they are: logits, which are no probabilities, come to NaN and are not
squashed. One value an example; for one value of all pixels of a batch make it one example, and of
all pixels of a stream take the states of `calibration_stream`.

No sum is rounded: counts are integers, and probabilities are added up as multiples of 2^-24.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench.metrics import _reliability, _sums
from lossbench.metrics._confidence import check, each_class, read, top_label
from lossbench.metrics._examples import PerExample, values_of


class Reliability(NamedTuple):
    """The points of reliability diagrams, one diagram an example; of a stream there is one alone.

    Attributes:
        confidence: mean probability of what is in the bin; NaN if that is nothing.
        accuracy: the share of it that is so; likewise.
        number: how many are in it, exact below 2^31.
        undefined: number of diagrams without a point, in which nothing is counted, or something
            that is no probability.
    """

    confidence: Float[Array, "*batch bins"]
    accuracy: Float[Array, "*batch bins"]
    number: Int[Array, "*batch bins"]
    undefined: Int[Array, ""]


class ClassErrors(NamedTuple):
    """A calibration error of each class.

    Attributes:
        values: one an example and class; of a stream one a class.
        mean: mean over all; NaN with a NaN.
        undefined: number of examples, or streams, in which nothing is counted, or something that is
            no probability: all their values are NaN.
    """

    values: Float[Array, "*batch classes"]
    mean: Float[Array, ""]
    undefined: Int[Array, ""]


def reliability_diagram(
    probabilities: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    bins: int = 15,
    where: Bool[Array, " batch *space"] | None = None,
) -> Reliability:
    """Reliability diagram: in each bin of confidence, the mean confidence and the share that is so.

    `conf_b = mean of max_c p_c` and `acc_b = share with argmax_c p_c = label` over the pixels whose
    confidence is in bin b, `[b / bins, (b + 1) / bins)`; the last one has 1, too. Of a single class
    see `expected_calibration_error`; of one of several, `probabilities[..., c : c + 1]` with
    `labels == c`.

    Args:
        probabilities: after the softmax or sigmoid; never logits.
        labels: class ids, or a mask (bool) for one or two classes. A pixel whose label is no class
            is not counted.
        bins: how many.
        where: true = counted.

    Returns:
        A point for each bin, one row an example; NaN where a bin is empty. And the number of
        examples without a point: those in which nothing is counted, and those with a probability
        that counts and is NaN or, by more than rounding, outside of 0 to 1.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[0.1, 0.2, 0.9, 0.7, 0.6]])[..., None]  # one class
        >>> found = reliability_diagram(p, jnp.array([[0, 0, 1, 1, 0]], bool), bins=2)
        >>> print(found.confidence, found.accuracy, found.number)
        [[0.15       0.73333335]] [[0.        0.6666667]] [[2 3]]

    Reference: DeGroot and Fienberg, The Comparison and Evaluation of Forecasters, The Statistician
    1983; Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    _reliability.check_bins(bins)
    check(probabilities, labels, where)
    return _diagram(probabilities, labels, where, bins)


def expected_calibration_error(
    probabilities: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    bins: int = 15,
    norm: str = "l1",
    where: Bool[Array, " batch *space"] | None = None,
) -> PerExample:
    """Expected calibration error (ECE) of the top label: how far confidence is from accuracy.

    `sum_b n_b / n |acc_b - conf_b|` over bins of equal width of the reliability diagram. What is
    looked at is the most probable class of each pixel, and whether it is right.

    Of a single class it is the probability of this class, from 0 to 1, and whether it is there, as
    in scikit-learn's `calibration_curve` and torchmetrics' `binary_calibration_error`. Its top
    label, of which no confidence is below a half, is that of the two classes `[1 - p, p]`.

    Args:
        probabilities: after the softmax or sigmoid; never logits.
        labels: class ids, or a mask (bool) for one or two classes. A pixel whose label is no class
            is not counted.
        bins: how many; a confidence on an edge is in the bin above, and 1 in the last one.
        norm: "l1", "l2" (`sqrt(sum_b n_b / n (acc_b - conf_b)^2)`), "max" (the largest gap, MCE) or
            "mean" (the mean gap of the bins that are not empty, as MONAI's "average").
        where: true = counted.

    Returns:
        In [0, 1], one value an example; their mean; and how many are undefined, which are NaN:
        those in which nothing is counted, and those with a probability that counts and is NaN or,
        by more than rounding, outside of 0 to 1.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]]])
        >>> found = expected_calibration_error(p, jnp.array([[0, 0, 0, 0]]), bins=2)
        >>> print(found.values)  # 3 of 4 are right, with a mean confidence of 0.75
        [0.]
        >>> print(expected_calibration_error(p, jnp.array([[0, 0, 0, 0]])).values)
        [0.3]

    Reference: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI
    2015; Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    _reliability.check_bins(bins)
    _reliability.check_norm(norm)
    check(probabilities, labels, where)
    return _expected(probabilities, labels, where, bins, norm)


def classwise_calibration_error(
    probabilities: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    bins: int = 15,
    norm: str = "l1",
    where: Bool[Array, " batch *space"] | None = None,
) -> ClassErrors:
    """Calibration error of each class by itself: how far its probability is from its frequency.

    `sum_b n_b / n |freq_b - conf_b|` over bins of equal width, in which every pixel is counted by
    the probability of the class, whichever is the most probable. Where a class is rare nearly all
    pixels are in the first bin, so its error is small if only they are: compare classes with care,
    and see `norm="mean"`.

    Args:
        probabilities: after the softmax or sigmoid; never logits.
        labels: class ids, a mask (bool) for one or two classes, or one mask a class (bool), which
            need not exclude each other. A pixel whose label is no class is not counted.
        bins: how many; a probability on an edge is in the bin above, and 1 in the last one.
        norm: "l1", "l2", "max" or "mean": see `expected_calibration_error`.
        where: true = counted.

    Returns:
        In [0, 1], one value an example and class; their mean; and how many examples are undefined,
        which are NaN: those in which nothing is counted, and those with a probability that counts
        and is NaN or, by more than rounding, outside of 0 to 1.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]]])
        >>> print(classwise_calibration_error(p, jnp.array([[0, 0, 0, 1]]), bins=2).values)
        [[0.25 0.25]]

    Reference: Kull et al., Beyond Temperature Scaling: Obtaining Well-Calibrated Multi-Class
    Probabilities with Dirichlet Calibration, NeurIPS 2019.
    """
    _reliability.check_bins(bins)
    _reliability.check_norm(norm)
    check(probabilities, labels, where, masks=True)
    return _classwise(probabilities, labels, where, bins, norm)


def adaptive_calibration_error(
    probabilities: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    bins: int = 15,
    norm: str = "l1",
    where: Bool[Array, " batch *space"] | None = None,
) -> PerExample:
    """Calibration error of the top label over adaptive bins, which hold equally many pixels.

    `sum_b n_b / n |acc_b - conf_b|`, where bin b begins with the confidence of rank
    `floor(b n / bins)`, counted from 0 and the lowest. So bins are narrow where confidences are
    many, which in a segmentation is close to 1, where bins of equal width see nothing. Equal
    confidences are never parted, so bins differ by more than one pixel where there are ties.

    Args:
        probabilities: after the softmax or sigmoid; never logits.
        labels: class ids, or a mask (bool) for one or two classes. A pixel whose label is no class
            is not counted. Of a single class see `expected_calibration_error`.
        bins: how many, at most.
        norm: "l1", "l2", "max" or "mean": see `expected_calibration_error`.
        where: true = counted.

    Returns:
        In [0, 1], one value an example; their mean; and how many are undefined, which are NaN:
        those in which nothing is counted, and those with a probability that counts and is NaN or,
        by more than rounding, outside of 0 to 1.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[0.96, 0.97, 0.98, 0.99]])[..., None]
        >>> labels = jnp.array([[0, 1, 1, 1]], bool)
        >>> equal_width = expected_calibration_error(p, labels).values
        >>> adaptive = adaptive_calibration_error(p, labels, bins=2).values
        >>> print(f"{equal_width[0]:.3f} {adaptive[0]:.3f}")
        0.225 0.240

    Reference: Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis for Natural
    Language Processing Models, EMNLP 2015; Nixon et al., Measuring Calibration in Deep Learning,
    CVPR Workshops 2019.
    """
    _reliability.check_bins(bins)
    _reliability.check_norm(norm)
    check(probabilities, labels, where)
    return _adaptive(probabilities, labels, where, bins, norm)


def diagrams_of(x: _reliability.Bins, invalid: Bool[Array, " rows"]) -> Reliability:
    """The points of each row of bins; none in one that is invalid."""
    found, accuracy, confidence, _ = _reliability.gaps_of(x)
    number = _sums.as_counts(found)
    undefined = invalid | ~jnp.any(number > 0, axis=1)
    nan = lambda y: jnp.where(invalid[:, None], jnp.nan, y)  # noqa: E731
    return Reliability(nan(confidence), nan(accuracy), number, jnp.sum(undefined, dtype=jnp.int32))


def class_errors(
    values: Float[Array, "*batch classes"], invalid: Bool[Array, " *batch"]
) -> ClassErrors:
    """NaN, and counted, where an example has no values."""
    undefined = invalid | jnp.isnan(values[..., 0])
    values = jnp.where(undefined[..., None], jnp.nan, values)
    return ClassErrors(values, jnp.mean(values), jnp.sum(undefined, dtype=jnp.int32))


# Compiled once also where they are called outside of a `jit`.
@functools.partial(jax.jit, static_argnums=3)
def _diagram(probabilities, labels, where, bins) -> Reliability:
    judged = top_label(read(probabilities, labels, where))
    return diagrams_of(_reliability.equal_width(judged, bins), judged.invalid)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _expected(probabilities, labels, where, bins, norm) -> PerExample:
    x = read(probabilities, labels, where)
    values = _reliability.error_of(_reliability.equal_width(top_label(x), bins), norm)
    return values_of(values, x.invalid | jnp.isnan(values))


@functools.partial(jax.jit, static_argnums=(3, 4))
def _classwise(probabilities, labels, where, bins, norm) -> ClassErrors:
    x = read(probabilities, labels, where)
    values = _reliability.error_of(_reliability.equal_width(each_class(x), bins), norm)
    return class_errors(values.reshape(-1, x.classes), x.invalid)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _adaptive(probabilities, labels, where, bins, norm) -> PerExample:
    x = read(probabilities, labels, where)
    values = _reliability.error_of(_reliability.equal_mass(top_label(x), bins), norm)
    return values_of(values, x.invalid | jnp.isnan(values))
