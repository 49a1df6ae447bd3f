"""How alike two spectra are, on places that they share: fragment ions, m/z bins, bands of light.

One value an example, of a predicted and an observed spectrum, each in a unit of its own: how bright
it is changes nothing. Places at which there can be no peak, such as the ions that a short peptide
does not have, are left out by `where`; in data that mark them by -1, as those for Prosit do, it is
`observed >= 0`. The pixels of an image of spectra are examples: `cube.reshape(-1, bands)`.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float

from lossbench.metrics import _spectra
from lossbench.metrics._examples import PerExample, values_of
from lossbench.ops.sums import sum_pixels


def spectral_cosine(
    predicted: Float[Array, "batch peaks"],
    observed: Float[Array, "batch peaks"],
    *,
    where: Bool[Array, "batch peaks"] | None = None,
) -> PerExample:
    """Cosine of two spectra: `<p, o> / (|p| |o|)`.

    Also called the dot product of two spectra. The largest peaks decide it; those of square roots,
    `spectral_cosine(sqrt(p), sqrt(o))`, less so.

    Args:
        predicted: intensities, in any unit.
        observed: intensities, in any unit.
        where: true = counted.

    Returns:
        In [-1, 1], in [0, 1] if no intensity is negative; their mean; and how many are undefined,
        which are NaN: those with a spectrum that is 0 wherever it counts, or in which something
        that counts is not finite.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predicted, observed = jnp.array([[1.0, 2.0, 2.0]]), jnp.array([[0.0, 40.0, 30.0]])
        >>> print(round(float(spectral_cosine(predicted, observed).mean), 4))  # 140 / (3 * 50)
        0.9333

    Reference: Stein and Scott, Optimization and Testing of Mass Spectral Library Search Algorithms
    for Compound Identification, Journal of the American Society for Mass Spectrometry 1994.
    """
    _spectra.check(predicted, observed, where)
    return _cosine(predicted, observed, where)


def spectral_angle(
    predicted: Float[Array, "batch peaks"],
    observed: Float[Array, "batch peaks"],
    *,
    where: Bool[Array, "batch peaks"] | None = None,
) -> PerExample:
    """Angle between two spectra, in radians; lower is better: `arccos(<p, o> / (|p| |o|))`.

    The spectral angle mapper of hyperspectral images, which does not see how bright a pixel is. It
    is computed as `2 arctan(|u - v| / |u + v|)` of the spectra u and v of length 1, which is the
    same and, where both are alike, still has its digits: the arccos of a float32 has no angle
    between 0 and 3.4e-4, and none but NaN for a cosine that was rounded to above 1.

    Args:
        predicted: intensities or reflectances, in any unit.
        observed: likewise.
        where: true = counted.

    Returns:
        In [0, pi], up to pi / 2 if nothing is negative; their mean; and how many are undefined,
        which are NaN: see `spectral_cosine`.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predicted, observed = jnp.array([[1.0, 1.0], [1, 2]]), jnp.array([[0.0, 3.0], [2, 4]])
        >>> for angle in spectral_angle(predicted, observed).values:  # pi / 4, and less light only
        ...     print(round(float(angle), 4))
        0.7854
        0.0

    Reference: Kruse et al., The Spectral Image Processing System (SIPS) - Interactive Visualization
    and Analysis of Imaging Spectrometer Data, Remote Sensing of Environment 1993.
    """
    _spectra.check(predicted, observed, where)
    return _angle(predicted, observed, where)


def normalized_spectral_angle(
    predicted: Float[Array, "batch peaks"],
    observed: Float[Array, "batch peaks"],
    *,
    where: Bool[Array, "batch peaks"] | None = None,
) -> PerExample:
    """Normalized spectral contrast angle: `1 - 2 arccos(<p, o> / (|p| |o|)) / pi`.

    What proteomics calls the spectral angle since Prosit, though higher is better. Its loss is 1
    less this.

    Args:
        predicted: intensities, in any unit.
        observed: intensities, in any unit.
        where: true = counted.

    Returns:
        In [-1, 1], in [0, 1] if no intensity is negative; their mean; and how many are undefined,
        which are NaN: see `spectral_cosine`. dlomix takes a spectrum of zeros for one that is
        unlike any other, 0.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predicted, observed = jnp.array([[0.5, 0.5, 0.9]]), jnp.array([[0.0, 1.0, -1.0]])
        >>> found = normalized_spectral_angle(predicted, observed, where=observed >= 0)
        >>> print(round(float(found.mean), 4))
        0.5

    Reference: Toprak et al., Conserved Peptide Fragmentation as a Benchmarking Tool for Mass
    Spectrometers and a Discriminating Feature for Targeted Proteomics, Molecular and Cellular
    Proteomics 2014; Gessulat et al., Prosit, Nature Methods 2019.
    """
    _spectra.check(predicted, observed, where)
    return _normalized_angle(predicted, observed, where)


def spectral_entropy_similarity(
    predicted: Float[Array, "batch peaks"],
    observed: Float[Array, "batch peaks"],
    *,
    weighted: bool = True,
    where: Bool[Array, "batch peaks"] | None = None,
) -> PerExample:
    """Spectral entropy similarity: `1 - (2 S(p + o) - S(p) - S(o)) / ln 4`.

    S is the entropy of a spectrum as shares of its sum, `-sum_i s_i ln s_i`, and p + o the sum of
    the shares of both. So it is 1 less the Jensen-Shannon divergence in bits. A spectrum of few
    peaks, `S < 3`, has its intensities raised to the power `(1 + S) / 4` before, which gives the
    smaller ones a say.

    Args:
        predicted: intensities, in any unit, none negative.
        observed: likewise.
        weighted: whether spectra of few peaks are so raised; without it, it is the paper's
            unweighted similarity.
        where: true = counted.

    Returns:
        In [0, 1]: 1 for spectra in proportion, 0 for those without a peak in common; their mean;
        and how many are undefined, which are NaN: those with a spectrum that is 0 wherever it
        counts, or in which something that counts is negative or not finite.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predicted, observed = jnp.array([[1.0, 0.0, 1.0]]), jnp.array([[0.0, 1.0, 1.0]])
        >>> found = spectral_entropy_similarity(predicted, observed)  # half of each
        >>> print(round(float(found.mean), 4))
        0.5

    Reference: Li et al., Spectral Entropy Outperforms MS/MS Dot Product Similarity for
    Small-Molecule Compound Identification, Nature Methods 2021.
    """
    _spectra.check(predicted, observed, where)
    return _entropy_similarity(predicted, observed, where, weighted)


def pearson(
    predicted: Float[Array, "batch peaks"],
    observed: Float[Array, "batch peaks"],
    *,
    where: Bool[Array, "batch peaks"] | None = None,
) -> PerExample:
    """Pearson's correlation of two spectra: the cosine of both, each less its mean.

    One for each example, of what is counted there: a mean over spectra of their correlations, where
    one correlation over a whole batch would tell bright spectra from faint ones. What counts
    matters: places at which both are 0 raise it.

    Args:
        predicted: intensities, in any unit and from any zero.
        observed: likewise.
        where: true = counted.

    Returns:
        In [-1, 1]; their mean; and how many are undefined, which are NaN: those with a spectrum
        that is constant wherever it counts, one place included, or in which something that counts
        is not finite.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predicted, observed = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[10.0, 30.0, 20.0]])
        >>> print(round(float(pearson(predicted, observed).mean), 4))
        0.5

    Reference: Pearson, Note on Regression and Inheritance in the Case of Two Parents, Proceedings
    of the Royal Society of London 1895.
    """
    _spectra.check(predicted, observed, where)
    return _pearson(predicted, observed, where)


def matched_peak_share(
    predicted: Float[Array, "batch peaks"],
    observed: Float[Array, "batch peaks"],
    *,
    threshold: float | int | Float[Array, ""] = 0.01,
    where: Bool[Array, "batch peaks"] | None = None,
) -> PerExample:
    """The share of the observed peaks that are predicted, too: `|P & O| / |O|`.

    A peak is an intensity above a share of the largest one of its spectrum. How high it is does not
    matter otherwise. The share of the predicted peaks that are observed is this with the two
    spectra exchanged.

    Args:
        predicted: intensities, in any unit.
        observed: intensities, in any unit.
        threshold: that share, from 0, with which all above 0 are peaks, to below 1; may be traced.
        where: true = counted.

    Returns:
        In [0, 1]; their mean; and how many are undefined, which are NaN: those without an observed
        peak, and those in which something that counts is not finite. Without a predicted peak it
        is 0.

    Raises:
        ValueError: for shapes, dtypes or a threshold that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predicted = jnp.array([[0.9, 0.001, 0.2, 0.3]])
        >>> observed = jnp.array([[50.0, 80.0, 20.0, 0.0]])
        >>> print(matched_peak_share(predicted, observed).values)
        [0.6666667]
        >>> print(matched_peak_share(predicted, observed, threshold=0.3).values)
        [0.5]

    Reference: Stein and Scott, Optimization and Testing of Mass Spectral Library Search Algorithms
    for Compound Identification, Journal of the American Society for Mass Spectrometry 1994.
    """
    _spectra.check(predicted, observed, where)
    check_threshold(threshold)
    return _matched_peaks(predicted, observed, where, jnp.float32(threshold))


def check_threshold(threshold: float | int | Array) -> None:
    """Raises unless a number is a share below 1; one that is traced is not known yet."""
    if isinstance(threshold, float | int) and not 0 <= threshold < 1:
        raise ValueError(f"threshold: expected from 0 to below 1, got {threshold}")


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _cosine(predicted, observed, where) -> PerExample:
    u, v, undefined = _spectra.units(predicted, observed, where, _spectra.scaled)
    return values_of(_spectra.product(u, v), undefined)


@jax.jit
def _angle(predicted, observed, where) -> PerExample:
    u, v, undefined = _spectra.units(predicted, observed, where, _spectra.scaled)
    return values_of(_spectra.angle(u, v), undefined)


@jax.jit
def _normalized_angle(predicted, observed, where) -> PerExample:
    u, v, undefined = _spectra.units(predicted, observed, where, _spectra.scaled)
    return values_of(1 - _spectra.angle(u, v) * (2 / math.pi), undefined)


@jax.jit
def _pearson(predicted, observed, where) -> PerExample:
    u, v, undefined = _spectra.units(predicted, observed, where, _spectra.centered)
    return values_of(_spectra.product(u, v), undefined)


@jax.jit
def _entropy_similarity(predicted, observed, where, weighted) -> PerExample:
    (p, known), (o, seen) = (_spectra.scaled(x, where) for x in (predicted, observed))
    positive = jnp.all((p >= 0) & (o >= 0), axis=1)
    p, o = (_spectra.raised(_spectra.shares(x), weighted) for x in (p, o))
    # 2 S(p + o) - S(p) - S(o) = sum p ln(2 p / (p + o)) + o ln(2 o / (p + o)), a sum of what is at
    # least 0 at every place and 0 where the shares agree: no difference of large numbers.
    mean = (p + o) / 2
    mean = jnp.where(mean > 0, mean, 1)
    apart = sum_pixels(xlogy(p, p / mean) + xlogy(o, o / mean))
    return values_of(jnp.clip(1 - apart / math.log(4), 0, 1), ~(known & seen & positive))


@jax.jit
def _matched_peaks(predicted, observed, where, threshold) -> PerExample:
    predicted, observed = (_spectra.counted_of(x, where) for x in (predicted, observed))
    found, true = (_spectra.peaks(x, threshold) for x in (predicted, observed))
    number = sum_pixels(true)
    share = sum_pixels(found & true) / jnp.where(number > 0, number, 1)
    finite = jnp.all(jnp.isfinite(predicted) & jnp.isfinite(observed), axis=1)
    return values_of(share, ~finite | (number == 0))
