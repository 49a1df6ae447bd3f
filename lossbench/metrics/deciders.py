"""Deciders: a threshold for all images, with how and on what it was found, or one for each image.

A threshold that is fitted names the split that its scores come from. What is measured on that split
is too good, the more so if its labels were used; report another one.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from lossbench.metrics import thresholds
from lossbench.metrics._cases import static


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from: `scores >= value` is anomalous.

    Attributes:
        value: one number; NaN, which flags nothing, where there was none to be found.
        anomalous: how many anomalous scores it was found with; exact to 2^24.
        normal: how many normal ones.
        how: "fpr", "nu", "gaussian", "f1" or "fixed".
        split: the name of the data that the scores come from; empty for a fixed one.

    Example:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([[0.0, 1.0, 2.0, 3.0]]), jnp.array([[0, 0, 1, 1]], bool)
        >>> threshold = fit_f1(scores, labels, split="validation")
        >>> print(threshold.value, threshold.how, threshold.split)
        1.5 f1 validation
        >>> print(threshold.decide(jnp.array([[1.4, 1.6]])))
        [[False  True]]
    """

    # Not annotated as arrays: JAX builds trees of other leaves (NumPy, `vmap`) with them.
    value: Any
    anomalous: Any
    normal: Any
    how: str = dataclasses.field(metadata={"static": True})
    split: str = dataclasses.field(metadata={"static": True})
    # Another for each class, which JAX does not compare.
    name: str = static("threshold")

    @classmethod
    def fixed(cls, value: float | int | Float[Array, ""]) -> "Threshold":
        """A threshold that was not fitted."""
        nothing = jnp.zeros((), jnp.float32)
        return cls(jnp.asarray(value, jnp.float32), nothing, nothing, how="fixed", split="")

    def decide(
        self,
        scores: Float[Array, " batch *space"],
        *,
        where: Bool[Array, " batch *space"] | None = None,
    ) -> Bool[Array, " batch *space"]:
        """Which scores are anomalous.

        Args:
            scores: higher is more anomalous.
            where: true = counted; what is not is not flagged.
        """
        return _shown(thresholds.decide(scores, self.value), where)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ImageQuantile:
    """A threshold for every image of its own, of which nothing is fitted.

    Attributes:
        quantile: at most `1 - quantile` of the scores of an image are anomalous, and without ties
            so many are, of normal images too: see `quantile_threshold`.

    Example:
        >>> import jax.numpy as jnp
        >>> print(ImageQuantile(0.75).decide(jnp.array([[5.0, 1.0, 2.0, 9.0]])))
        [[False False False  True]]
    """

    quantile: float = dataclasses.field(metadata={"static": True})
    # Another for each class, which JAX does not compare.
    name: str = static("image_quantile")

    def decide(
        self,
        scores: Float[Array, " batch *space"],
        *,
        where: Bool[Array, " batch *space"] | None = None,
    ) -> Bool[Array, " batch *space"]:
        """Which scores are anomalous.

        Args:
            scores: higher is more anomalous.
            where: true = counted; what is not is not flagged.
        """
        found = thresholds.quantile_threshold(scores, quantile=self.quantile, where=where)
        return _shown(thresholds.decide(scores, found.values), where)


def fit_fpr(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    fpr: float | int | Float[Array, ""],
    split: str,
    where: Bool[Array, " batch *space"] | None = None,
) -> Threshold:
    """The lowest threshold with a false positive rate of at most `fpr`, over all images.

    `FP / N <= fpr`; see `fpr_threshold`. Of n normal scores none can show a rate below 1 / n: with
    less than that it lies just above the highest of them.

    Args:
        scores: higher is more anomalous.
        labels: true = anomalous; anomalous scores change nothing.
        fpr: 0 to 1; may be traced.
        split: the name of the data that they come from.
        where: true = counted.

    Returns:
        The threshold. Inside `jit` it is NaN where there is none: without a normal score, with a
        NaN of one that counts, or where infinity must not be flagged.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; outside of `jit` also where there
            is no threshold.

    Example:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([[1.0, 2.0, 3.0, 4.0]]), jnp.array([[0, 0, 0, 1]], bool)
        >>> print(fit_fpr(scores, labels, fpr=0, split="validation").value)
        3.0000002

    Reference: as of `fpr_threshold`.
    """
    row, true, counted = _one_example(scores, labels, where)
    found = thresholds.fpr_threshold(row, true, fpr=fpr, where=counted)
    return _fitted("fpr", split, found, labels, where)


def fit_nu(
    scores: Float[Array, " batch *space"],
    *,
    nu: float | int | Float[Array, ""],
    split: str,
    where: Bool[Array, " batch *space"] | None = None,
) -> Threshold:
    """The lowest threshold that flags at most a share `nu` of the training scores.

    See `nu_threshold`. It needs no labels.

    Args:
        scores: of data that is normal but for a few; higher is more anomalous.
        nu: 0 to 1; may be traced.
        split: the name of the data that they come from.
        where: true = counted.

    Returns:
        The threshold. Inside `jit` it is NaN where there is none: without a score, with a NaN that
        counts, or where infinity must not be flagged.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; outside of `jit` also where there
            is no threshold.

    Example:
        >>> import jax.numpy as jnp
        >>> print(fit_nu(jnp.array([[1.0, 2.0, 3.0, 40.0]]), nu=0.25, split="train").value)
        3.0000002

    Reference: as of `nu_threshold`.
    """
    row, _, counted = _one_example(scores, None, where)
    found = thresholds.nu_threshold(row, nu=nu, where=counted)
    return _fitted("nu", split, found, jnp.zeros(scores.shape, bool), where)


def fit_gaussian(
    scores: Float[Array, " batch *space"],
    *,
    fpr: float | int | Float[Array, ""],
    split: str,
    where: Bool[Array, " batch *space"] | None = None,
) -> Threshold:
    """The threshold that a share `fpr` of normal scores would be above if they were Gaussian.

    Just above `mean + z std`; see `gaussian_threshold`.

    Args:
        scores: normal ones; higher is more anomalous.
        fpr: above 0 and below 1; may be traced.
        split: the name of the data that they come from.
        where: true = counted.

    Returns:
        The threshold. Inside `jit` it is NaN where there is none: with fewer than two scores, or
        with one that counts and is NaN or infinite.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; outside of `jit` also where there
            is no threshold.

    Example:
        >>> import jax.numpy as jnp
        >>> print(fit_gaussian(jnp.array([[-1.0, 0.0, 1.0]]), fpr=0.025, split="train").value)
        1.95996...

    Reference: as of `gaussian_threshold`.
    """
    row, _, counted = _one_example(scores, None, where)
    found = thresholds.gaussian_threshold(row, fpr=fpr, where=counted)
    return _fitted("gaussian", split, found, jnp.zeros(scores.shape, bool), where)


def fit_f1(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    split: str,
    where: Bool[Array, " batch *space"] | None = None,
) -> Threshold:
    """The threshold with the largest F1 over all images, in the middle of its plateau.

    See `f1_threshold`.

    Args:
        scores: higher is more anomalous.
        labels: true = anomalous.
        split: the name of the data that they come from.
        where: true = counted.

    Returns:
        The threshold. Inside `jit` it is NaN where there is none: without an anomalous or without a
        normal score, or with a NaN that counts.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; outside of `jit` also where there
            is no threshold.

    Example:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([[0.0, 1.0, 2.0, 3.0]]), jnp.array([[0, 0, 1, 1]], bool)
        >>> print(fit_f1(scores, labels, split="validation").value)
        1.5

    Reference: as of `f1_threshold`.
    """
    row, true, counted = _one_example(scores, labels, where)
    found = thresholds.f1_threshold(row, true, where=counted)
    return _fitted("f1", split, found, labels, where)


def fitted(
    how: str,
    split: str,
    value: Float[Array, ""],
    normal: Float[Array, ""],
    anomalous: Float[Array, ""],
) -> Threshold:
    """The threshold with what it was found with; raises outside of `jit` if it is NaN."""
    if not split:
        raise ValueError("split: expected the name of the data that the scores come from, got ''")
    # One number, read once: a run that goes on with a threshold that flags nothing costs more.
    if not isinstance(value, Tracer) and jnp.isnan(value):
        raise ValueError(
            f"scores: expected what a threshold by {how!r} needs, see there, and no NaN; got "
            f"{int(normal)} normal and {int(anomalous)} anomalous scores in the split {split!r}"
        )
    return Threshold(value, anomalous, normal, how=how, split=split)


def _shown(decisions: Array, where: Array | None) -> Array:
    return decisions if where is None else decisions & where


def _one_example(*maps: Any) -> list[Any]:
    """All examples as one."""
    return [None if x is None else x.reshape(1, -1) for x in maps]


def _fitted(
    how: str, split: str, found: thresholds.Thresholds, labels: Array, where: Array | None
) -> Threshold:
    counted = jnp.ones(labels.shape, bool) if where is None else where
    normal, anomalous = (
        jnp.sum(x & counted, dtype=jnp.int32).astype(jnp.float32) for x in (~labels, labels)
    )
    return fitted(how, split, found.values[0], normal, anomalous)
