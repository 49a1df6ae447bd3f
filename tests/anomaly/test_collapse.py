"""What tells a collapse, against NumPy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.collapse import Limits, collapsed, spread

GOOD = {"spread": 0.3, "distinct": 1.0, "drift": 0.0}


def test_spread_and_rank_are_those_of_numpy():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 50, 6)) * [3, 1, 1, 0.1, 0.01, 0] + 5
    where = rng.random((4, 50)) < 0.7
    distances = np.round(rng.random((4, 50)), 1)
    found = spread(jnp.float32(rows), jnp.float32(distances), jnp.asarray(where))
    kept = rows[where]
    covariance = np.cov(kept.T, ddof=0)
    shares = np.linalg.eigvalsh(covariance).clip(0) / np.trace(covariance)
    shares = shares[shares > 1e-12]
    np.testing.assert_allclose(found.mean, kept.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.spread, np.sqrt(np.trace(covariance) / 6), rtol=1e-5)
    np.testing.assert_allclose(
        found.effective_rank, np.exp(-(shares * np.log(shares)).sum()), rtol=1e-4
    )
    expected = len(np.unique(np.float32(distances[where]))) / where.sum()
    np.testing.assert_allclose(found.distinct, expected, rtol=1e-6)


def test_a_constant_has_no_spread_no_rank_and_one_score():
    found = spread(jnp.full((8, 3), 2.0), jnp.full((8,), 0.5))
    assert found.spread == found.effective_rank == 0
    assert found.distinct == 1 / 8
    nothing = spread(jnp.ones((8, 3)), jnp.ones((8,)), jnp.zeros((8,), bool))
    assert np.isfinite([float(x) for x in nothing[1:]]).all()


def test_tiny_embeddings_keep_their_rank():
    rows = np.random.default_rng(1).normal(size=(100, 4))
    ranks = [spread(jnp.float32(rows * s), jnp.ones(100)).effective_rank for s in (1, 1e-8)]
    np.testing.assert_allclose(ranks[0], ranks[1], rtol=1e-3)


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("spread", 1e-4, "their spread is 0.0001"),
        ("spread", float("nan"), "their spread is nan"),
        ("distinct", 1e-3, "0.10% are left"),
        ("drift", 2.0, "the center has run away"),
    ],
)
def test_each_limit_has_its_sentence(fact, value, words):
    assert collapsed(GOOD, Limits()) == ""
    assert words in collapsed({**GOOD, fact: value}, Limits())
