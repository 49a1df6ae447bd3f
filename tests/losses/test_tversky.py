import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench import losses
from tests.losses import agreement, reference


def formula(logits, targets, *, fp_weight=0.3, fn_weight=0.7, form="ratio", **options):
    def cost(overlap, p, t, s_n, s_d):
        index = reference.tversky_index(overlap, p, t, s_n, s_d, fp_weight, fn_weight)
        return reference.shape(form, index)

    return reference.region(cost, logits, targets, **options)


def focal_formula(logits, targets, *, fp_weight=0.3, fn_weight=0.7, gamma=0.75, **options):
    def cost(overlap, p, t, s_n, s_d):
        return (1 - reference.tversky_index(overlap, p, t, s_n, s_d, fp_weight, fn_weight)) ** gamma

    return reference.region(cost, logits, targets, **options)


@pytest.mark.parametrize("name", agreement.region_cases(losses.tversky))
def test_tversky_is_the_formula(name):
    agreement.region_agrees(losses.tversky, formula, name)


@pytest.mark.parametrize("form", ["log", "log_cosh"])
@pytest.mark.parametrize("name", ["plain", "one class", "weights", "skip", "batch, masked"])
def test_forms(name, form):
    agreement.region_agrees(losses.tversky, formula, name, form=form)


@pytest.mark.parametrize(("fp_weight", "fn_weight"), [(0.9, 0.1), (0.0, 1.0), (2.0, 0.5)])
@pytest.mark.parametrize("name", ["plain", "soft", "smooth pair"])
def test_weights_of_errors(name, fp_weight, fn_weight):
    options = {"fp_weight": fp_weight, "fn_weight": fn_weight}
    agreement.region_agrees(losses.tversky, formula, name, **options)
    agreement.region_agrees(losses.focal_tversky, focal_formula, name, **options)


@pytest.mark.parametrize("name", agreement.region_cases(losses.focal_tversky))
def test_focal_tversky_is_the_formula(name):
    agreement.region_agrees(losses.focal_tversky, focal_formula, name)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 4 / 3, 2.0])
def test_gamma(gamma):
    for name in ("plain", "soft", "one class"):
        agreement.region_agrees(losses.focal_tversky, focal_formula, name, gamma=gamma)


def test_false_positives_and_false_negatives_are_told_apart():
    """One pixel found, two imagined, one missed: 2 / (2 + 2 (.3 * 2 + .7 * 1)) = 1 / 2.3."""
    labels = jnp.array([[True, True, False, False, False]])
    found = jnp.array([[1.0, 0.0, 1.0, 1.0, 0.0]])[..., None]
    options = {"activation": "identity", "smooth": 0.0}
    value = losses.tversky(found, labels, **options)
    np.testing.assert_allclose(value, 1 - 1 / 2.3, rtol=1e-6)
    value = losses.tversky(found, labels, fp_weight=0.7, fn_weight=0.3, **options)
    np.testing.assert_allclose(value, 1 - 1 / 2.7, rtol=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_halves_are_dice_and_ones_are_jaccard(seed):
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(size=(2, 9, 3), scale=3), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 3, (2, 9)))
    options = {"absent": ("smooth", "skip", "suppress")[seed % 3], "smooth": (0.3, 0.5)}
    half = losses.tversky(logits, labels, fp_weight=0.5, fn_weight=0.5, **options)
    np.testing.assert_allclose(half, losses.dice(logits, labels, **options), rtol=1e-5)
    one = losses.tversky(logits, labels, fp_weight=1.0, fn_weight=1.0, **options)
    np.testing.assert_allclose(one, losses.jaccard(logits, labels, **options), rtol=1e-5)


@pytest.mark.parametrize("name", ["plain", "masked", "suppress"])
def test_gamma_one_is_tversky(name):
    case, options = agreement.REGION[name]
    focal = agreement.value_of(losses.focal_tversky, case, gamma=1.0, **options)
    np.testing.assert_allclose(
        focal, agreement.value_of(losses.tversky, case, **options), rtol=1e-5
    )


def test_gamma_below_one_raises_and_above_one_lowers_the_cost():
    case, plain = "one class", agreement.value_of
    options = {"activation": "sigmoid"}
    one = plain(losses.tversky, case, **options)
    assert np.all(plain(losses.focal_tversky, case, gamma=0.75, **options) > one)
    assert np.all(plain(losses.focal_tversky, case, gamma=4 / 3, **options) < one)


@pytest.mark.parametrize("loss", [losses.tversky, losses.focal_tversky])
def test_perfect_is_zero_and_disjoint_is_one(loss):
    labels = jnp.array([[0, 0, 1, 1]])
    right = 200 * (jax.nn.one_hot(labels, 2) - 0.5)
    np.testing.assert_allclose(loss(right, labels), 0, atol=1e-4)
    np.testing.assert_allclose(loss(right, 1 - labels), 1, atol=1e-4)


def test_a_soft_label_is_its_own_optimum():
    soft = jnp.asarray(agreement.INPUTS["soft"].labels, jnp.float32)
    itself = losses.tversky(soft, soft, activation="identity")
    np.testing.assert_allclose(itself, 0, atol=1e-6)
    assert np.all(losses.tversky(soft, soft, activation="identity", overlap="product") > 0.1)


@pytest.mark.parametrize("absent", ["smooth", "skip", "suppress"])
def test_value_and_gradient_are_finite(absent):
    agreement.assert_finite(losses.tversky, absent=absent)
    agreement.assert_finite(losses.tversky, absent=absent, form="log", activation="sigmoid")
    for gamma in (0.5, 0.75, 2.0):
        agreement.assert_finite(losses.focal_tversky, absent=absent, gamma=gamma)
    agreement.assert_finite_near_nothing(losses.focal_tversky, absent=absent, smooth=0.0)


@pytest.mark.parametrize("gamma", [0.25, 0.5, 0.75, 1.5])
@pytest.mark.parametrize("smooth", [0.0, 1e-5])
def test_a_perfect_class_has_a_finite_gradient(gamma, smooth):
    """(1 - TI)^gamma has an infinite slope at TI = 1 for gamma < 1."""
    labels = jnp.array([[0, 0, 1, 1]])
    for size in (5.0, 10.0, 15.0, 20.0, 50.0, 200.0):
        right = size * (2 * jax.nn.one_hot(labels, 2) - 1)
        cost = lambda x: losses.focal_tversky(x, labels, gamma=gamma, smooth=smooth)[0]  # noqa: E731
        value, gradient = jax.value_and_grad(cost)(right)
        assert np.isfinite(value)
        assert 0 <= value < 0.5
        assert np.all(np.isfinite(gradient))


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.tversky)
    agreement.assert_order_does_not_matter(losses.focal_tversky)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "square"}, "form: expected one of 'ratio', 'log', 'log_cosh'"),
        ({"overlap": "min"}, "overlap: expected one of"),
        ({"class_weights": np.ones(2)}, "class_weights: expected shape"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(losses.tversky, options, message)
