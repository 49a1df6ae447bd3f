"""One metric of masks on class ids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics.by_class import by_class
from lossbench.metrics.volume import volume_difference

RNG = np.random.default_rng(0)
PREDICTIONS, LABELS = RNG.integers(0, 3, (2, 2, 5, 6)).astype(np.uint8)
OPTIONS = {"num_classes": 4, "spacing": (1.0, 2.0)}


def test_each_class_is_a_mask():
    with jax.numpy_dtype_promotion("strict"):
        found = jax.jit(lambda p, t: by_class(volume_difference, p, t, **OPTIONS))(
            PREDICTIONS, LABELS.astype(np.int32)
        )
    assert found.values.shape == (4, 2)
    assert found.undefined.shape == (4,)
    pairs = list(zip(PREDICTIONS, LABELS, strict=True))
    for c in range(4):
        wanted = [2.0 * abs((p == c).sum() - (t == c).sum()) for p, t in pairs]
        np.testing.assert_array_equal(found.values[c], wanted)


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (jnp.zeros((1, 5, 6)), jnp.zeros((1, 5, 6), jnp.int32), "predictions: expected class ids"),
        (jnp.zeros((1, 5, 6), jnp.int32), jnp.zeros((1, 5, 6), bool), "labels: expected class ids"),
        (jnp.zeros((1, 5), jnp.int32), jnp.zeros((1, 6), jnp.int32), "predictions: expected shape"),
    ],
)
def test_wrong_arguments_are_named(predictions, labels, message):
    with pytest.raises(ValueError, match=message):
        by_class(volume_difference, predictions, labels, **OPTIONS)
