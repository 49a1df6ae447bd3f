import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference


def formula(logits, targets, *, alpha=0.5, fn_weight=0.5, absent="smooth", **options):
    """Taghanaki et al. 2019: alpha times a weighted cross entropy, 1 - alpha times Dice."""
    weights = options.get("class_weights")
    shared = {k: options.get(k) for k in ("where", "class_weights")}
    shared["activation"] = options.get("activation", "softmax")
    shared["pool"] = options.get("pool", "example")
    shared["include_background"] = options.get("include_background", True)

    def entropy(_overlap, p, t, _s_n, _s_d):
        return -np.mean(fn_weight * t * np.log(p) + (1 - fn_weight) * (1 - t) * np.log(1 - p))

    def dice(overlap, p, t, s_n, s_d):
        return 1 - reference.ratio(2 * overlap + s_n, p.sum() + t.sum() + s_d)

    first = reference.region(entropy, logits, targets, **shared)
    if weights is not None:  # not divided by
        counted = weights if shared["include_background"] else weights[1:]
        first = first * np.mean(counted)
    second = reference.region(dice, logits, targets, absent=absent, **options)
    return alpha * first + (1 - alpha) * second


@pytest.mark.parametrize(
    "name", [n for n in agreement.region_cases(losses.combo) if n != "probabilities"]
)
def test_combo_is_the_formula(name):
    agreement.region_agrees(losses.combo, formula, name)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.5), (1.0, 0.3), (0.7, 0.9), (1.0, 0.0)])
@pytest.mark.parametrize("name", ["plain", "soft", "one class", "batch, masked"])
def test_shares_of_the_parts_and_of_misses(name, alpha, beta):
    agreement.region_agrees(losses.combo, formula, name, alpha=alpha, fn_weight=beta)


def test_the_ends_of_alpha():
    dice = agreement.value_of(losses.dice, "ids")
    np.testing.assert_allclose(agreement.value_of(losses.combo, "ids", alpha=0.0), dice, rtol=1e-6)
    half = agreement.value_of(losses.binary_cross_entropy, "masks") / 2
    options = {"activation": "sigmoid", "alpha": 1.0, "fn_weight": 0.5}
    np.testing.assert_allclose(
        agreement.value_of(losses.combo, "masks", **options), half, rtol=1e-5
    )


def test_an_fn_weight_above_a_half_weighs_what_is_missed():
    """A flat prediction of .3: each member costs -log .3, each of the others -log .7."""
    case = agreement.INPUTS["one class"]
    flat = case._replace(logits=np.full_like(case.logits, np.log(0.3 / 0.7)))
    share = case.targets.mean((1, 2, 3))
    for beta in (0.2, 0.8):
        value = agreement.value_of(
            losses.combo, flat, activation="sigmoid", alpha=1.0, fn_weight=beta
        )
        wanted = -beta * share * np.log(0.3) - (1 - beta) * (1 - share) * np.log(0.7)
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_value_and_gradient_are_finite(activation):
    agreement.assert_finite(losses.combo, activation=activation)
    agreement.assert_finite_near_nothing(losses.combo, activation=activation, smooth=0.0)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.combo)
