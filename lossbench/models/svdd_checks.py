"""Whether a network and a center can collapse: what Deep SVDD must not have."""

import math
import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp

OFFSETS = ("bias", "bias_*", "beta", "offset", "shift", "mean")
FACTORS = ("scale", "scale_*", "std", "gamma")
BOUNDED = ("tanh", "sigmoid")


def check_svdd(
    params: Mapping[str, Any],
    model: Any = None,
    center: jax.Array | None = None,
    *,
    allow: Sequence[str] = (),
    eps: float = 0.1,
) -> None:
    """Refuses a network that Deep SVDD can train to map everything to the center.

    It looks at names, and computes nothing: a parameter is an offset if it is called "bias",
    "bias_0", "beta", "offset", "shift" or "mean", and a factor of a normalization if "scale",
    "scale_0", "std" or "gamma".

    Args:
        params: what is trained, as nested dicts; leave out what is frozen, such as a fitted mean.
        model: the network, whose fields `activation` and `fourier_features` are read if it has
            them; of an autoencoder, those of its `encoder`.
        center: the center, if it is known.
        allow: patterns of paths, such as "head/*" or "*/bias", of parameters to let through.
        eps: size below which a component of the center is near 0.

    Raises:
        ValueError: for offsets or factors, by their paths; for a center that is not finite; for a
            pattern in `allow` that matches nothing.

    Warns:
        UserWarning: for a bounded activation, Fourier features, a center of zeros, or one with
            components near 0.

    Example:
        >>> check_svdd({"dense_0": {"kernel": jnp.ones((2, 2))}}, center=jnp.array([0.5, -1.0]))
        >>> check_svdd({"dense_0": {"bias": jnp.ones(2)}}, allow=["dense_0/bias"])

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018, Propositions 1 to 3.
    """
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    unused = [pattern for pattern in allow if not any(fnmatchcase(p, pattern) for p in paths)]
    if unused:
        raise ValueError(
            f"check_svdd: allow={unused[0]!r} matches no parameter; there are: {', '.join(paths)}"
        )
    paths = [path for path in paths if not any(fnmatchcase(path, a) for a in allow)]
    _refuse(
        paths,
        OFFSETS,
        "offsets (biases): with the other weights at 0 an offset alone puts every input on the "
        "center (Ruff et al. 2018, Proposition 2). Build the network with use_bias=False",
    )
    _refuse(
        paths,
        FACTORS,
        "factors of a normalization: trained down to 0 they take the input away, which leaves a "
        "constant. Build the network with normalizations without scale and offset",
    )
    if model is not None:
        _warn_of_model(model)
    if center is not None:
        _warn_of_center(center, eps)


def _refuse(paths: Sequence[str], names: Sequence[str], reason: str) -> None:
    found = [p for p in paths if any(fnmatchcase(p.rpartition("/")[2], name) for name in names)]
    if found:
        raise ValueError(
            f"check_svdd: {', '.join(found)}: Deep SVDD must not train {reason}, freeze them and "
            f"leave them out here, or let them through by allow=[{found[0]!r}]"
        )


def _warn_of_model(model: Any) -> None:
    model = getattr(model, "encoder", model)
    activation = getattr(model, "activation", None)
    if activation in BOUNDED:
        warnings.warn(
            f"check_svdd: activation={activation!r} is bounded: a unit that is saturated for "
            "every input is constant and serves as a bias, so the network can collapse onto the "
            'center (Ruff et al. 2018, Proposition 3). Take "leaky_relu"',
            UserWarning,
            stacklevel=3,
        )
    features = getattr(model, "fourier_features", 0)
    if features:
        warnings.warn(
            f"check_svdd: fourier_features={features} are cosines, bounded and not 0 at 0: a sum "
            "of them can be nearly constant over the data and serve as a bias (Ruff et al. 2018, "
            "Proposition 3). Watch the spread of the embeddings, or take fourier_features=0",
            UserWarning,
            stacklevel=3,
        )


def _warn_of_center(center: jax.Array, eps: float) -> None:
    sizes = [abs(c) for c in jnp.ravel(jnp.asarray(center)).tolist()]
    if not all(math.isfinite(size) for size in sizes):
        raise ValueError("check_svdd: the center is not finite: were there NaN in the embeddings?")
    # A center that was pushed to eps exactly is on the right side.
    small = [i for i, size in enumerate(sizes) if size < eps * (1 - 1e-5)]
    if sizes and not any(sizes):
        warnings.warn(
            "check_svdd: the center is 0, where a network without biases puts every input once "
            "its weights are 0 (Ruff et al. 2018, Proposition 1). Take the mean of the first "
            "embeddings, pushed away from 0",
            UserWarning,
            stacklevel=3,
        )
    elif small:
        shown = ", ".join(map(str, small[:8])) + (", ..." if len(small) > 8 else "")
        warnings.warn(
            f"check_svdd: {len(small)} of the center's {len(sizes)} components are below {eps} in "
            f"size (components {shown}): a unit reaches them by weights of 0 alone. Push them to "
            f"{eps} or -{eps}, or give a smaller eps if the embeddings are small",
            UserWarning,
            stacklevel=3,
        )
