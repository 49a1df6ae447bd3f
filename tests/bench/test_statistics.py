import dataclasses
import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossbench.bench import statistics


def test_interval_agrees_with_scipy():
    values = [0.81, 0.84, 0.79, 0.86, 0.83]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    got = statistics.t_interval(values, confidence=0.9)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert got.mean == pytest.approx(np.mean(values))
    assert got.n == 5


def test_paired_difference_agrees_with_scipy():
    ours, theirs = [0.81, 0.84, 0.79, 0.86], [0.80, 0.80, 0.78, 0.83]
    expected = stats.ttest_rel(ours, theirs)
    bounds = expected.confidence_interval(0.95)
    got = statistics.paired_difference(ours, theirs)
    assert got.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert (got.low, got.high) == pytest.approx((bounds.low, bounds.high), rel=1e-10)
    assert got.standard_deviation == pytest.approx(np.std(np.subtract(ours, theirs), ddof=1))


def test_only_pairs_that_both_completed_count():
    nan = math.nan
    got = statistics.paired_difference([0.9, nan, 0.7, 0.8], [0.8, 0.7, nan, 0.75])
    assert got.n == 2
    assert got.mean == pytest.approx(0.075)
    assert statistics.t_interval([0.9, nan, math.inf, 0.7]).n == 2


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_values_have_no_bounds(count):
    interval = statistics.t_interval([0.8] * count)
    difference = statistics.paired_difference([0.8] * count, [0.7] * count)
    assert interval.n == difference.n == count
    assert all(map(math.isnan, (interval.low, interval.high, difference.low, difference.p)))
    assert math.isnan(interval.mean) == (count == 0)


def test_no_spread_gives_the_limit_of_the_test():
    same = statistics.paired_difference([0.8, 0.7, 0.9], [0.8, 0.7, 0.9])
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    shifted = statistics.paired_difference([0.3, 0.4, 0.7], [0.2, 0.3, 0.6])  # equal up to rounding
    assert shifted.p == 0.0
    assert shifted.low == shifted.high == pytest.approx(0.1)
    constant = statistics.t_interval([0.1, 0.1, 0.1])
    assert constant.low == constant.high == pytest.approx(0.1)


def test_differences_of_rounding_size_are_no_difference():
    baseline = np.array([0.8, 0.7, 0.9])
    got = statistics.paired_difference(baseline * (1 + 5e-8), baseline)
    assert (got.mean, got.p) == (0.0, 1.0)


def test_pairs_must_match():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        statistics.paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])


@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=8),
    st.floats(1e-3, 0.999),
)
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, level):
    adjusted = statistics.holm(p_values)
    assert np.all(adjusted >= p_values)
    order = np.argsort(p_values, kind="stable")
    rejected = []
    for rank, index in enumerate(order):
        if p_values[index] * (len(p_values) - rank) > level:
            break
        rejected.append(index)
    assert set(np.flatnonzero(adjusted <= level)) == set(rejected)


def test_holm_leaves_out_what_was_not_tested():
    adjusted = statistics.holm([0.02, math.nan, 0.03])
    np.testing.assert_allclose(adjusted, [0.04, math.nan, 0.04])
    assert statistics.holm([]).size == 0


# Sample sizes of the two-sided paired t test at level .05 and power .8, from published tables.
@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_required_seeds_agree_with_published_tables(effect, n):
    assert statistics.required_seeds(1.0, effect) == n
    assert statistics.required_seeds(1.0, -effect) == n


def test_required_seeds_is_the_fewest():
    n = statistics.required_seeds(0.02, 0.013, power=0.9, significance=0.01)
    assert n is not None
    assert statistics.paired_power(n, 0.02, 0.013, 0.01) >= 0.9
    assert statistics.paired_power(n - 1, 0.02, 0.013, 0.01) < 0.9


def test_required_seeds_where_there_is_no_answer():
    assert statistics.required_seeds(0.01, 0.0) is None
    assert statistics.required_seeds(math.nan, 0.1) is None
    assert statistics.required_seeds(1.0, 1e-6) is None
    assert statistics.required_seeds(0.0, 0.1) == 2
    assert statistics.required_seeds(1e-12, 0.5) == 2


def test_intervals_hold_their_coverage_at_three_seeds():
    rng = np.random.default_rng(0)
    samples = rng.normal(0.8, 0.02, (3000, 3))
    intervals = [statistics.t_interval(sample) for sample in samples]
    covered = np.mean([i.low <= 0.8 <= i.high for i in intervals])
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 3000))


def test_equal_losses_are_seldom_told_apart():
    """The chance of any false verdict among nine equal losses stays near 5 %, whatever the seed."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(500):
        shared = rng.normal(0, 0.05, 3)
        scores = 0.8 + shared + rng.normal(0, 0.01, (10, 3))
        p = [statistics.paired_difference(s, scores[0]).p for s in scores[1:]]
        wrong += bool(np.any(statistics.holm(p) < 0.05))
    assert wrong / 500 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 500)


def test_folds_are_corrected_for_the_training_cases_they_share():
    ours, theirs = np.array([0.81, 0.84, 0.79, 0.86, 0.9]), np.array([0.80, 0.8, 0.78, 0.83, 0.84])
    d = ours - theirs
    t = d.mean() / math.sqrt((1 / 5 + 0.25) * d.var(ddof=1))
    got = statistics.paired_difference(ours, theirs, test_to_train=0.25)
    assert got.p == pytest.approx(2 * stats.t.sf(t, 4), rel=1e-10)
    plain = statistics.paired_difference(ours, theirs)
    assert got.high - got.low == pytest.approx((plain.high - plain.low) * math.sqrt(1 + 5 * 0.25))


def test_the_correction_restores_the_error_of_correlated_folds():
    rng = np.random.default_rng(2)
    correlation, runs = 0.2, 2000  # of 5 folds: test / (test + train)
    shared = rng.normal(0, math.sqrt(correlation), (runs, 1))
    folds = shared + rng.normal(0, math.sqrt(1 - correlation), (runs, 5))
    zero = np.zeros(5)

    def errors(ratio):
        p = [statistics.paired_difference(row, zero, test_to_train=ratio).p for row in folds]
        return np.mean(np.array(p) < 0.05)

    assert errors(None) > 0.10
    assert errors(0.25) == pytest.approx(0.05, abs=0.02)


def test_standings_name_what_the_numbers_support():
    rng = np.random.default_rng(3)
    base = 0.8 + rng.normal(0, 0.03, 8)
    noise = rng.normal(0, 0.004, (4, 8))
    few = np.full(8, math.nan)
    few[2] = 0.9
    scores = {
        "baseline": base,
        "higher": base + 0.05 + noise[0],
        "lower": base - 0.05 + noise[1],
        "equal": base + noise[2] - noise[2].mean() + 1e-3,
        "single": few,
        "absent": np.full(8, math.nan),
    }
    rows = statistics.standings(scores, "baseline", higher_is_better=True)
    assert {name: row.verdict for name, row in rows.items()} == {
        "baseline": statistics.BASELINE,
        "higher": statistics.BETTER,
        "lower": statistics.WORSE,
        "equal": statistics.NOT_TOLD_APART,
        "single": statistics.ONE_SEED,
        "absent": statistics.NO_PAIR,
    }
    assert rows["baseline"].difference is None
    assert rows["higher"].seeds_needed is None
    needed, d = rows["equal"].seeds_needed, rows["equal"].difference
    assert needed is not None
    assert d is not None
    assert needed > 8
    assert needed == statistics.required_seeds(d.standard_deviation, d.mean, significance=0.05 / 3)


def test_the_direction_turns_the_verdict_and_nothing_else():
    scores = {"a": [3.0, 3.1, 3.2], "b": [2.0, 2.12, 2.2], "c": [3.1, 3.0, 3.3]}
    up = statistics.standings(scores, "a", higher_is_better=True)
    down = statistics.standings(scores, "a", higher_is_better=False)
    assert (up["b"].verdict, down["b"].verdict) == (statistics.WORSE, statistics.BETTER)
    for name, row in up.items():
        verdict = {"verdict": down[name].verdict}
        assert repr(dataclasses.replace(row, **verdict)) == repr(down[name])
    assert up["c"].verdict == down["c"].verdict == statistics.NOT_TOLD_APART


def test_standings_do_not_ask_for_more_folds():
    scores = {"a": [0.8, 0.7, 0.9], "b": [0.81, 0.69, 0.92]}
    standings = functools.partial(statistics.standings, scores, "a", higher_is_better=True)
    assert standings()["b"].seeds_needed is not None
    assert standings(test_to_train=0.5)["b"].seeds_needed is None


def test_standings_need_their_baseline():
    with pytest.raises(ValueError, match=r"'c' is not among \['a', 'b'\]"):
        statistics.standings({"a": [0.1], "b": [0.2]}, "c", higher_is_better=True)
