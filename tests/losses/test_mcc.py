import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference


def formula(logits, targets, *, overlap="l1", **options):
    """Abhishek and Hamarneh 2021, equations 3 to 5; s is under the root."""
    both = np.minimum if overlap == "l1" else np.multiply

    def cost(_overlap, p, t, s_n, s_d):
        tp, tn = both(p, t), both(1 - p, 1 - t)
        fp, fn = np.sum(p - tp), np.sum(t - tp)
        tp, tn = np.sum(tp), np.sum(tn)
        if fp == fn == 0:
            return 0.0
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        if product == s_d == 0:  # no pixel, or every pixel, of the class
            return 1.0
        return 1 - (tp * tn - fp * fn + s_n) / np.sqrt(product + s_d)

    return reference.region(cost, logits, targets, **options)


CASES = agreement.region_cases(losses.mcc)


@pytest.mark.parametrize("name", CASES)
def test_mcc_is_the_formula(name):
    agreement.region_agrees(losses.mcc, formula, name)


@pytest.mark.parametrize("name", ["soft", "soft, sigmoid, masked", "smooth pair, batch"])
def test_the_product_of_soft_labels(name):
    agreement.region_agrees(losses.mcc, formula, name, overlap="product")


def test_hard_predictions_have_the_correlation_of_the_masks():
    """For masks of 0 and 1 the coefficient is Pearson's correlation."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        true, found = rng.random((2, 1, 40)) < 0.4
        value = losses.mcc(
            jnp.asarray(found[..., None], jnp.float32),
            jnp.asarray(true),
            activation="identity",
            smooth=0.0,
        )
        wanted = 1 - np.corrcoef(true[0], found[0])[0, 1]
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_perfect_is_zero_chance_is_one_and_inverted_is_two():
    labels = jnp.array([[True, True, False, False, False]])
    sign = jnp.where(labels, 1.0, -1.0)[..., None]
    cost = lambda x: losses.mcc(x, labels, activation="sigmoid")  # noqa: E731
    np.testing.assert_allclose(cost(100 * sign), 0, atol=1e-5)
    np.testing.assert_allclose(cost(0 * sign), 1, atol=1e-5)
    np.testing.assert_allclose(cost(-100 * sign), 2, atol=1e-4)


def test_both_classes_of_two_have_the_same_coefficient():
    """MCC is symmetric in what is called positive."""
    case = agreement.INPUTS["volume"]
    each = [
        agreement.value_of(losses.mcc, case, class_weights=w)
        for w in (np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    ]
    np.testing.assert_allclose(*each, rtol=1e-5)


def test_value_and_gradient_are_finite():
    for smooth in (0.0, 1e-5):
        agreement.assert_finite(losses.mcc, smooth=smooth)
        agreement.assert_finite_near_nothing(losses.mcc, smooth=smooth)
        agreement.assert_finite(losses.mcc, smooth=smooth, activation="sigmoid")


def test_sums_of_a_large_image_do_not_overflow():
    """The product of four sums of 2^20 pixels is near 2^76: too much for two of it in float32."""
    logits = jnp.zeros((1, 2**20, 1)).at[:, ::3].set(1.0)
    labels = jnp.zeros((1, 2**20), bool).at[:, ::2].set(True)
    cost = lambda x: losses.mcc(x, labels, activation="sigmoid")[0]  # noqa: E731
    value, gradient = jax.value_and_grad(cost)(logits)
    wanted = formula_of_sums(np.asarray(logits[0, :, 0]), np.asarray(labels[0]))
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient != 0)


def formula_of_sums(x, t):
    p, t = reference.sigmoid(x), t.astype(float)
    return 1 - np.mean((p - p.mean()) * (t - t.mean())) / np.sqrt(
        p.mean() * (1 - p.mean()) * t.mean() * (1 - t.mean())
    )


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.mcc)
