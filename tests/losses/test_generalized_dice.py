import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench import losses
from tests.losses import agreement, reference


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=True,
    pool="example",
    absent="skip",
    smooth=1e-5,
    overlap="l1",
    weighting="square",
    normalize=True,
):
    """Sudre et al. 2017, section 2.1; the weights sum to 1 before anything is added to them."""
    s_n, s_d = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    power = {"square": 2, "simple": 1, "uniform": 0}[weighting]

    def one(p, t):
        classes = range(0 if include_background else 1, p.shape[1])
        sizes = {c: t[:, c].sum() for c in classes}
        present = [n for n in sizes.values() if n > 0]
        weights = {}
        for c, size in sizes.items():
            if size == 0:
                size = np.inf if absent == "skip" else min(present, default=1)
            given = 1.0 if class_weights is None else class_weights[c]
            weights[c] = given * (1.0 if power == 0 and size < np.inf else 1 / size**power)
            if size == np.inf:
                weights[c] = 0.0
        total = sum(weights.values())
        if total == 0:
            return 0.0
        top = bottom = 0.0
        for c, weight in weights.items():
            weight = weight / total if normalize else weight
            top += weight * reference.intersection(p[:, c], t[:, c], overlap)
            bottom += weight * (p[:, c].sum() + t[:, c].sum())
        return 1 - reference.ratio(2 * top + s_n, bottom + s_d)

    return reference.by_pool(one, where, pool, reference.activate(logits, activation), targets)


CASES = [
    n
    for n in agreement.region_cases(losses.generalized_dice)
    if "absent" not in agreement.REGION[n][1] or "skip" in n
]


@pytest.mark.parametrize("name", CASES)
def test_generalized_dice_is_the_formula(name):
    agreement.region_agrees(losses.generalized_dice, formula, name)


@pytest.mark.parametrize("weighting", ["simple", "uniform"])
@pytest.mark.parametrize("name", ["plain", "soft, sigmoid, masked", "batch", "no background"])
def test_the_other_weightings(weighting, name):
    agreement.region_agrees(losses.generalized_dice, formula, name, weighting=weighting)


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@pytest.mark.parametrize("name", ["plain", "masked", "weights", "twenty classes", "batch, masked"])
def test_an_absent_class_may_weigh_as_the_rarest(weighting, name):
    options = {"absent": "rarest", "weighting": weighting}
    agreement.region_agrees(losses.generalized_dice, formula, name, **options)


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@pytest.mark.parametrize("smooth", [(0.01, 0.02), 0.3, 0.0])
def test_weights_as_in_the_paper(weighting, smooth):
    options = {"normalize": False, "weighting": weighting, "smooth": smooth}
    for name in ("plain", "batch"):
        agreement.region_agrees(losses.generalized_dice, formula, name, **options)


def test_one_ratio_by_hand():
    """T = (6, 2); one pixel of each is lost to the other: I = (5, 1), P = T."""
    labels = jnp.array([[0, 0, 0, 0, 0, 0, 1, 1]])
    found = jax.nn.one_hot(jnp.array([[0, 0, 0, 0, 0, 1, 0, 1]]), 2)
    options = {"activation": "identity", "smooth": 0.0}
    for weighting, (a, b) in {
        "square": (1 / 36, 1 / 4),
        "simple": (1 / 6, 1 / 2),
        "uniform": (1, 1),
    }.items():
        value = losses.generalized_dice(found, labels, weighting=weighting, **options)
        wanted = 1 - 2 * (5 * a + 1 * b) / (12 * a + 4 * b)
        np.testing.assert_allclose(value, wanted, rtol=1e-6)


def test_one_class_is_dice():
    case = "one class"
    value = agreement.value_of(losses.generalized_dice, case, activation="sigmoid")
    wanted = agreement.value_of(losses.dice, case, activation="sigmoid")
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_an_absent_class_takes_no_weight():
    """What is given to it costs only what the others miss."""
    labels = jnp.array([[0, 0, 1, 1]])
    p = jnp.array([[[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3]]])
    value = losses.generalized_dice(p, labels, activation="identity", smooth=0.0)
    without = losses.generalized_dice(p[..., :2], labels, activation="identity", smooth=0.0)
    np.testing.assert_allclose(value, without, rtol=1e-6)


def test_the_size_of_the_image_does_not_matter():
    """Weights of 1 / T^2 shrink with the volume; added to them, a smoothing constant would not."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(1, 64, 3)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 3, (1, 64)))
    small = losses.generalized_dice(logits, labels)
    large = losses.generalized_dice(jnp.tile(logits, (1, 4096, 1)), jnp.tile(labels, (1, 4096)))
    np.testing.assert_allclose(large, small, rtol=1e-4)


def test_nothing_to_find_costs_nothing():
    logits = jnp.asarray(agreement.INPUTS["one class"].logits, jnp.float32)
    cost = lambda x: jnp.sum(  # noqa: E731
        losses.generalized_dice(x, jnp.zeros((3, 4, 5), bool), activation="sigmoid")
    )
    value, gradient = jax.value_and_grad(cost)(logits)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_bounds(seed):
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(size=(2, 9, 3), scale=5), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 3, (2, 9)))
    value = losses.generalized_dice(logits, labels)
    assert np.all((value >= 0) & (value <= 1))


def test_perfect_is_zero_and_disjoint_is_one():
    labels = jnp.array([[0, 0, 1, 1, 1]])
    right = 200 * (jax.nn.one_hot(labels, 2) - 0.5)
    np.testing.assert_allclose(losses.generalized_dice(right, labels), 0, atol=1e-6)
    np.testing.assert_allclose(losses.generalized_dice(right, 1 - labels), 1, atol=1e-4)


def test_a_soft_label_is_its_own_optimum():
    soft = jnp.asarray(agreement.INPUTS["soft"].labels, jnp.float32)
    itself = losses.generalized_dice(soft, soft, activation="identity")
    np.testing.assert_allclose(itself, 0, atol=1e-6)


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
def test_value_and_gradient_are_finite(weighting):
    agreement.assert_finite(losses.generalized_dice, weighting=weighting)
    agreement.assert_finite(losses.generalized_dice, weighting=weighting, smooth=0.0)
    options = {"weighting": weighting, "absent": "rarest", "smooth": 0.0}
    agreement.assert_finite_near_nothing(losses.generalized_dice, **options)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.generalized_dice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "cube"}, "weighting: expected one of 'square', 'simple', 'uniform'"),
        ({"absent": "suppress"}, "absent: expected one of 'skip', 'rarest'"),
        ({"overlap": "min"}, "overlap: expected one of"),
        ({"pool": "image"}, "pool: expected one of"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(losses.generalized_dice, options, message)
