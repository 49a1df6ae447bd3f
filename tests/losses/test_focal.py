import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import reference

RNG = np.random.default_rng(1)
LOGITS = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32) * 2
LABELS = RNG.integers(0, 3, (2, 4, 5))
SOFT = RNG.dirichlet(np.ones(3), (2, 4, 5)).astype(np.float32)


def expected(logits, targets, gamma, weights):
    def one(p, t):
        total = 0.0
        for p_i, t_i in zip(p, t, strict=True):
            for c in range(3):
                total += weights[c] * t_i[c] * (1 - p_i[c]) ** gamma * -np.log(p_i[c])
        return total / len(p)

    return reference.by_example(one, reference.softmax(logits), targets)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_is_the_formula(gamma, soft, alpha):
    labels = jnp.asarray(SOFT if soft else LABELS)
    targets = SOFT if soft else reference.one_hot(LABELS, 3)
    weights = np.array([1.0, 2.0, 0.5])
    value = losses.focal(
        jnp.asarray(LOGITS),
        labels,
        gamma=gamma,
        alpha=alpha,
        class_weights=jnp.asarray(weights, jnp.float32),
    )
    if alpha is not None:
        weights = weights * np.array([1 - alpha, alpha, alpha])
    np.testing.assert_allclose(value, expected(LOGITS, targets, gamma, weights), rtol=1e-5)


def test_gamma_zero_is_cross_entropy():
    logits, labels = jnp.asarray(LOGITS), jnp.asarray(LABELS)
    np.testing.assert_allclose(
        losses.focal(logits, labels, gamma=0.0), losses.cross_entropy(logits, labels), rtol=1e-6
    )


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("size", [1.0, 50.0, 1e3, 1e4])
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
def test_gradient_is_finite_for_saturated_logits(gamma, size, soft):
    """Lin's formula has the gradient (1-p)^(gamma-1), infinite at p = 1 for gamma < 1."""
    logits = jnp.array([[[size, -size, 0.0], [-size, size, 0.0], [0.0, 0.0, size]]])
    labels = jnp.array([[0, 0, 2]])
    labels = jax.nn.one_hot(labels, 3) if soft else labels
    value, gradient = jax.value_and_grad(lambda x: losses.focal(x, labels, gamma=gamma)[0])(logits)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
    assert gradient[0, 1, 0] < 0  # the pixel that is lost pulls its class up
