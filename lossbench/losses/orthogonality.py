"""Orthogonality of components that are trained, such as those of a PCA."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lossbench import _checks


def orthogonality(components: Float[Array, "components features"]) -> Float[Array, ""]:
    r"""Orthogonality: how far components are from being orthonormal.

    .. math::
        L = \lVert W W^T - I \rVert_F^2

    0 for rows of length 1 that are orthogonal to each other. With more components than features
    there are none, and it is at least the number of components too many.

    Args:
        components: W, one a row.

    Returns:
        A scalar, at least 0: a regularizer of parameters has no batch. It grows with the number of
        components, and with the fourth power of their length.

    Gradient: smooth everywhere, `4 (W W^T - I) W`; 0 for components that are 0. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes or dtypes outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> print(orthogonality(jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])))  # (4 - 1)^2
        9.0

    Reference: Bansal et al., Can We Gain More from Orthogonality Regularizations in Training Deep
    Networks?, NeurIPS 2018 (soft orthogonality).
    """
    components = jnp.asarray(components)
    _checks.floating(components=components)
    if components.ndim != 2 or components.size == 0:
        raise ValueError(
            f"components: expected shape (components, features), not empty, got {components.shape}"
        )
    w = components.astype(_checks.compute_dtype(components))
    # Accelerators would round the factors to fewer digits by default.
    products = jnp.matmul(w, w.T, precision=lax.Precision.HIGHEST)
    return jnp.sum(jnp.square(products - jnp.eye(len(w), dtype=w.dtype)))
