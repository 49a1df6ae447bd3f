"""Rankings of cases against the exact functions on each case alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import metrics

OPTIONS = {"partial_auc": {"max_fpr": 0.25}}
NAMES = [name for name, state in metrics.STATES.items() if state.ranks_scores]
FUNCTIONS = {
    "roc_auc": metrics.roc_auc,
    "average_precision": metrics.average_precision,
    "f1_max": metrics.f1_max,
    "fpr_at_tpr": lambda *arrays: metrics.fpr_at_tpr(*arrays, tpr=0.95),
    "partial_auc": lambda *arrays: metrics.partial_auc(*arrays, max_fpr=0.25).standardized,
}


def exact(name, scores, labels):
    """The exact function of one row."""
    found = FUNCTIONS[name](jnp.asarray(scores)[None], jnp.asarray(labels)[None])
    return float(found.values[0])


@pytest.fixture(scope="module")
def scenes():
    """Three cases of unlike scale and length; whole numbers, so that bins are exact."""
    rng = np.random.default_rng(3)
    labels = rng.random((3, 400)) < 0.2
    scores = np.float32(rng.integers(0, 60, (3, 400)) + 25 * labels) * np.float32([[1], [4], [2]])
    where = rng.random((3, 400)) < 0.9
    return scores, labels, where


def streams(cases):
    return metrics.Collection.of(
        **{n: metrics.get(n).empty(cases=cases, **OPTIONS.get(n, {})) for n in NAMES}
    )


def test_each_case_is_a_ranking_of_its_own(scenes):
    scores, labels, where = scenes
    state = streams(4)  # the fourth never comes
    for rows in ([0, 1], [2, 2]):
        weights = jnp.array([1.0, float(rows[0] != rows[1])])
        state = state.update(
            scores=jnp.asarray(scores[rows]),
            labels=jnp.asarray(labels[rows], jnp.int32),
            case=jnp.array(rows),
            where=jnp.asarray(where[rows]),
            weights=weights,
        )
    assert len(state.sums) == 1  # all of the same histograms
    for name, found in state.compute().items():
        expected = [exact(name, scores[i][where[i]], labels[i][where[i]]) for i in range(3)]
        np.testing.assert_allclose(found.per_case[:3, 0], expected, rtol=2e-6, err_msg=name)
        assert np.isnan(found.per_case[3, 0])
        np.testing.assert_allclose(found.mean, np.mean(expected), rtol=2e-6, err_msg=name)
        together = exact(name, scores[where], labels[where])
        np.testing.assert_allclose(found.pooled[0], together, rtol=2e-6, err_msg=name)
        assert int(found.undefined) == 0


def test_rows_of_one_table_are_one_ranking(scenes):
    scores, labels, _ = scenes
    state = streams(1)
    for start in range(0, 400, 100):
        state = state.update(
            scores=jnp.asarray(scores[0, start : start + 100]),
            labels=jnp.asarray(labels[0, start : start + 100]),
            case=jnp.zeros(100, jnp.int32),
        )
    for name, found in state.compute().items():
        np.testing.assert_allclose(found.mean, exact(name, scores[0], labels[0]), rtol=2e-6)


def test_merging_is_having_seen_both(scenes):
    scores, labels, where = (jnp.asarray(x) for x in scenes)
    case = jnp.arange(3)
    whole = streams(3).update(scores=scores, labels=labels, case=case, where=where)
    halves = [
        streams(3).update(scores=scores, labels=labels, case=case, where=where & part)
        for part in (jnp.arange(400)[None] < 150, jnp.arange(400)[None] >= 150)
    ]
    merged = halves[0].merge(halves[1]).compute()
    for name, found in whole.compute().items():
        assert np.array_equal(merged[name].per_case, found.per_case), name


def test_a_case_without_an_anomaly_is_undefined_and_counted():
    state = metrics.RocAucOfCases.empty(cases=2)
    state = state.update(
        jnp.array([[1.0, 2.0], [1.0, 2.0]]), jnp.array([[0, 0], [0, 1]]), case=jnp.array([0, 1])
    )
    found = jax.device_get(state.compute())
    assert np.isnan(found.per_case[0, 0])
    assert found.per_case[1, 0] == found.mean == 1
    assert found.undefined == 1
