"""Areas of fitted detectors, against a count of pairs."""

import numpy as np

from lossbench.bench.baselines import baseline_aucs, training_rows
from lossbench.data import scenes
from lossbench.data.dataset import Dataset, SampleSource


def pairs(scores, labels):
    apart = scores[labels][:, None] - scores[~labels][None]
    return np.mean((apart > 0) + 0.5 * (apart == 0))


def test_a_table_is_one_ranking_and_training_rows_are_those_that_count():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)).astype(np.float32), np.int32(rng.random(60) < 0.3)
    part = SampleSource(("table",), x, y)
    data = Dataset("t", "t", part, part, part, ("normal", "anomalous"))
    seen = []

    def fit(rows):
        seen.append(rows)
        return lambda rows: rows[:, 0]

    found = baseline_aucs(data, {"first": fit})
    np.testing.assert_allclose(found["first"], pairs(x[:, 0], y == 1), rtol=1e-6)
    assert np.array_equal(seen[0], x)


def test_scenes_are_ranked_one_by_one_and_anomalies_are_left_out_of_training():
    data = scenes(size=(16, 16), bands=8, train=2, validation=1, test=2, targets=3)
    anomalous = sum(int((data.train[i]["labels"] != 0).sum()) for i in range(2))
    assert len(training_rows(data.train)) == 2 * 16 * 16 - anomalous
    found = baseline_aucs(data, {"band": lambda rows: lambda rows: rows[:, 4]})
    expected = []
    for i in range(2):
        example = data.test[i]
        scores, labels = example["image"][..., 4].ravel(), example["labels"].ravel() != 0
        expected.append(pairs(scores.astype(np.float64), labels))
    np.testing.assert_allclose(found["band"], np.mean(expected), rtol=1e-5)
