"""Pixels counted by class: what overlap metrics are made of."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from lossbench import _checks


class Counts(NamedTuple):
    """Pixels of each class, exact integers below 2^31.

    Attributes:
        true_positive: in truth and prediction.
        predicted: in the prediction.
        true: in the truth.
    """

    true_positive: Shaped[Array, "... classes"]
    predicted: Shaped[Array, "... classes"]
    true: Shaped[Array, "... classes"]


def count_pixels(
    predictions: Array, labels: Array, *, num_classes: int, where: Array | None = None
) -> Counts:
    """Counts the pixels of each class in each example.

    Raises:
        ValueError: if a shape or dtype breaks the contract (floating logits, say); it names the
            argument.
    """
    predictions, labels = _ids("predictions", predictions), _ids("labels", labels)
    _checks.shape("predictions", predictions, labels.shape, "the shape of labels")
    if where is not None:
        if where.dtype != jnp.bool_:
            raise ValueError(f"where: expected bool (true = counted), got {where.dtype}")
        _checks.shape("where", where, labels.shape, "the shape of labels")
    batch = labels.shape[0]
    counted = jnp.ones((), bool) if where is None else where.reshape(batch, -1)
    predictions, labels = predictions.reshape(batch, -1), labels.reshape(batch, -1)

    def count(mask: Bool[Array, "batch pixels"]) -> Int[Array, " batch"]:
        return jnp.sum(mask & counted, axis=1, dtype=jnp.int32)

    classes = range(num_classes)
    return Counts(
        jnp.stack([count((predictions == c) & (labels == c)) for c in classes], axis=1),
        jnp.stack([count(predictions == c) for c in classes], axis=1),
        jnp.stack([count(labels == c) for c in classes], axis=1),
    )


def _ids(name: str, array: Array) -> Int[Array, "..."]:
    array = jnp.asarray(array)
    if jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"{name}: expected class ids (integer) or a mask (bool), got {array.dtype}; take the "
            "argmax of logits first"
        )
    return array.astype(jnp.int32)
