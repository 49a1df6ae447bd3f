"""Generalized Wasserstein Dice loss: confusing related classes costs less."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number, divide
from lossbench.losses._region import count, pooled, read_region, score
from lossbench.ops.classes import (
    are_apart,
    are_few,
    side_by_side,
    split_classes,
    spread,
    total,
    value_of,
)
from lossbench.ops.probabilities import softmax
from lossbench.ops.sums import class_sums, truth

WEIGHTING = ("foreground", "volume")


def wasserstein_dice(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    distances: Float[Array, "classes classes"],
    pool: str = "example",
    smooth: Number | tuple[Number, Number] = 1e-5,
    weighting: str = "foreground",
) -> Float[Array, "..."]:
    r"""Generalized Wasserstein Dice loss.

    .. math::
        L = 1 - \frac{2 A + s}{2 A + E + s}, \qquad
        A = \sum_i \alpha_{y_i} (1 - W_i), \quad E = \sum_i W_i, \quad
        W_i = \sum_c M_{y_i c}\, p_{ic}

    over the pixels i that count, with p the softmax of the logits and y the true class: W is the
    distance that the predicted mass has to move. With "volume", :math:`E = \sum_i \alpha_{y_i}
    W_i`. A label of probabilities counts each of its classes by its share.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        distances: M, the distance of each class (row: the true one) to each other; at least 0, 0 on
            the diagonal; divided by its maximum. May be traced. `1 - eye(classes)` makes all
            confusions alike.
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch; the
            value is then a scalar).
        smooth: s, in pixels; may be 0 and may be traced. A pair gives numerator and denominator one
            each.
        weighting: "foreground" is the paper's, :math:`\alpha` 0 for class 0 and 1 for the others;
            with "volume" :math:`\alpha_l = 1 / (T_l + 1)` weighs the errors too.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]; 0 for an example
        that is masked whole.

    Gradient: smooth; finite for every finite logit. Every order and both modes of differentiation
    work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> distances = jnp.array([[0.0, 1.0], [1.0, 0.0]])
        >>> print(f"{wasserstein_dice(logits, labels, distances=distances)[0]:.3f}")
        0.333

    Reference: Fidon et al., Generalised Wasserstein Dice Score for Imbalanced Multi-class
    Segmentation using Holistic Convolutional Networks, BrainLes 2017.
    """
    _checks.choice("weighting", weighting, WEIGHTING)
    x = read_region(logits, labels, where, activation="softmax", pool=pool)
    matrix = jnp.asarray(distances, x.logits.dtype)
    _checks.shape("distances", matrix, (x.classes, x.classes), "true class, predicted class")
    matrix = divide(matrix, jnp.max(matrix))
    columns = functools.partial(_moved, matrix)
    sums = class_sums(columns, x.logits, x.labels, x.counted())
    distance, true = (pooled(part, pool) for part in sums)
    if weighting == "volume":
        alpha = 1 / (true + 1)
        error = jnp.sum(alpha * distance, axis=1)
    else:
        alpha = jnp.ones_like(true).at[:, 0].set(0)
        error = jnp.sum(distance, axis=1)
    right = jnp.sum(alpha * (true - distance), axis=1)
    costs = 1 - score(right, 2 * right + error, smooth)
    value = jnp.where(count(x, pool)[:, 0] > 0, costs, 0)
    return value[0] if pool == "batch" else value


def _moved(matrix: Array, logits: Array, labels: Array) -> list[tuple[Array, ...]]:
    """For each class `t_c sum_k M_ck p_k`, what its pixels have to move, and `t_c`."""
    classes = logits.shape[-1]
    true = truth(labels, classes, logits.dtype)
    if labels.ndim == 2 and are_few(classes):
        moved = _distance(logits, matrix, labels)
        distances = [moved] * classes if are_apart(classes) else [spread(moved, classes)]
    elif are_apart(classes):
        p = softmax(logits)
        distances = [total([m * p_k for m, p_k in zip(row, p, strict=True)]) for row in matrix]
    else:
        (p,) = softmax(logits)
        distances = [jnp.einsum("bnk,ck->bnc", p, matrix, precision="highest")]
    return [(distance * t, t) for distance, t in zip(distances, true, strict=True)]


@jax.custom_jvp
def _distance(logits: Array, matrix: Array, ids: Array) -> Float[Array, "batch pixels"]:
    """`D = sum_k M_yk p_k` of the class y of each pixel, of few classes.

    Its derivative is `sum_k p_k (M_yk - D) dx_k`.
    """
    p = softmax(logits)
    p = p if len(p) == len(matrix) else split_classes(p[0])
    return total([value_of(to_k, ids) * p_k for to_k, p_k in zip(matrix.T, p, strict=True)])


@_distance.defjvp
def _distance_jvp(primals, tangents):
    (logits, matrix, ids), (dx, d_matrix, _) = primals, tangents
    distance = _distance(*primals)
    with side_by_side():
        (p,) = softmax(logits)
        change = jnp.sum(p * (_rows(matrix, ids) - distance[..., None]) * dx, axis=-1)
        return distance, change + jnp.sum(p * _rows(d_matrix, ids), axis=-1)


def _rows(matrix: Array, ids: Array) -> Float[Array, "batch pixels classes"]:
    """`M_y` of the class y of each pixel."""
    first, *rest = [value_of(to_k, ids)[..., None] for to_k in matrix.T]
    rows = jnp.broadcast_to(first, (*ids.shape, len(matrix)))
    for k, distance in enumerate(rest, start=1):
        rows = jnp.where((jnp.arange(len(matrix)) == k)[None, None], distance, rows)
    return rows
