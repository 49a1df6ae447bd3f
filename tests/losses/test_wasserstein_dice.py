import functools

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference

# Background is far from all; classes 1 and 2 are near to one another.
TREE = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.4], [1.0, 0.4, 0.0]])


def distances_of(classes):
    """Any metric will do: points on a line, the background apart."""
    at = np.linspace(0.2, 0.7, classes)
    distances = np.abs(at[:, None] - at[None])
    distances[0, 1:] = distances[1:, 0] = 1
    return distances


def formula(
    logits,
    targets,
    *,
    distances=None,
    where=None,
    pool="example",
    smooth=1e-5,
    weighting="foreground",
):
    """Fidon et al. 2017, section 2.3; the weights by volume are those of Tilborghs et al. 2020."""
    s_n, s_d = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    distances = distances_of(targets.shape[-1]) if distances is None else np.asarray(distances)
    distances = distances / distances.max()

    def one(p, t):
        found = errors = 0.0
        volumes = t.sum(0)
        for p_i, t_i in zip(p, t, strict=True):
            for true in range(len(t_i)):
                error = sum(distances[true][c] * p_i[c] for c in range(len(p_i)))
                weight = 0.0 if true == 0 else 1.0
                if weighting == "volume":
                    weight = 1 / (1 + volumes[true])
                found += t_i[true] * weight * (1 - error)
                errors += t_i[true] * (weight if weighting == "volume" else 1.0) * error
        return 1 - reference.ratio(2 * found + s_n, 2 * found + errors + s_d)

    return reference.by_pool(one, where, pool, reference.softmax(logits), targets)


def loss(logits, labels, *, distances=None, **options):
    classes = logits.shape[-1]
    distances = jnp.asarray(distances_of(classes) if distances is None else distances)
    return losses.wasserstein_dice(logits, labels, distances=distances, **options)


OPTIONS = {
    "plain": {},
    "masked": {"where": agreement.WHERE},
    "batch": {"pool": "batch"},
    "batch, masked": {"pool": "batch", "where": agreement.WHERE},
    "smooth": {"smooth": 1.5},
    "smooth pair": {"smooth": (0.5, 2.0)},
    "tree": {"distances": TREE},
    "any unit": {"distances": 25 * TREE},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("weighting", ["foreground", "volume"])
def test_wasserstein_dice_is_the_formula(name, weighting):
    agreement.agree(loss, formula, "ids", {"weighting": weighting, **OPTIONS[name]})


@pytest.mark.parametrize("case", ["line", "volume", "soft", "twenty classes"])
def test_other_shapes(case):
    agreement.agree(loss, formula, case, {})


def test_with_no_likeness_of_two_classes_it_is_dice_of_the_foreground():
    """Fidon et al., section 2.3: for two classes and distances 0 and 1 it is the soft Dice."""
    case = agreement.INPUTS["volume"]
    value = losses.wasserstein_dice(
        jnp.asarray(case.logits, jnp.float32),
        jnp.asarray(case.labels),
        distances=1 - jnp.eye(2),
        weighting="foreground",
        smooth=0.0,
    )
    dice = agreement.value_of(losses.dice, case, include_background=False, smooth=0.0)
    np.testing.assert_allclose(value, dice, rtol=1e-5)


def test_a_near_class_costs_less_than_a_far_one():
    labels = jnp.array([[0, 0, 1, 1, 2, 2]])
    at = lambda ids: 50.0 * jnp.eye(3)[jnp.asarray(ids)][None]  # noqa: E731
    cost = functools.partial(loss, labels=labels, distances=TREE)
    right, near, far = (cost(at([0, 0, 1, 1, 2, c])) for c in (2, 1, 0))
    np.testing.assert_allclose(right, 0, atol=1e-5)
    assert right < near < far


def test_by_hand():
    """One pixel of class 2 taken for 1: W = .4: 1 - 2 * 3.6 / (2 * 3.6 + .4)."""
    logits = 100.0 * jnp.eye(3)[jnp.array([0, 0, 1, 1, 2, 1])][None]
    labels = jnp.array([[0, 0, 1, 1, 2, 2]])
    value = loss(logits, labels, distances=TREE, weighting="foreground", smooth=0.0)
    np.testing.assert_allclose(value, 1 - 7.2 / 7.6, rtol=1e-5)


def test_all_right_is_zero_and_all_far_is_one():
    labels = jnp.array([[0, 0, 1, 1]])
    right = 100.0 * jnp.eye(2)[labels[0]][None]
    for weighting in ("foreground", "volume"):
        cost = functools.partial(loss, labels=labels, weighting=weighting)
        np.testing.assert_allclose(cost(right), 0, atol=1e-6)
        np.testing.assert_allclose(cost(-right), 1, atol=1e-4)


@pytest.mark.parametrize("weighting", ["foreground", "volume"])
def test_value_and_gradient_are_finite(weighting):
    agreement.assert_finite(loss, weighting=weighting)
    agreement.assert_finite(loss, weighting=weighting, smooth=0.0)


def test_pixels_in_another_order():
    agreement.assert_order_does_not_matter(loss, of_classes=False)


def test_distances_of_a_wrong_shape_are_named():
    agreement.assert_refused(
        losses.wasserstein_dice, {"distances": np.ones((2, 2))}, "distances: expected shape"
    )


def test_an_unknown_weighting_is_named():
    options = {"distances": TREE, "weighting": "GDL"}
    agreement.assert_refused(losses.wasserstein_dice, options, "weighting: expected one of")
