import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench import losses
from tests.losses import agreement, reference


def generalized(logits, targets, *, q=0.7, activation="softmax", **options):
    """Zhang and Sabuncu 2018, equation 6: (1 - p_t^q) / q."""

    def costs_of(x, t):
        p = reference.activate(x, activation)
        costs = t * (1 - p**q) / q
        return costs if activation == "softmax" else costs + (1 - t) * (1 - (1 - p) ** q) / q

    return reference.pixelwise(costs_of, logits, targets, activation=activation, **options)


def symmetric(
    logits, targets, *, alpha=0.1, beta=1.0, log_zero=-4.0, activation="softmax", **options
):
    """Wang et al. 2019: alpha times -sum t log p, plus beta times -sum p log t, log 0 = A.

    For a label that is one class; probabilities cost the mean over their classes.
    """

    def of_class(p, y):
        hard = reference.one_hot(y, len(p))
        return -sum(p_k * (0.0 if t_k else log_zero) for p_k, t_k in zip(p, hard, strict=True))

    def costs_of(x, t):
        plain = alpha * reference.cross_entropies(x, t, activation)
        p = reference.activate(x, activation)
        if activation == "softmax":
            return plain + beta * np.array([t_c * of_class(p, c) for c, t_c in enumerate(t)])
        both = [(np.array([1 - p_c, p_c]), t_c) for p_c, t_c in zip(p, t, strict=True)]
        return plain + beta * np.array(
            [t_c * of_class(p, 1) + (1 - t_c) * of_class(p, 0) for p, t_c in both]
        )

    return reference.pixelwise(costs_of, logits, targets, activation=activation, **options)


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.generalized_cross_entropy))
def test_generalized_cross_entropy_is_the_formula(name):
    agreement.pixelwise_agrees(losses.generalized_cross_entropy, generalized, name)


@pytest.mark.parametrize("q", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", ["plain", "soft", "sigmoid"])
def test_q(name, q):
    agreement.pixelwise_agrees(losses.generalized_cross_entropy, generalized, name, q=q)


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.symmetric_cross_entropy))
def test_symmetric_cross_entropy_is_the_formula(name):
    agreement.pixelwise_agrees(losses.symmetric_cross_entropy, symmetric, name)


@pytest.mark.parametrize(
    "options",
    [{"alpha": 1.0, "beta": 0.2}, {"alpha": 0.0}, {"beta": 0.0}, {"log_zero": -7.0}],
    ids=str,
)
@pytest.mark.parametrize("name", ["plain", "soft", "sigmoid", "sigmoid, soft, masked"])
def test_weights_and_the_logarithm_of_zero(name, options):
    agreement.pixelwise_agrees(losses.symmetric_cross_entropy, symmetric, name, **options)


def test_generalized_by_hand():
    """p = .25 with q = .5: 2 (1 - .5) = 1."""
    logits = jnp.log(jnp.array([[[0.25, 0.75]]]))
    value = losses.generalized_cross_entropy(logits, jnp.array([[0]]), q=0.5)
    np.testing.assert_allclose(value, 1.0, rtol=1e-6)


def test_symmetric_by_hand():
    """p = .25: .1 log 4 + 4 * .75."""
    logits = jnp.log(jnp.array([[[0.25, 0.75]]]))
    value = losses.symmetric_cross_entropy(logits, jnp.array([[0]]))
    np.testing.assert_allclose(value, 0.1 * np.log(4) + 3, rtol=1e-6)


@pytest.mark.parametrize("case", ["ids", "soft", "twenty classes"])
def test_the_ends_of_q(case):
    """q to 0 is cross entropy, q = 1 is 1 - p: the mean absolute error, halved."""
    small = agreement.value_of(losses.generalized_cross_entropy, case, q=1e-4)
    plain = agreement.value_of(losses.cross_entropy, case)
    np.testing.assert_allclose(small, plain, rtol=2e-3)
    one = agreement.value_of(losses.generalized_cross_entropy, case, q=1.0)
    logits, _, targets = agreement.INPUTS[case]
    p = reference.softmax(logits)
    np.testing.assert_allclose(one, (targets * (1 - p)).sum(-1).mean((1, 2)), rtol=1e-5)


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(max_examples=20, deadline=None)
def test_the_bounds_of_the_paper(seed, q):
    """Theorem 1: the sum over all labels lies between (C - C^(1 - q)) / q and (C - 1) / q."""
    classes = 4
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(size=(1, 5, classes), scale=4), jnp.float32)
    total = sum(
        losses.generalized_cross_entropy(
            logits, jnp.full((1, 5), c), q=jnp.float32(q), reduction="none"
        )
        for c in range(classes)
    )
    assert np.all(total >= (classes - classes ** (1 - q)) / q - 1e-4)
    assert np.all(total <= (classes - 1) / q + 1e-4)


def test_the_reverse_part_is_symmetric():
    """Over all labels it sums to -A (C - 1) whatever the prediction: tolerant to uniform noise."""
    logits = jnp.asarray(agreement.INPUTS["ids"].logits, jnp.float32)
    total = sum(
        losses.symmetric_cross_entropy(
            logits, jnp.full((3, 4, 5), c), alpha=0.0, beta=1.0, reduction="none"
        )
        for c in range(3)
    )
    np.testing.assert_allclose(total, 4.0 * 2, rtol=1e-5)


def test_beta_zero_is_cross_entropy():
    for case in ("ids", "soft"):
        value = agreement.value_of(losses.symmetric_cross_entropy, case, alpha=1.0, beta=0.0)
        plain = agreement.value_of(losses.cross_entropy, case)
        np.testing.assert_allclose(value, plain, rtol=1e-6)


def test_a_lost_pixel_pulls_less_than_with_cross_entropy():
    """The gradient of the generalized form is p^q times that of cross entropy."""
    logits, labels = jnp.array([[[-3.0, 2.0, 0.0]]]), jnp.array([[0]])
    slope = lambda loss, **o: jax.grad(lambda x: loss(x, labels, **o)[0])(logits)  # noqa: E731
    p = reference.softmax(logits)[0, 0, 0]
    for q in (0.3, 0.7, 1.0):
        np.testing.assert_allclose(
            slope(losses.generalized_cross_entropy, q=q),
            p**q * slope(losses.cross_entropy),
            rtol=1e-5,
        )


def test_an_easy_pixel_keeps_its_digits():
    """1 - p^q is q exp(-30) there, not 0."""
    logits, labels = jnp.array([[[30.0, 0.0]]]), jnp.array([[0]])
    value = losses.generalized_cross_entropy(logits, labels, q=0.7)
    np.testing.assert_allclose(value, np.exp(-30.0), rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_value_and_gradient_are_finite(activation):
    for q in (1e-3, 0.3, 1.0):
        agreement.assert_finite(losses.generalized_cross_entropy, activation=activation, q=q)
    agreement.assert_finite(losses.symmetric_cross_entropy, activation=activation)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.generalized_cross_entropy)
    agreement.assert_order_does_not_matter(losses.symmetric_cross_entropy)
