"""How surely one loss differs from another, and how many seeds would settle it.

Everything works on one number per training seed. A seed that did not complete is NaN. Losses share
split, initialization and batch order within a seed, so differences are taken seed by seed: the
shared part cancels.

With folds in place of seeds the training sets overlap, the scores are correlated, and the plain t
interval is too narrow. `test_to_train` (test cases / training cases) switches on the correction of
Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52 (2003): the
variance of the mean is `(1/n + test/train) s^2`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

SIGNIFICANCE = 0.05
BASELINE = "baseline"
BETTER = "better"
WORSE = "worse"
NOT_TOLD_APART = "not told apart"
ONE_SEED = "one seed: no interval"
NO_PAIR = "no pair of completed runs"
UNDEFINED = "undefined in every pair"

# Scores come from float32 sums: a difference below this share of the scores is rounding, not a
# measurement.
RESOLUTION = float(np.finfo(np.float32).eps)

Values = Sequence[float] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over seeds with its bounds: NaN bounds where `n` < 2, NaN mean where `n` = 0."""

    mean: float
    low: float
    high: float
    n: int


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """Mean of `value - baseline` over the `n` seeds that have both.

    `p` is two-sided, of the paired t test. `standard_deviation` is that of the differences, 0 where
    they are all equal; then the interval is a point and `p` is the limit of the test: 1 for no
    difference, 0 for any other.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    standard_deviation: float


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where one loss stands: its own interval and its difference to the baseline.

    `seeds_needed` is the number of seeds at which a true difference as large as the observed one
    would be found with a power of 80 %; None where the question does not arise or has no answer.
    """

    interval: Interval
    difference: PairedDifference | None
    p_holm: float
    verdict: str
    seeds_needed: int | None


def t_interval(
    values: Values, confidence: float = 0.95, test_to_train: float | None = None
) -> Interval:
    """Student's t interval for the mean over seeds.

    Args:
        values: one score per seed; those that are not finite are left out.
        confidence: share of repetitions whose interval holds the true mean.
        test_to_train: test cases / training cases when the seeds are folds, else None.

    Returns:
        The interval over the finite values. Equal values give an interval of no width.

    >>> t_interval([0.80, 0.82, 0.84])
    Interval(mean=0.82..., low=0.770..., high=0.869..., n=3)
    """
    kept = _finite(values)
    if kept.size == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(kept.mean())
    if kept.size == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = _quantile(confidence, kept.size) * _standard_error(
        _spread(kept, _scale(kept)), kept.size, test_to_train
    )
    return Interval(mean, mean - half, mean + half, int(kept.size))


def paired_difference(
    values: Values,
    baseline_values: Values,
    confidence: float = 0.95,
    test_to_train: float | None = None,
) -> PairedDifference:
    """Mean difference to the baseline over the seeds that both completed.

    Args:
        values: one score per seed.
        baseline_values: the baseline's scores, in the same order of seeds.
        confidence: of the interval.
        test_to_train: test cases / training cases when the seeds are folds, else None.

    Returns:
        The difference. One pair gives a mean without bounds or p; no pair gives NaN throughout.
    """
    ours, theirs = np.asarray(values, np.float64), np.asarray(baseline_values, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(
            "paired_difference: values and baseline_values must be vectors over the same seeds, "
            f"got shapes {ours.shape} and {theirs.shape}"
        )
    both = np.isfinite(ours) & np.isfinite(theirs)
    scale = max(_scale(ours[both]), _scale(theirs[both]))
    differences = ours[both] - theirs[both]
    differences[np.abs(differences) <= RESOLUTION * scale] = 0.0
    n = int(differences.size)
    if n == 0:
        return PairedDifference(math.nan, math.nan, math.nan, math.nan, 0, math.nan)
    mean = float(differences.mean())
    if n == 1:
        return PairedDifference(mean, math.nan, math.nan, math.nan, 1, math.nan)
    spread = _spread(differences, scale)
    error = _standard_error(spread, n, test_to_train)
    half = _quantile(confidence, n) * error
    limit = 1.0 if mean == 0 else 0.0  # of the test as the spread goes to 0
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else limit
    return PairedDifference(mean, mean - half, mean + half, p, n, spread)


def holm(p_values: Values) -> np.ndarray:
    """Holm's step-down adjustment: all comparisons together err at the level of one.

    Args:
        p_values: one per comparison. NaN marks a comparison that could not be made: it stays NaN
            and is not counted.

    Returns:
        Adjusted values in the order given, at most 1.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = (order.size - np.arange(order.size)) * p[order]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def paired_power(
    n: int, standard_deviation: float, effect: float, significance: float = SIGNIFICANCE
) -> float:
    """Chance that a paired t test on `n` seeds finds a true mean difference `effect`."""
    # Beyond 1e4 the power is 1 at any level in use, and the noncentral distribution turns NaN.
    noncentrality = min(abs(effect) / standard_deviation * math.sqrt(n), 1e4)
    critical = stats.t.isf(significance / 2, n - 1)
    upper = stats.nct.sf(critical, n - 1, noncentrality)
    lower = stats.nct.cdf(-critical, n - 1, noncentrality)
    return float(upper + lower)


def required_seeds(
    standard_deviation: float,
    effect: float,
    power: float = 0.8,
    significance: float = SIGNIFICANCE,
    limit: int = 100_000,
) -> int | None:
    """Fewest seeds at which the paired t test finds a true difference with the given power.

    Args:
        standard_deviation: of the differences between two losses, seed by seed.
        effect: the true mean difference to be found, of either sign.
        power: chance of finding it.
        significance: level of the two-sided test; divide it by the number of comparisons when there
            are several.
        limit: give up above this many.

    Returns:
        A number of at least 2, or None where no number up to `limit` suffices (an effect of 0, say)
        or an argument is NaN.

    >>> required_seeds(standard_deviation=0.01, effect=0.01)
    10
    """
    if not (math.isfinite(standard_deviation) and math.isfinite(effect)) or effect == 0:
        return None
    if standard_deviation == 0:
        return 2

    def suffices(n: int) -> bool:
        return paired_power(n, standard_deviation, effect, significance) >= power

    high = 2
    while not suffices(high):
        high *= 2
        if high > limit:
            return None
    low = high // 2  # does not suffice, or is 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def verdict(
    difference: PairedDifference,
    p_adjusted: float,
    significance: float = SIGNIFICANCE,
    *,
    higher_is_better: bool,
) -> str:
    """What may be said of a loss beside the baseline, for a metric with this direction."""
    if difference.n == 0:
        return NO_PAIR
    if difference.n == 1:
        return ONE_SEED
    if not p_adjusted < significance:
        return NOT_TOLD_APART
    return BETTER if (difference.mean > 0) == higher_is_better else WORSE


def standings(
    scores: Mapping[str, Values],
    baseline: str,
    confidence: float = 0.95,
    test_to_train: float | None = None,
    *,
    higher_is_better: bool,
) -> dict[str, Standing]:
    """Compare every loss with the baseline, with Holm's adjustment over all that have a test.

    Args:
        scores: for each loss one score per seed, NaN where the run did not complete; the same seeds
            for all.
        baseline: the loss that the others are compared with.
        confidence: of the intervals; the tests are at the level `1 - confidence`.
        test_to_train: test cases / training cases when the seeds are folds, else None.
        higher_is_better: which way the scores are better; nothing but the verdict depends on it.
    """
    if baseline not in scores:
        raise ValueError(f"standings: the baseline {baseline!r} is not among {list(scores)}")
    others = [name for name in scores if name != baseline]
    differences = {
        name: paired_difference(scores[name], scores[baseline], confidence, test_to_train)
        for name in others
    }
    adjusted = dict(zip(others, holm([differences[name].p for name in others]), strict=True))
    level = (1 - confidence) / max(1, int(np.isfinite(list(adjusted.values())).sum()))

    def standing(name: str) -> Standing:
        interval = t_interval(scores[name], confidence, test_to_train)
        if name == baseline:
            return Standing(interval, None, math.nan, BASELINE, None)
        difference, p = differences[name], float(adjusted[name])
        said = verdict(difference, p, 1 - confidence, higher_is_better=higher_is_better)
        # More folds of the same data are not more seeds: the correlation between them stays.
        open_question = said == NOT_TOLD_APART and test_to_train is None
        needed = (
            required_seeds(difference.standard_deviation, difference.mean, significance=level)
            if open_question
            else None
        )
        return Standing(interval, difference, p, said, needed)

    return {name: standing(name) for name in scores}


def _finite(values: Values) -> np.ndarray:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def _scale(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))


def _spread(values: np.ndarray, scale: float) -> float:
    """Standard deviation with n - 1, and 0 where it is no more than rounding."""
    deviation = float(values.std(ddof=1))
    return deviation if deviation > RESOLUTION * scale else 0.0


def _standard_error(spread: float, n: int, test_to_train: float | None) -> float:
    return spread * math.sqrt(1 / n + (test_to_train or 0.0))


def _quantile(confidence: float, n: int) -> float:
    return float(stats.t.ppf((1 + confidence) / 2, n - 1))
