from xml.etree import ElementTree

import numpy as np
import pytest

from lossbench.bench import drawing
from lossbench.bench.score_histogram import false_alarm_rates, score_histogram


def texts(figure):
    return [e.text for e in ElementTree.fromstring(drawing.svg(figure, "a")).iter("text")]


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = rng.random((30, 40)) < 0.05
    return np.where(labels, 20, 5) + rng.normal(size=(30, 40)), labels


def test_a_rate_is_the_share_of_normal_pixels_that_score_as_high(scored):
    scores, labels = scored
    scores = np.round(scores)  # ties
    where = np.random.default_rng(1).random(scores.shape) < 0.8
    normal = scores[~labels & where]
    want = (normal[None] >= scores.reshape(-1, 1)).mean(axis=1).reshape(scores.shape)
    got = false_alarm_rates(scores, labels, where)
    np.testing.assert_allclose(got[where], want[where])
    assert np.isnan(got[~where]).all()
    # The unit of the scores does not matter, nor any other rising function.
    np.testing.assert_array_equal(false_alarm_rates(np.exp(scores / 9), labels, where), got)


def test_rates_at_the_ends_of_what_there_is():
    assert (false_alarm_rates(np.full((3, 4), 7.0), np.eye(3, 4)) == 1).all()
    got = false_alarm_rates(np.array([np.nan, 1, np.inf, -np.inf]), np.array([0, 0, 1, 0]))
    np.testing.assert_array_equal(got, [np.nan, 0.5, 0, 1])
    assert np.isnan(false_alarm_rates(np.arange(3.0), np.ones(3))).all()


def test_the_shares_beyond_the_threshold_are_written(scored):
    scores, labels = scored
    words = texts(score_histogram(scores, labels, threshold=12.0, threshold_name="radius²"))
    normal, anomalous = int((~labels).sum()), int(labels.sum())
    assert f"{normal:,} normal, 0 % at or above" in words
    assert f"{anomalous:,} anomalous, 100 % at or above" in words
    assert "radius² 12" in words
    assert f"{normal:,} normal" in texts(score_histogram(scores, labels))


def test_each_kind_is_a_share_of_its_own_and_nothing_is_left_out(scored):
    scores, labels = scored
    scores[0, 0] = 1e9
    figure = score_histogram(scores, labels)
    drawn = [patch.get_data().values for patch in figure.axes[0].patches]
    assert len(drawn) == 4
    for values in drawn:
        assert values.sum() == pytest.approx(1)


def test_what_is_not_counted_is_not_counted(scored):
    scores, labels = scored
    where = np.ones(scores.shape, bool)
    where[:10], scores[0] = False, np.nan
    words = texts(score_histogram(scores, labels, where=where))
    assert f"{int((~labels)[10:].sum()):,} normal" in words


def test_scores_over_decades_have_a_logarithmic_axis():
    rng = np.random.default_rng(0)
    scores, labels = np.exp(3 * rng.normal(size=500)), np.zeros(500)
    figure = score_histogram(scores, labels)
    assert figure.axes[0].get_xscale() == "log"
    assert not any("mathdefault" in text for text in texts(figure) if text)
    assert score_histogram(scores - 1, labels).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("threshold", [None, 3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("fill", [3.0, 0.0, np.nan, np.inf])
def test_scores_that_say_nothing_can_be_drawn(fill, threshold):
    figure = score_histogram(np.full((4, 5), fill), np.zeros((4, 5)), threshold=threshold)
    assert "no anomalous pixel" in texts(figure)
