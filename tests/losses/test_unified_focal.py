import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference


def focal(logits, targets, *, powers, delta, activation="softmax", **options):
    """delta' (1 - p)^power (-log p), with a power and a share of background and foreground."""

    def cost(p, foreground):
        share = delta if foreground else 1 - delta
        return share * (1 - p) ** powers[int(foreground)] * -np.log(p)

    def costs_of(x, t):
        p = reference.activate(x, activation)
        if activation == "softmax":
            return np.array([t[c] * cost(p[c], c > 0) for c in range(len(x))])
        return t * cost(p, True) + (1 - t) * cost(1 - p, False)

    return reference.pixelwise(costs_of, logits, targets, activation=activation, **options)


def asymmetric(logits, targets, *, gamma=2.0, delta=0.7, **options):
    """Yeung et al. 2022, section 2.4: only background is focused."""
    return focal(logits, targets, powers=(gamma, 0), delta=delta, **options)


def unified(
    logits,
    targets,
    *,
    weight=0.5,
    delta=0.6,
    gamma=0.5,
    form="asymmetric",
    where=None,
    activation="softmax",
    class_weights=None,
    pool="example",
    **options,
):
    """Yeung et al. 2022, section 2.4, with the exponents of the authors' code."""
    powers = (gamma, 0 if form == "asymmetric" else gamma)
    shared = {"activation": activation, "class_weights": class_weights}

    def entropy(x, t):
        return focal(x[None], t[None], powers=powers, delta=delta, **shared)[0]

    def tversky(overlap, p, t, s_n, s_d):
        index = reference.tversky_index(overlap, p, t, s_n, s_d, 1 - delta, delta)
        return (1 - index) ** (1 - gamma)

    def plain(overlap, p, t, s_n, s_d):
        return 1 - reference.tversky_index(overlap, p, t, s_n, s_d, 1 - delta, delta)

    first = reference.by_pool(entropy, where, pool, logits, targets)
    shared.update(options, where=where, pool=pool)
    costs = [tversky] * targets.shape[-1]
    if form == "asymmetric" and activation != "sigmoid":
        costs[0] = plain
    second = reference.region(costs, logits, targets, **shared)
    return weight * first + (1 - weight) * second


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.asymmetric_focal))
def test_asymmetric_focal_is_the_formula(name):
    agreement.pixelwise_agrees(losses.asymmetric_focal, asymmetric, name)


@pytest.mark.parametrize(("gamma", "delta"), [(0.0, 0.5), (0.7, 0.7), (0.3, 0.25)])
@pytest.mark.parametrize("name", ["plain", "soft"])
def test_gamma_and_delta(name, gamma, delta):
    options = {"gamma": gamma, "delta": delta}
    agreement.pixelwise_agrees(losses.asymmetric_focal, asymmetric, name, **options)
    for form in ("asymmetric", "symmetric"):
        agreement.region_agrees(losses.unified_focal, unified, name, form=form, **options)


@pytest.mark.parametrize(
    "name", [n for n in agreement.region_cases(losses.unified_focal) if n != "probabilities"]
)
@pytest.mark.parametrize("form", ["asymmetric", "symmetric"])
def test_unified_focal_is_the_formula(name, form):
    agreement.region_agrees(losses.unified_focal, unified, name, form=form)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_weight_of_both_parts(weight):
    agreement.region_agrees(losses.unified_focal, unified, "plain", weight=weight)


def test_by_hand():
    """p of the truth .9 in the background and .4 in the foreground."""
    logits = jnp.log(jnp.array([[[0.9, 0.1], [0.6, 0.4]]]))
    labels = jnp.array([[0, 1]])
    value = losses.asymmetric_focal(logits, labels, gamma=2.0, delta=0.7)
    wanted = (0.3 * 0.1**2 * -np.log(0.9) + 0.7 * -np.log(0.4)) / 2
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_gamma_zero_and_halves_are_half_of_cross_entropy():
    """The paper: with gamma 0 and delta .5 the parts are cross entropy, halved, and Dice."""
    focal = agreement.value_of(losses.asymmetric_focal, "ids", gamma=0.0, delta=0.5)
    plain = agreement.value_of(losses.cross_entropy, "ids")
    np.testing.assert_allclose(focal, plain / 2, rtol=1e-5)
    dice = agreement.value_of(losses.dice, "ids")
    for form in ("asymmetric", "symmetric"):
        options = {"gamma": 0.0, "delta": 0.5, "form": form}
        only = agreement.value_of(losses.unified_focal, "ids", weight=0.0, **options)
        np.testing.assert_allclose(only, dice, rtol=1e-5)
        only = agreement.value_of(losses.unified_focal, "ids", weight=1.0, **options)
        np.testing.assert_allclose(only, plain / 2, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.9, 2.0])
def test_asymmetric_focal_is_finite(gamma):
    agreement.assert_finite(losses.asymmetric_focal, gamma=gamma)


@pytest.mark.parametrize("form", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9])
def test_unified_focal_is_finite(form, gamma):
    agreement.assert_finite(losses.unified_focal, form=form, gamma=gamma)
    agreement.assert_finite_near_nothing(losses.unified_focal, form=form, gamma=gamma)


@pytest.mark.parametrize("form", ["asymmetric", "symmetric"])
def test_a_perfect_prediction_costs_nothing_with_a_finite_gradient(form):
    labels = jnp.array([[0, 0, 1, 1]])
    for size in (20.0, 200.0):
        right = size * (jax.nn.one_hot(labels, 2) - 0.5)
        value, gradient = jax.value_and_grad(
            lambda x: losses.unified_focal(x, labels, form=form)[0]
        )(right)
        np.testing.assert_allclose(value, 0, atol=1e-2)
        assert np.all(np.isfinite(gradient))


def test_order_of_pixels_does_not_matter():
    agreement.assert_order_does_not_matter(losses.asymmetric_focal, of_classes=False)
    agreement.assert_order_does_not_matter(losses.unified_focal, of_classes=False)


def test_an_unknown_form_is_named():
    agreement.assert_refused(losses.unified_focal, {"form": "both"}, "form: expected one of")
