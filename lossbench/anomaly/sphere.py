"""The sphere of Deep SVDD: its center, its radius, and the distances that the radius is made of."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int


def svdd_center(
    mean: Float[Array, " features"], *, eps: float | Float[Array, ""] = 0.1
) -> Float[Array, " features"]:
    r"""The center of the sphere: the mean embedding, its components pushed away from 0.

    .. math::
        c_i = m_i \text{ if } |m_i| \ge \epsilon, \text{ else } -\epsilon \text{ if } m_i < 0,
        \text{ else } \epsilon

    A component at 0 could be met by weights of 0, whatever the input. One that is exactly 0, as of
    a unit that is never active, is pushed too, upwards.

    Args:
        mean: of the embeddings of the untrained network over the training data.
        eps: how far from 0 a component must be, in the unit of the embeddings.

    Example:
        >>> import jax.numpy as jnp
        >>> print(svdd_center(jnp.array([-0.03, 0.0, 0.04, 2.0])))
        [-0.1  0.1  0.1  2. ]

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018, section 3.3, and the authors'
    code, which leaves exact zeros where they are.
    """
    return jnp.where(jnp.abs(mean) < eps, jnp.where(mean < 0, -eps, eps), mean)


def svdd_radius(
    distances: Float[Array, " *shape"],
    *,
    nu: float | Float[Array, ""],
    where: Bool[Array, " *shape"] | None = None,
) -> Float[Array, ""]:
    r"""The radius outside of which at most a share nu of the distances lies.

    .. math:: R^2 = d_{(k)}, \quad k = \max(n - \lfloor \nu n \rfloor, 1)

    with the n distances in rising order. So the share with d > R^2 is at most nu, and that with
    d >= R^2 at least nu: the nu-property.

    Args:
        distances: squared distances to the center.
        nu: above 0 to 1; may be traced.
        where: true = counted.

    Returns:
        The radius, not its square; NaN if no distance counts.

    Raises:
        ValueError: for a nu outside of (0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> print(svdd_radius(jnp.array([1.0, 4.0, 9.0, 100.0]), nu=0.25))
        3.0

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018, section 3.2 and proposition 4.
    """
    check_nu(nu)
    flat = distances.reshape(-1).astype(jnp.float32)
    counted = jnp.ones(flat.shape, bool) if where is None else where.reshape(-1)
    n = jnp.sum(counted)
    # A share such as .05 is not exact in binary: 5 of 100 must stay 5, and no more of millions.
    outside = jnp.floor(nu * n + jnp.minimum(1e-6 * nu * n, 0.01)).astype(jnp.int32)
    rising = jnp.sort(jnp.where(counted, flat, jnp.inf))
    square = jnp.take(rising, jnp.maximum(n - outside, 1) - 1, mode="clip")
    radius = jnp.sqrt(square)
    # Rounded down, its square would leave the distance that it was taken of outside.
    radius = jnp.where(radius * radius < square, jnp.nextafter(radius, jnp.inf), radius)
    return jnp.where(n > 0, radius, jnp.nan)


def check_nu(nu: Any) -> None:
    """Raises a ValueError for a concrete nu outside of (0, 1]."""
    if not isinstance(nu, Tracer) and not 0 < float(nu) <= 1:
        raise ValueError(f"nu: expected a share above 0 and at most 1, got {nu}")


class Recent(NamedTuple):
    """The last distances of a training, of which the radius is the quantile; a ring.

    Attributes:
        distances: squared; infinite where nothing has been seen yet.
        seen: how many were written so far, at most twice the size of the ring.
    """

    distances: Float[Array, " size"]
    seen: Int[Array, ""]

    @classmethod
    def empty(cls, size: int) -> "Recent":
        """A ring of this size in which nothing is yet."""
        return cls(jnp.full((size,), jnp.inf, jnp.float32), jnp.zeros((), jnp.int32))

    def add(
        self, distances: Float[Array, " *shape"], where: Bool[Array, " *shape"] | None = None
    ) -> "Recent":
        """The ring after one more batch; of a batch larger than it, evenly spread distances."""
        flat = jax.lax.stop_gradient(distances).reshape(-1).astype(jnp.float32)
        size = self.distances.shape[0]
        counted = jnp.ones(flat.shape, bool) if where is None else where.reshape(-1)
        ranks = jnp.cumsum(counted.astype(jnp.int32))
        total = ranks[-1]
        # By the golden ratio: evenly spread, and in step with no row or column of an image.
        order = jnp.arange(size)
        spread = jnp.floor(jnp.mod(order * 0.618034, 1.0) * total).astype(jnp.int32)
        chosen = jnp.where(total <= size, order, jnp.minimum(spread, total - 1))
        values = jnp.take(flat, jnp.searchsorted(ranks, chosen + 1), mode="clip")
        # What is more than there is, is written nowhere.
        slots = jnp.where(order < total, (self.seen + order) % size, size)
        written = self.distances.at[slots].set(values, mode="drop")
        seen = self.seen + jnp.minimum(total, size)
        # The place in the ring stays, and so does whether it is full; the count cannot overflow.
        return Recent(written, jnp.where(seen >= 2 * size, seen - size, seen))

    @property
    def full(self) -> Bool[Array, " size"]:
        """Where there is a distance."""
        return jnp.arange(self.distances.shape[0]) < self.seen
