"""Deep SAD: the paper's formula, and what is finite at the center."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lossbench
from lossbench import losses
from tests.losses import embedded

WHERE = np.random.default_rng(3).random((3, 4, 5)) < 0.6


def reference(z, c, labels, where, eta=1.0, eps=1e-6):
    """Ruff et al. 2020: d, or eta (d + eps)^y where there is a label y."""
    d = ((np.asarray(z, np.float64) - c) ** 2).sum(-1)
    rows = []
    for row, y, w in zip(d, labels, where, strict=True):
        costs = [
            x if not k else eta * (x + eps) ** int(k) for x, k in zip(row[w], y[w], strict=True)
        ]
        rows.append(np.mean(costs))
    return np.array(rows)


@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
@pytest.mark.parametrize("options", [{}, {"eta": 3.0, "eps": 0.1}], ids=str)
@pytest.mark.parametrize("dtype", [np.int32, np.int8])
def test_the_formula(where, options, dtype):
    inputs = embedded.arrays("deep_sad")
    inputs["labels"] = inputs["labels"].astype(dtype)
    value, _ = embedded.value_and_gradient("deep_sad", inputs, where, **options)
    kept = np.ones((3, 4, 5), bool) if where is None else where
    wanted = reference(inputs["embeddings"], inputs["center"], inputs["labels"], kept, **options)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_a_mask_marks_known_anomalies():
    """True is -1, false is 0: unlabeled."""
    inputs = embedded.arrays("deep_sad")
    anomalous = inputs["labels"] < 0
    mask, _ = embedded.value_and_gradient("deep_sad", {**inputs, "labels": anomalous}, eta=2.0)
    ids, _ = embedded.value_and_gradient(
        "deep_sad", {**inputs, "labels": -anomalous.astype(np.int32)}, eta=2.0
    )
    np.testing.assert_array_equal(mask, ids)


def test_without_labels_it_is_one_class():
    inputs = embedded.arrays("deep_sad")
    none = {**inputs, "labels": np.zeros((3, 4, 5), bool)}
    value, _ = embedded.value_and_gradient("deep_sad", none)
    plain, _ = embedded.value_and_gradient(
        "svdd_one_class", {k: inputs[k] for k in ("embeddings", "center")}
    )
    np.testing.assert_allclose(value, plain, rtol=1e-6)


def test_at_and_near_the_center():
    """The value is eta / eps and the gradient 0; the steepest place is where the docstring says."""
    eps, eta = 1e-6, 2.0
    center = jnp.zeros(2)

    @jax.jit
    def of(x):
        loss = lambda x: losses.deep_sad(  # noqa: E731
            jnp.stack([x, 0 * x])[None, None], center, jnp.array([[True]]), eta=eta, eps=eps
        )[0]
        return jax.value_and_grad(loss)(x)

    value, slope = of(jnp.float32(0.0))
    np.testing.assert_allclose(value, eta / eps, rtol=1e-5)
    assert slope == 0
    steepest = of(jnp.float32(np.sqrt(eps / 3)))[1]
    np.testing.assert_allclose(-steepest, 0.6495 * eta * eps**-1.5, rtol=1e-3)
    nearby = [abs(of(jnp.float32(x))[1]) for x in (1e-5, 1e-4, 3e-4, 1e-3, 1e-2, 1.0)]
    assert max(nearby) <= abs(steepest)


def test_known_anomalies_at_the_center_do_not_harm_the_others():
    """The side that is not taken must not give NaN."""
    z = np.zeros((1, 3, 2), np.float32)
    z[0, 1] = 1e4
    inputs = {"embeddings": z, "center": np.zeros(2, np.float32)}
    for labels in ([0, 0, 0], [1, 1, 1], [-1, 0, 1]):
        value, gradient = embedded.value_and_gradient(
            "deep_sad", {**inputs, "labels": np.array([labels], np.int32)}
        )
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


def test_other_integers_are_found_in_debug_mode():
    inputs = embedded.on_device(embedded.arrays("deep_sad"))
    inputs["labels"] = inputs["labels"].at[0, 0, 0].set(7)
    where = jnp.ones((3, 4, 5), bool)
    with lossbench.debug_checks():
        with pytest.raises(Exception, match="labels: an integer is none of -1, 0 and 1"):
            losses.deep_sad(**inputs)
        losses.deep_sad(**inputs, where=where.at[0, 0, 0].set(False))
