"""Principal components that training may change."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.models.layers import counted


class TrainablePCA(nn.Module):
    """Projects each pixel: `embeddings = (x - mean) W^T`, `reconstructed = embeddings W + mean`.

    The components W begin random and orthonormal, the mean at 0; `with_pca` puts fitted ones there.
    The loss `orthogonality` on "components" keeps them near orthonormal, `reconstruction` near
    what a principal component analysis would give. Freeze "mean" by its pattern to keep it fitted.

    Attributes:
        n_components: rows of W.

    Example:
        >>> import jax
        >>> model = TrainablePCA(2)
        >>> variables = model.init(jax.random.key(0), jnp.ones((1, 5)))
        >>> w = variables["params"]["components"]
        >>> bool(jnp.allclose(w @ w.T, jnp.eye(2), atol=1e-6))
        True
    """

    n_components: int = 3

    reads = ("image", "where")

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "..."]]:
        """Return "embeddings", "reconstructed" and the "components", `n_components channels`.

        Args:
            image: what is projected.
            where: true = counted; the other pixels are read as 0.
        """
        x, _ = counted(image, where)
        channels = x.shape[-1]
        if not 1 <= self.n_components <= channels:
            raise ValueError(
                f"TrainablePCA: n_components must be between 1 and the image's {channels} "
                f"channels, got {self.n_components}"
            )
        init = nn.initializers.orthogonal()
        components = self.param("components", init, (self.n_components, channels))
        mean = self.param("mean", nn.initializers.zeros, (channels,))
        offset = mean.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        w = components.astype(x.dtype)
        embeddings = (x - offset) @ w.T
        reconstructed = embeddings @ w + offset
        return {
            "embeddings": embeddings,
            "reconstructed": reconstructed,
            "components": components,
        }


def with_pca(
    params: Mapping[str, Any],
    mean: Float[Array, " channels"],
    components: Float[Array, "n_components channels"],
) -> dict[str, Any]:
    """The parameters of a `TrainablePCA`, begun from a fitted principal component analysis.

    Args:
        params: what they replace.
        mean: of each channel.
        components: one a row.

    Raises:
        ValueError: for other shapes than the parameters have.

    Example:
        >>> params = {"components": jnp.zeros((1, 2)), "mean": jnp.zeros(2)}
        >>> with_pca(params, jnp.array([1.0, 2.0]), jnp.array([[0.0, 1.0]]))["components"].tolist()
        [[0.0, 1.0]]
    """
    fitted = {"components": jnp.asarray(components), "mean": jnp.asarray(mean)}
    for name, meaning in (("components", "n_components channels"), ("mean", "channels")):
        _checks.shape(f"with_pca: {name}", fitted[name], params[name].shape, meaning)
        fitted[name] = fitted[name].astype(params[name].dtype)
    return {**params, **fitted}
