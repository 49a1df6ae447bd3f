import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference


def brier(logits, targets, *, activation="softmax", **options):
    """Brier 1950: the squared distance of probabilities and truth."""
    costs_of = lambda x, t: (reference.activate(x, activation) - t) ** 2  # noqa: E731
    return reference.pixelwise(costs_of, logits, targets, activation=activation, **options)


def margin(logits, targets, *, margin=10.0, alpha=0.1, class_weights=None, **options):
    """Liu et al. 2022, equation 8: what logits fall behind the greatest one beyond a margin."""
    softmax = options.get("activation", "softmax") == "softmax"

    def penalties(x, _t):
        if not softmax:  # of the two logits x and 0
            return np.maximum(np.abs(x) - margin, 0)
        return np.array([max(0.0, x.max() - x_c - margin) for x_c in x]) / len(x)

    plain = entropies(logits, targets, class_weights=class_weights, **options)
    return plain + alpha * reference.pixelwise(penalties, logits, targets, **options)


def entropies(logits, targets, **options):
    activation = options.get("activation", "softmax")
    costs_of = lambda x, t: reference.cross_entropies(x, t, activation)  # noqa: E731
    return reference.pixelwise(costs_of, logits, targets, **options)


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.brier))
def test_brier_is_the_formula(name):
    agreement.pixelwise_agrees(losses.brier, brier, name)


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.margin_label_smoothing))
def test_margin_label_smoothing_is_the_formula(name):
    agreement.pixelwise_agrees(losses.margin_label_smoothing, margin, name, margin=1.5)


@pytest.mark.parametrize(("m", "alpha"), [(0.0, 0.1), (0.5, 1.0), (10.0, 0.1)])
def test_margin_and_alpha(m, alpha):
    for name in ("plain", "soft"):
        agreement.pixelwise_agrees(
            losses.margin_label_smoothing, margin, name, margin=m, alpha=alpha
        )


def test_brier_by_hand():
    """p = (.6, .3, .1): .16 + .09 + .01 for the first class."""
    logits = jnp.log(jnp.array([[[0.6, 0.3, 0.1]]]))
    np.testing.assert_allclose(losses.brier(logits, jnp.array([[0]])), 0.26, rtol=1e-5)
    np.testing.assert_allclose(losses.brier(logits, jnp.array([[2]])), 0.36 + 0.09 + 0.81, 1e-5)


def test_brier_is_proper():
    """Its optimum is the label's own probabilities; bounds 0 and 2."""
    soft = jnp.asarray(agreement.INPUTS["soft"].labels, jnp.float32)
    value, gradient = jax.value_and_grad(lambda x: losses.brier(x, soft).sum())(jnp.log(soft))
    np.testing.assert_allclose(value, 0, atol=1e-10)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    lost = jnp.array([[[200.0, 0.0]]])
    np.testing.assert_allclose(losses.brier(lost, jnp.array([[1]])), 2.0)


def test_margin_by_hand():
    """(5, 0, -2) with margin 4: behind by 0, 5 - 4 and 7 - 4."""
    logits, labels = jnp.array([[[5.0, 0.0, -2.0]]]), jnp.array([[1]])
    plain = losses.cross_entropy(logits, labels)
    value = losses.margin_label_smoothing(logits, labels, margin=4.0, alpha=0.3)
    np.testing.assert_allclose(value - plain, 0.3 * (1 + 3) / 3, rtol=1e-5)


def test_within_the_margin_or_without_alpha_it_is_cross_entropy():
    for options in ({"margin": 100.0, "alpha": 0.5}, {"margin": 0.0, "alpha": 0.0}):
        for case in ("ids", "soft"):
            value = agreement.value_of(losses.margin_label_smoothing, case, **options)
            plain = agreement.value_of(losses.cross_entropy, case)
            np.testing.assert_allclose(value, plain, rtol=1e-5)


def bell(d, sigma):
    """The normal distribution's share of the pixel at distance d."""
    below = lambda x: (1 + math.erf(x / (sigma * math.sqrt(2)))) / 2  # noqa: E731
    return below(d + 0.5) - below(d - 0.5)


def smoothed(targets, where, kernel_size, kernel, sigma):
    """One value a class, from the neighbors; outside of the image and the mask there is none."""
    half = kernel_size // 2 if kernel == "mean" else int(4 * sigma + 0.5)
    space = targets.shape[1:-1]
    result = np.zeros_like(targets)
    offsets = list(itertools.product(range(-half, half + 1), repeat=len(space)))
    weight = {
        o: kernel_size ** -len(o) if kernel == "mean" else math.prod(bell(d, sigma) for d in o)
        for o in offsets
    }
    for b in range(len(targets)):
        for at in np.ndindex(space):
            for o in offsets:
                there = tuple(a + d for a, d in zip(at, o, strict=True))
                inside = all(0 <= a < n for a, n in zip(there, space, strict=True))
                if inside and where[(b, *there)]:
                    result[(b, *at)] += weight[o] * targets[(b, *there)]
    return result


def neighbors(
    logits,
    targets,
    *,
    where=None,
    kernel_size=3,
    kernel="mean",
    penalty="l1",
    alpha=0.1,
    sigma=1.0,
    class_weights=None,
    **options,
):
    """Murugesan et al. 2023: logits are pulled to the shares of the classes around."""
    seen = np.ones(targets.shape[:-1], bool) if where is None else where
    near = smoothed(targets, seen, kernel_size, kernel, sigma)
    options["where"] = where
    plain = entropies(logits, targets, class_weights=class_weights, **options)
    shares = 1 if options.get("activation") == "sigmoid" else targets.shape[-1]
    distance = lambda x, u: (abs(x - u) if penalty == "l1" else (x - u) ** 2) / shares  # noqa: E731
    return plain + alpha * reference.pixelwise(distance, logits, near, **options)


NACL = losses.neighbor_aware_calibration


@pytest.mark.parametrize("name", agreement.pixelwise_cases(NACL))
def test_neighbor_aware_calibration_is_the_formula(name):
    agreement.pixelwise_agrees(NACL, neighbors, name)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 5},
        {"kernel_size": 7},
        {"kernel": "gaussian"},
        {"kernel": "gaussian", "sigma": 0.4},
    ],
    ids=str,
)
@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_kernels_and_penalties(options, penalty):
    options = {"penalty": penalty, "alpha": 0.6, **options}
    for name in ("plain", "masked", "soft"):
        agreement.pixelwise_agrees(NACL, neighbors, name, **options)


def test_a_uniform_neighborhood_asks_for_its_class():
    """In the middle of a flat region U is one-hot: logits (1, 0) carry no penalty there."""
    logits, labels = jnp.array([[[1.0, 0.0]] * 5]), jnp.zeros((1, 5), jnp.int32)
    value = NACL(logits, labels, reduction="none", alpha=1.0)
    plain = losses.cross_entropy(logits, labels, reduction="none")
    np.testing.assert_allclose((value - plain)[0, 1:4], 0, atol=1e-6)


def test_without_alpha_it_is_cross_entropy():
    for case in ("ids", "soft", "volume"):
        value = agreement.value_of(NACL, case, alpha=0.0)
        plain = agreement.value_of(losses.cross_entropy, case)
        np.testing.assert_allclose(value, plain, rtol=1e-5)


def test_value_and_gradient_are_finite():
    agreement.assert_finite(losses.brier)
    agreement.assert_finite(losses.brier, activation="sigmoid")
    agreement.assert_finite(losses.margin_label_smoothing)
    agreement.assert_finite(NACL)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.brier)
    agreement.assert_order_does_not_matter(losses.margin_label_smoothing, margin=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "box"}, "kernel: expected one of 'mean', 'gaussian'"),
        ({"penalty": "l3"}, "penalty: expected one of 'l1', 'l2'"),
        ({"kernel_size": 2}, "kernel_size: "),
        ({"kernel_size": 0}, "kernel_size: "),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(NACL, options, message)
