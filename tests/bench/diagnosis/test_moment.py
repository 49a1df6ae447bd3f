"""Statistics of terms, against their definitions on gradients that are written down."""

import math

import numpy as np
import pytest

from lossbench import losses
from lossbench.bench.diagnosis.moment import (
    lower_bound,
    moment,
    shares,
    shares_along,
    signal_to_noise,
)
from lossbench.losses import deep_supervision
from lossbench.objective import Objective, Term
from tests.bench.diagnosis.made import drawn, measured, seen


def test_signal_to_noise_is_that_of_the_expectation():
    """The estimates of signal and noise, each by itself, are right on average."""
    rng = np.random.default_rng(0)
    mean, sigma, batches = np.array([0.3, -0.2, 0.1]), 0.5, 4
    found = mean + sigma * rng.normal(size=(20000, batches, 3))
    means = found.mean(axis=1)
    squares = (means**2).sum(axis=1)
    deviations = ((found - means[:, None]) ** 2).sum(axis=(1, 2))
    noise = deviations.mean() / (batches - 1)
    assert noise == pytest.approx(3 * sigma**2, rel=0.02)
    truth = (mean**2).sum() / (3 * sigma**2)
    of_means = signal_to_noise(squares.mean(), deviations.mean(), batches)
    assert of_means == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((1.0, 0.0, 4), math.inf),
        ((1.0, 1.0, 1), math.nan),
        ((0.0, 1.0, 4), math.nan),
        ((math.nan, 1.0, 4), math.nan),
        ((0.1, 30.0, 4), 0.0),
    ],
)
def test_signal_to_noise_at_its_ends(given, wanted):
    np.testing.assert_equal(signal_to_noise(*given), wanted)


def test_shares_are_of_the_summed_updates():
    gradients = np.stack(drawn(1.0, 5.0, 0.2), axis=1)
    weights = np.random.default_rng(1).uniform(0.1, 2, gradients.shape[:2])
    updates = np.einsum("bi,bip->bp", weights, gradients)
    along = np.einsum("bip,bp->bi", weights[..., None] * gradients, updates)
    wanted = along.sum(axis=0) / (updates**2).sum()
    found = shares(np.einsum("bip,bjp->bij", gradients, gradients), weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert found.sum() == pytest.approx(1)
    scaled = shares(1e-60 * np.einsum("bip,bjp->bij", gradients, gradients), 1e200 * weights)
    np.testing.assert_allclose(scaled, wanted, rtol=1e-12)


def test_gradients_that_cancel_have_no_shares():
    (one,) = drawn(1.0)
    pair = np.stack([one, -one], axis=1)
    products = np.einsum("bip,bjp->bij", pair, pair)
    assert np.isnan(shares(products, np.ones((1, 2)))).all()
    assert np.isnan(shares(np.zeros((3, 2, 2)), np.ones((1, 2)))).all()
    assert np.isnan(shares_along(np.zeros((3, 3)), np.ones(2))).all()


def test_shares_along_another_update():
    along = np.array([[1.0, 2.0, 4.0], [3.0, np.nan, 4.0]])
    np.testing.assert_allclose(shares_along(along, np.array([2.0, 1.0])), [1.0, 0.25])


def test_a_term_s_numbers():
    a, b = drawn(2.0, 3.0)
    b[1] = 0
    a[0, 3] = np.nan
    values = {"a": [np.nan, 4.0, 6.0, 2.0, 3.0, 5.0, 7.0, 1.0]}
    factors = np.ones((8, 2)) * [1.0, 3.0]
    found = seen({"a": a, "b": b}, values=values, weights={"b": 0.5}, factors=factors)
    one, two = found.terms
    assert (one.least, one.greatest, one.mean, one.bound) == (1.0, 7.0, 4.0, 0.0)
    assert one.variance == pytest.approx(np.var(values["a"][1:], ddof=1))
    assert one.variation == pytest.approx(one.deviation / 4)
    assert (one.finite, one.zero, one.live, one.dead) == (7, 0, True, False)
    assert (two.finite, two.zero, two.live, two.dead) == (8, 1, True, False)
    assert one.norm == pytest.approx(2.0)
    assert two.norm == pytest.approx(3 * np.sqrt(7 / 8))
    assert two.weighted_norm == pytest.approx(1.5 * two.norm)
    assert (two.weight, two.factor) == (0.5, 3.0)
    mean = b.mean(axis=0)
    noise = ((b - mean) ** 2).sum() / 7
    wanted = ((mean**2).sum() - noise / 8) / noise
    assert two.signal_to_noise == pytest.approx(wanted)
    assert one.share + two.share == pytest.approx(1)


def test_a_pair_s_numbers():
    a, b = drawn(2.0, 3.0)
    b[1], a[2] = 0, np.nan
    b[4:] = -b[4:]
    found = seen({"a": a, "b": b}).pairs[0]
    there = [0, 3, 4, 5, 6, 7]
    cosines = (a[there] * b[there]).sum(axis=1) / 6
    assert found.batch_cosine == pytest.approx(cosines.mean())
    assert (found.lowest, found.highest) == pytest.approx((cosines.min(), cosines.max()))
    assert (found.against, found.batches) == (4, 6)
    means = np.nanmean(a, axis=0), b.mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert found.cosine == pytest.approx(cosine)
    assert (found.ratio, found.ratio_spread) == pytest.approx((1.5, 1.0))


def test_terms_that_cannot_be_measured_have_no_numbers():
    a, b, c = drawn(1.0, 1.0, 1.0)
    values = {"b": np.full(8, np.nan)}
    found = seen({"a": a, "b": b * np.nan, "c": 0 * c}, values=values)
    broken, dead = found.terms[1:]
    assert not broken.finite
    assert not broken.dead
    assert not broken.live
    assert np.isnan([broken.mean, broken.least, broken.norm, broken.share]).all()
    assert dead.dead
    assert (dead.norm, dead.share) == (0.0, 0.0)
    assert found.term("a").share == pytest.approx(1)
    assert np.isnan(found.pair("c", "a").cosine)
    assert found.pair("b", "a").batches == 0


def test_norms_whose_squares_leave_the_floats():
    a, b = drawn(1.0, 1.0)
    given = measured({"a": a, "b": b}, weights={"a": 1e200, "b": 1e-200})
    found = moment(given, Objective({"a": Term(losses.dice), "b": Term(losses.dice)}))
    assert [t.weighted_norm for t in found.terms] == pytest.approx([1e200, 1e-200])
    assert found.terms[0].share == pytest.approx(1)


def test_one_batch_and_one_term():
    (one,) = drawn(2.0, batches=1)
    (found,) = seen({"a": one}).terms
    assert np.isnan([found.deviation, found.signal_to_noise]).all()
    assert found.share == 1
    assert seen({"a": one}).pairs == ()


def test_lower_bounds_come_from_the_catalog():
    assert lower_bound(Term(losses.boundary)) == -1
    assert lower_bound(Term(deep_supervision(losses.boundary, weights="uniform"))) == -1
    assert math.isnan(lower_bound(Term(lambda logits, labels: 0)))
