"""Cross entropy that weighs pixels by their distance to boundaries."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, Number, divide, given_weights, number, read
from lossbench.losses._maps import labeled, refuse_soft, steps_of
from lossbench.losses._pixelwise import reduce_costs, sided_costs, softmax_surprises
from lossbench.losses.cross_entropy import negative_log
from lossbench.ops.classes import Parts, apart
from lossbench.ops.distance import Spacing, distance_transform


def distance_weighted_cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    strength: Number = 1.0,
    spacing: Spacing | None = None,
    weight_map: Float[Array, " batch *space"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Cross entropy in which pixels near a boundary weigh more.

    .. math::
        L = -\frac{1}{n} \sum_i v_i \log p_{iy}, \qquad v_i = 1 + \lambda \Phi_i, \qquad
        \Phi_i = \frac{\max_j d_j - d_i}{\max_j d_j - \min_j d_j}

    over the n pixels that count, with d the distance of a pixel to the nearest one of another class
    and the extremes those among the pixels of its own class: :math:`\Phi` is 1 at the boundary and
    0 in the depth. Under a sigmoid the cost of a pixel is the mean over classes, each with its own
    :math:`\Phi`, on both sides of the boundary.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax) or one mask a class (bool, `batch *space classes`).
        where: true = counted. A masked pixel is of no class, and makes no boundary.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        strength: :math:`\lambda`, at least 0; may be traced.
        spacing: the size of a pixel along each axis of space, 1 by default; may be traced. One
            unit for all axes changes nothing.
        weight_map: v itself, such as the U-Net's from `unet_weight_map`; a constant. No distance is
            computed then. The mean does not divide by it.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole. A class
        whose pixels are all equally near has :math:`\Phi = 1`; where there is no boundary it is 0.

    Gradient: that of the cross entropy, times v; finite for every finite logit, 0 under the mask.
    Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for labels that are probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 0, 0, 1, 1]])
        >>> loss = distance_weighted_cross_entropy(jnp.zeros((1, 5, 2)), labels, reduction="none")
        >>> [f"{float(cost):.2f}" for cost in loss[0] / jnp.log(2)]
        ['1.00', '1.50', '2.00', '2.00', '1.00']

    Reference: Caliva et al., Distance Map Loss Penalty Term for Semantic Segmentation, MIDL 2019;
    the extremes are those of Ma et al., Loss Odyssey in Medical Image Segmentation, MedIA 2021.
    """
    x = read(logits, labels, where, activation=activation)
    refuse_soft(x, "a weight by the distance to a boundary")
    space = logits.shape[1:-1]
    steps = steps_of(spacing, space)
    weights = given_weights(class_weights, x.classes, x.logits.dtype)
    if weight_map is not None:
        near = _given(weight_map, logits.shape[:-1], x)
    else:
        near = 1 + number(strength, x.logits) * _nearness(x, space, steps, activation)

    def costs(logits: Array, labels: Array, near: Array) -> Parts:
        if activation == "softmax":
            return [near * softmax_surprises(logits, labels, weights)]
        sided = sided_costs(apart(logits), labels, negative_log, weights)
        if near.ndim == 2:
            return [cost * (near if cost.ndim == 2 else near[..., None]) for cost in sided]
        return [cost * v for cost, v in zip(sided, apart(near), strict=True)]

    return reduce_costs(costs, x, activation, near, reduction=reduction, shape=logits.shape)


def _given(weight_map: Array, leading: tuple[int, ...], x: Inputs) -> Float[Array, "batch pixels"]:
    given = jnp.asarray(weight_map)
    _checks.floating(weight_map=given)
    _checks.shape("weight_map", given, leading, "batch, *space")
    given = lax.stop_gradient(given.astype(x.logits.dtype)).reshape(x.logits.shape[:2])
    return given if x.where is None else jnp.where(x.where, given, 0)


def _nearness(
    x: Inputs, space: tuple[int, ...], steps: list[Array], activation: str
) -> Float[Array, "batch pixels *classes"]:
    """How near a boundary each pixel is, among those of its class: of one class, or of each."""
    member, grid = labeled(x), (x.logits.shape[0], *(space or (1,)))
    counted = jnp.ones(x.logits.shape[:2], bool) if x.where is None else x.where

    def of_mask(mask: Array) -> Float[Array, "batch pixels"]:
        """1 at the boundary, 0 in the depth, of a mask's own pixels; 0 elsewhere."""
        others = counted & ~mask
        d = distance_transform(~others.reshape(grid), spacing=steps or None).reshape(mask.shape)
        d, inside = d.astype(x.logits.dtype), mask & jnp.isfinite(d)
        deepest = jnp.max(d, axis=1, where=inside, initial=0, keepdims=True)
        nearest = jnp.min(d, axis=1, where=inside, initial=jnp.inf, keepdims=True)
        depth = jnp.maximum(deepest - jnp.where(jnp.isfinite(nearest), nearest, 0), 0)
        near = divide(jnp.where(inside, deepest - d, 0), jnp.broadcast_to(depth, d.shape), 1.0)
        return jnp.where(inside, near, 0)

    if activation == "softmax":

        def add(c: Array, near: Array) -> Array:
            return near + of_mask(member(c))

        start = jnp.zeros(x.logits.shape[:2], x.logits.dtype)
        return lax.fori_loop(0, x.classes, add, start)

    def fill(c: Array, near: Array) -> Array:
        mask = member(c)
        return near.at[..., c].set(of_mask(mask) + of_mask(counted & ~mask))

    return lax.fori_loop(0, x.classes, fill, jnp.zeros_like(x.logits))


def unet_weight_map(
    instances: Int[Array, " batch *space"],
    *,
    most: int,
    w0: Number = 10.0,
    sigma: Number = 5.0,
    balance: tuple[Number, Number] = (1.0, 1.0),
    spacing: Spacing | None = None,
) -> Float[Array, " batch *space"]:
    r"""The U-Net's weights: the gaps between neighboring instances weigh most.

    .. math::
        v_i = v_c + w_0 \exp\left( -\frac{(d_{1i} + d_{2i})^2}{2 \sigma^2} \right)

    with :math:`d_1, d_2` the distances to the nearest and the second nearest instance; that of a
    pixel to its own is 0.

    Args:
        instances: the number of the instance each pixel belongs to, from 1; 0 is background.
        most: the largest number there may be, static. The time is that of `most` distance
            transforms; instances with larger numbers make no gap.
        w0: the weight in a gap of width 0; may be traced.
        sigma: how wide a gap counts, in the unit of `spacing`, above 0; may be traced.
        balance: :math:`v_c` of the background and of the instances; may be traced.
        spacing: the size of a pixel along each axis of space, 1 by default; may be traced.

    Returns:
        The weights, for `distance_weighted_cross_entropy` as `weight_map`. With fewer than two
        instances the second term is 0.

    Raises:
        ValueError: for a `most` below 1 or a wrong `spacing`.

    Example:
        >>> import jax.numpy as jnp
        >>> instances = jnp.array([[1, 1, 0, 2, 2]])
        >>> weights = unet_weight_map(instances, most=2, sigma=1.0)
        >>> [f"{float(v):.2f}" for v in weights[0]]
        ['1.11', '2.35', '2.35', '2.35', '1.11']

    Reference: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image
    Segmentation, MICCAI 2015.
    """
    if most < 1:
        raise ValueError(f"most: expected at least 1 instance, got {most}")
    if not jnp.issubdtype(instances.dtype, jnp.integer):
        raise ValueError(f"instances: expected integer ids, got {instances.dtype}")
    space = instances.shape[1:]
    steps = steps_of(spacing, space)
    grid = (instances.shape[0], *(space or (1,)))
    ids = instances.astype(jnp.int32).reshape(grid)

    def nearer(k: Array, two: tuple[Array, Array]) -> tuple[Array, Array]:
        first, second = two
        others = ids != jnp.asarray(k, ids.dtype)
        d = distance_transform(others, spacing=steps or None)
        return jnp.minimum(first, d), jnp.minimum(second, jnp.maximum(first, d))

    far = jnp.full(grid, jnp.inf, jnp.float32)
    first, second = lax.fori_loop(1, most + 1, nearer, (far, far))
    width = jnp.asarray(sigma, jnp.float32)
    gap = jnp.asarray(w0, jnp.float32) * jnp.exp(-jnp.square((first + second) / width) / 2)
    empty, full = (jnp.asarray(v, jnp.float32) for v in balance)
    return (jnp.where(ids == 0, empty, full) + gap).reshape(instances.shape)
