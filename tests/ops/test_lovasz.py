"""The Lovász extension against its definition: sets of errors, exact fractions, loops."""

import itertools
from fractions import Fraction

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.ops.lovasz import lovasz_extension

extension = jax.jit(lovasz_extension)


@jax.jit
def value_and_weights(errors, members):
    value, pullback = jax.vjp(lambda e: lovasz_extension(e, members), errors)
    return value, pullback(jnp.ones_like(value))[0]


def jaccard_loss(wrong, members):
    """Of the pixels that are mispredicted: their share of the union they leave; 0 of no error."""
    return Fraction(len(wrong), len(wrong | members)) if wrong else Fraction(0)


def weights_of_an_order(order, members):
    """The paper's algorithm: what each pixel adds to the loss of those before it."""
    gains, wrong = {}, set()
    for pixel in order:
        before = jaccard_loss(wrong, members)
        wrong = wrong | {pixel}
        gains[pixel] = jaccard_loss(wrong, members) - before
    return gains


def orders(errors, members):
    """Every descending order of the errors: members of a tie first, free within a kind."""
    keys = [(-float(e), i not in members) for i, e in enumerate(errors)]
    groups = [
        [i for i, key in enumerate(keys) if key == distinct] for distinct in sorted(set(keys))
    ]
    for choice in itertools.product(*map(itertools.permutations, groups)):
        yield list(itertools.chain(*choice))


def mean_weights(errors, members):
    total, count = [Fraction(0)] * len(errors), 0
    for order in orders(errors, members):
        gains = weights_of_an_order(order, members)
        total, count = [t + gains[i] for i, t in enumerate(total)], count + 1
    return np.array([float(t / count) for t in total])


def integral_over_levels(errors, members):
    """The extension by another definition: the loss of `errors >= level`, over all levels."""
    levels = sorted({float(e) for e in errors} | {0.0}, reverse=True)
    steps = itertools.pairwise(levels)
    return sum(
        (high - low) * float(jaccard_loss({i for i, e in enumerate(errors) if e >= high}, members))
        for high, low in steps
    )


def check(errors, belongs, rtol=1e-6):
    members = set(np.flatnonzero(belongs))
    value, weights = value_and_weights(jnp.asarray(errors)[None], jnp.asarray(belongs)[None])
    assert value.dtype == weights.dtype == errors.dtype
    np.testing.assert_allclose(value[0], integral_over_levels(errors, members), rtol, 1e-30)
    np.testing.assert_allclose(weights[0], mean_weights(errors, members), rtol, 1e-30)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, 5, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, 40.0])),
    arrays.arrays(np.bool_, 5),
)
def test_ties_of_a_kind_share_the_mean_over_their_orders(errors, belongs):
    check(errors, belongs)


def test_any_order_of_a_tie_gives_the_same_value():
    """Members and others mixed as well, so that a sort need not be stable."""
    errors = np.array([0.5, 1.0, 0.5, 0.5, 0.0, 0.5], np.float32)
    belongs = np.array([True, False, False, True, True, False])
    members = set(np.flatnonzero(belongs))
    value = float(extension(jnp.asarray(errors)[None], jnp.asarray(belongs)[None])[0])
    for order in itertools.permutations(range(6)):
        if all(errors[a] >= errors[b] for a, b in itertools.pairwise(order)):
            gains = weights_of_an_order(order, members)
            assert value == pytest.approx(sum(float(gains[i]) * errors[i] for i in order), rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_rows_are_the_paper_s_algorithm(share):
    """Three rows at once; no pixel, every pixel, and some pixels of the class."""
    rng = np.random.default_rng(0)
    errors = rng.random((3, 60)).astype(np.float32)
    belongs = rng.random((3, 60)) < share
    values, weights = value_and_weights(jnp.asarray(errors), jnp.asarray(belongs))
    for row in range(3):
        order = np.argsort(-errors[row], kind="stable")
        gains = weights_of_an_order([int(i) for i in order], set(np.flatnonzero(belongs[row])))
        expected = np.array([float(gains[i]) for i in range(60)])
        np.testing.assert_allclose(weights[row], expected, rtol=1e-6, atol=1e-30)
        value = np.sum(expected * errors[row].astype(np.float64))
        np.testing.assert_allclose(values[row], value, rtol=1e-6)


@pytest.mark.parametrize("belongs", [True, False])
@pytest.mark.parametrize("error", [0.0, 1e-40, 0.3, 1e4])
def test_one_pixel_costs_its_error(error, belongs):
    check(np.array([error], np.float32), np.array([belongs]))


def test_an_absent_class_costs_its_largest_error():
    errors = jnp.array([[0.1, 0.7, 0.2, 0.7, 0.0]])
    value, weights = value_and_weights(errors, jnp.zeros((1, 5), bool))
    np.testing.assert_allclose(value, 0.7, rtol=1e-6)
    np.testing.assert_array_equal(weights, [[0, 0.5, 0, 0.5, 0]])


def test_pixels_without_error_and_class_change_nothing():
    """As masked pixels come: no longer row, no other value, no other weight of the rest."""
    rng = np.random.default_rng(0)
    errors, belongs = rng.random((3, 60)).astype(np.float32), rng.random((3, 60)) < 0.4
    longer = np.concatenate([errors, np.zeros((3, 7), np.float32)], axis=1)
    nobody = np.concatenate([belongs, np.zeros((3, 7), bool)], axis=1)
    plain = value_and_weights(jnp.asarray(errors), jnp.asarray(belongs))
    padded = value_and_weights(jnp.asarray(longer), jnp.asarray(nobody))
    np.testing.assert_allclose(padded[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(padded[1][:, :60], plain[1], rtol=1e-6)


def test_both_derivatives_are_those_of_the_definition_where_nothing_ties():
    """Of squares, in float64: the slopes w by differences; the second derivative is 2 w w'."""
    rng = np.random.default_rng(0)
    errors = rng.permutation(30).reshape(2, 15) / 30 + 1e-3
    belongs, move = rng.random((2, 15)) < 0.4, rng.normal(size=(2, 15))

    def extension_64(errors):
        rows = zip(errors, belongs, strict=True)
        return np.array([integral_over_levels(e, set(np.flatnonzero(b))) for e, b in rows])

    slopes = np.zeros((2, 15))
    for i in range(15):
        step = np.zeros((2, 15))
        step[:, i] = 1e-4
        slopes[:, i] = (extension_64(errors + step) - extension_64(errors - step)) / 2e-4
    along = np.sum(slopes * move, axis=1)
    with jax.enable_x64(True):
        members = jnp.asarray(belongs)
        squares = lambda e: jnp.sum(lovasz_extension(e, members) ** 2)  # noqa: E731
        (_, gradient), (change, bend) = jax.jit(
            lambda e, t: jax.jvp(jax.value_and_grad(squares), (e,), (t,))
        )(jnp.asarray(errors), jnp.asarray(move))
    value = extension_64(errors)
    np.testing.assert_allclose(gradient, 2 * value[:, None] * slopes, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(change, np.sum(2 * value * along), rtol=1e-8)
    np.testing.assert_allclose(bend, 2 * along[:, None] * slopes, rtol=1e-8, atol=1e-12)


def test_float64_is_sorted_and_summed_in_float64():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        errors = 1 + rng.permutation(5) * 2.0**-52
        check(errors, np.array([True, False, False, True, False]), rtol=1e-14)


def test_rows_may_come_under_vmap():
    rng = np.random.default_rng(0)
    errors, belongs = (
        rng.permutation(30).reshape(3, 2, 5).astype(np.float32),
        rng.random((3, 2, 5)) < 0.5,
    )
    _, weights = jax.vmap(value_and_weights)(jnp.asarray(errors), jnp.asarray(belongs))
    for i in np.ndindex(3, 2):
        expected = mean_weights(errors[i], set(np.flatnonzero(belongs[i])))
        np.testing.assert_allclose(weights[i], expected, rtol=1e-6)


@pytest.mark.parametrize("share", [1e-4, 0.3, 0.999])
def test_long_rows_keep_their_digits(share):
    """A difference of neighboring Jaccard losses would keep none of the smallest weights."""
    rng, pixels = np.random.default_rng(0), 100_003
    errors = rng.permutation(pixels).astype(np.float32) / pixels
    belongs = rng.random(pixels) < share
    order = np.argsort(-errors, kind="stable")
    found = belongs[order].astype(np.int64)
    left = found.sum() - np.cumsum(found)
    union = found.sum() + np.cumsum(1 - found)
    left_before = np.append(found.sum(), left[:-1])
    union_before = np.append(found.sum(), union[:-1])
    # left / union before less left / union after, in integers until the last division.
    gains = (left_before * union - left * union_before) / (union_before * union).astype(np.float64)
    value, weights = value_and_weights(jnp.asarray(errors)[None], jnp.asarray(belongs)[None])
    np.testing.assert_allclose(weights[0][order], gains, rtol=1e-6)
    np.testing.assert_allclose(value[0], np.sum(gains * errors[order].astype(float)), rtol=1e-6)
