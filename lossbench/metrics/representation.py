"""Components that data are projected on: what they hold of the data, and what they share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks
from lossbench.ops.sums import sum_pixels

# The sine of the angle to those before, below which float32 cannot tell a component's own part.
INDEPENDENT = 1e-5


class VarianceShares(NamedTuple):
    """Shares of the total variance of the data.

    Attributes:
        per_component: the share along each component by itself.
        cumulative: the share in the space of the first one, the first two, and so on; never falls.
        total: the share in the space of all.
        undefined: 1 if there is none, which is NaN, else 0.
    """

    per_component: Float[Array, " components"]
    cumulative: Float[Array, " components"]
    total: Float[Array, ""]
    undefined: Int[Array, ""]


class Orthogonality(NamedTuple):
    """Absolute cosines between different components: 0 is orthogonal, 1 the same direction.

    Attributes:
        mean: over all pairs.
        largest: that of the worst pair.
        undefined: 1 if there is no value, which is NaN, else 0.
    """

    mean: Float[Array, ""]
    largest: Float[Array, ""]
    undefined: Int[Array, ""]


def explained_variance(
    embeddings: Float[Array, "batch *space features"],
    components: Float[Array, "components features"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
) -> VarianceShares:
    """Explained variance: the share of the data's total variance that lies along components.

    `var(x . w_k / |w_k|) / sum_j var(x_j)`, the variances over all pixels of the batch: over the
    total variance of the data, not over that of the components that were kept, of which the shares
    are 1 whatever was left out. The length of a component does not matter.

    The shares of a PCA add up: they are scikit-learn's `explained_variance_ratio_`, and
    `cumulative` is their running sum. Components that are not orthogonal share variance, which
    counts once in `cumulative` and `total`: they are of the space that components span, in which
    one that lies in the space of those before adds nothing.

    Args:
        embeddings: the data, such as spectra, before they are projected; their mean is taken off.
        components: one a row, in the order in which they are to be added.
        where: true = counted.

    Returns:
        Shares, in [0, 1]; and whether they are undefined, which is NaN: if the data have no
        variance, as a single pixel, or something is NaN or infinite. The share of a component that
        is 0 is 0.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> spectra = jnp.array([[[3.0, 0, 0], [-3, 0, 0], [0, 1, 1], [0, -1, -1]]])
        >>> found = explained_variance(spectra, jnp.array([[2.0, 0, 0], [1, 1, 0]]))
        >>> for share in (*found.per_component, *found.cumulative):  # 9, 5, 9 and 10 of 11
        ...     print(f"{share:.3f}", end=" ")
        0.818 0.455 0.818 0.909

    Reference: Jolliffe, Principal Component Analysis, 2nd edition, 2002, section 6.1.
    """
    _checks.floating(embeddings=embeddings, components=components)
    if embeddings.ndim < 2 or embeddings.size == 0:
        raise ValueError(
            "embeddings: expected shape (batch, *space, features), not empty, got "
            f"{embeddings.shape}"
        )
    features = embeddings.shape[-1]
    _check_components(components)
    if components.shape[1] != features:
        raise ValueError(
            f"components: expected shape (components, {features}), the features of embeddings, "
            f"got {components.shape}"
        )
    _checks.where(where, embeddings.shape[:-1], "batch, *space")
    return _explained_variance(embeddings, components, where)


def component_orthogonality(components: Float[Array, "components features"]) -> Orthogonality:
    """Orthogonality of components: the absolute cosines of the angles between different ones.

    `|w_i . w_j| / (|w_i| |w_j|)` over all pairs i < j: their mean and the largest. What a component
    has to do with itself is no part of it, nor are lengths: how far these are from 1 is another
    question.

    Args:
        components: one a row.

    Returns:
        Both, in [0, 1]; and whether they are undefined, which is NaN: of a single component, and if
        one is 0 or has a NaN or an infinity.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> found = component_orthogonality(jnp.array([[2.0, 0, 0], [0, 1, 0], [3, 4, 0]]))
        >>> print(f"{found.mean:.4f} {found.largest:.4f}")  # 0, 0.6 and 0.8
        0.4667 0.8000

    Reference: Bansal et al., Can We Gain More from Orthogonality Regularizations in Training Deep
    Networks?, NeurIPS 2018 (mutual coherence).
    """
    _checks.floating(components=components)
    _check_components(components)
    return _component_orthogonality(components)


def _check_components(components: Array) -> None:
    if components.ndim != 2 or components.size == 0:
        raise ValueError(
            f"components: expected shape (components, features), not empty, got {components.shape}"
        )


def _dot(a: Float[Array, "n features"], b: Float[Array, "m features"]) -> Float[Array, "n m"]:
    """All products of rows; accelerators would round the factors to fewer digits by default."""
    return jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)


def _moderate(x: Float[Array, "..."], largest: Float[Array, "..."]) -> Float[Array, "..."]:
    """Nearly relative to the largest: no square, and no reciprocal of it, overflows or vanishes."""
    return x / jnp.clip(largest, 1e-30, 1e30)


def _normalized(x: Float[Array, "... features"]) -> Float[Array, "... features"]:
    """Rows of length 1, or 0."""
    x = _moderate(x, jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    length = jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))
    return x / jnp.where(length > 0, length, 1)


def _orthonormal(components: Float[Array, "k features"]) -> Float[Array, "k features"]:
    """Each row without what lies in the space of the rows before; 0 if that is all (Gram-Schmidt).

    Twice, since what is left of a row that is nearly in that space is not yet orthogonal to it.
    """

    def add(basis: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
        row, place = given
        for _ in range(2):
            row = row - _dot(_dot(row[None], basis), basis.T)[0]
            length = jnp.sqrt(jnp.sum(row * row))
            row = jnp.where(length > INDEPENDENT, row / jnp.maximum(length, INDEPENDENT), 0)
        return basis.at[place].set(row), None

    rows = _normalized(components)
    return lax.scan(add, jnp.zeros_like(rows), (rows, jnp.arange(len(rows))))[0]


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _explained_variance(embeddings, components, where) -> VarianceShares:
    x = embeddings.astype(_checks.compute_dtype(embeddings)).reshape(-1, embeddings.shape[-1])
    counted = jnp.ones((len(x), 1), bool) if where is None else where.reshape(-1, 1)
    # Not by the bytes of a bool, of which NumPy has some of 255.
    number = jnp.sum(jnp.where(counted, 1, 0), dtype=jnp.int32)
    pixels = jnp.maximum(number, 1).astype(jnp.float32)
    w = _normalized(components.astype(jnp.float32))
    most, least = (
        pick(jnp.where(counted, x, end), axis=0)
        for pick, end in ((jnp.max, -jnp.inf), (jnp.min, jnp.inf))
    )
    finite = jnp.all(jnp.isfinite(most) & jnp.isfinite(least))
    # Differences of near numbers are exact, those to a mean that is rounded are not. Halves, since
    # those of the largest floats are not finite otherwise.
    x = jnp.where(counted, x / 2 - least[None] / 2, 0).astype(jnp.float32)
    x = _moderate(x, jnp.max(x))
    mean = sum_pixels(x.T) / pixels
    x = jnp.where(counted, x - mean[None], 0)
    squares = lambda rows: sum_pixels(jnp.square(_dot(rows, x)))  # noqa: E731
    every = jnp.sum(sum_pixels(jnp.square(x).T))
    undefined = (every == 0) | ~finite | ~jnp.all(jnp.isfinite(components))
    share = lambda rows: jnp.where(undefined, jnp.nan, squares(rows) / every)  # noqa: E731
    cumulative = jnp.minimum(jnp.cumsum(share(_orthonormal(w))), 1)
    return VarianceShares(
        jnp.minimum(share(w), 1), cumulative, cumulative[-1], undefined.astype(jnp.int32)
    )


@jax.jit
def _component_orthogonality(components) -> Orthogonality:
    w = components.astype(jnp.float32)
    number = len(w)
    # Rounding may take the cosine of the same direction beyond 1.
    cosines = jnp.minimum(jnp.abs(_dot(_normalized(w), _normalized(w))), 1)
    pairs = jnp.triu(jnp.ones((number, number), bool), k=1)
    mean = jnp.sum(jnp.where(pairs, cosines, 0)) / max(number * (number - 1) // 2, 1)
    largest = jnp.max(jnp.where(pairs, cosines, 0))
    known = jnp.all(jnp.isfinite(w)) & jnp.all(jnp.any(w != 0, axis=1)) & (number > 1)
    nan = lambda x: jnp.where(known, x, jnp.nan)  # noqa: E731
    return Orthogonality(nan(mean), nan(largest), (~known).astype(jnp.int32))
