"""Pairs of spectra that are hard to compare, and their similarities by the papers, in float64."""

import numpy as np
from scipy import stats

PEAKS = 40


def examples(seed=0):
    """Predicted and observed spectra (float32), and which places count; by name, one row each."""
    rng = np.random.default_rng(seed)
    sparse = lambda: rng.exponential(size=PEAKS) ** 3 * (rng.random(PEAKS) < 0.4)  # noqa: E731
    first, noise = sparse(), rng.normal(size=PEAKS)
    one = np.zeros(PEAKS)
    one[3] = 7.0
    other = np.roll(one, 1)
    ramp = np.arange(PEAKS)
    pairs = {
        "random": (sparse(), sparse()),
        "alike": (first * np.exp(0.1 * noise), first),
        "the same": (first, first),
        "in proportion": (first, 3e4 * first),
        "nearly the same": (first + 1e-4 * (ramp == 5), first),
        "one peak": (one, one),
        "no peak in common": (one, other),
        "many peaks": (1 + 0.1 * noise, 2 + 0.1 * np.roll(noise, 3)),  # entropy above 3
        "one of many": (one, 1 + 0.1 * noise),
        "large": (1e37 * first / first.max(), 3e38 * sparse() / 60),
        "small": (1e-30 * first, 1e-25 * sparse()),
        "signed": (noise, np.roll(noise, 1) + first),
        "opposite": (noise, -noise),
        "far from 0": (1000 + 0.25 * ramp, 1000 + 0.25 * np.roll(ramp, 2)),
        "nothing predicted": (0 * one, first),
        "nothing observed": (first, 0 * one),
        "nothing at all": (0 * one, 0 * one),
        "constant": (1 + 0 * one, first),
        "one place counts": (first + 1, first + 2),
        "no place counts": (first, first),
    }
    rows = [np.asarray(pair, np.float32) for pair in pairs.values()]
    predicted, observed = np.stack(rows, axis=1)
    names = list(pairs)
    where = rng.random(predicted.shape) < 0.8
    where[:, 3:5] = True
    where[names.index("one place counts")] = ramp == 5
    where[names.index("no place counts")] = False
    return names, predicted, observed, where


def cosine(p, o):
    length = np.linalg.norm(p) * np.linalg.norm(o)
    return p @ o / length if length else np.nan


def angle(p, o):
    """By the law of cosines for the chord, which keeps its digits; not as the library has it."""
    if not (p.any() and o.any()):
        return np.nan
    chord = np.linalg.norm(p / np.linalg.norm(p) - o / np.linalg.norm(o))
    return 2 * np.arcsin(min(chord / 2, 1))


def normalized_angle(p, o):
    return 1 - 2 * angle(p, o) / np.pi


def entropy_similarity(p, o, weighted=True):
    """Of Li et al. 2021, as they write it, with SciPy's entropy."""
    if (p < 0).any() or (o < 0).any() or not (p.any() and o.any()):
        return np.nan

    def shares(x):
        entropy = stats.entropy(x)
        x = x ** (0.25 + 0.25 * entropy) if weighted and entropy < 3 else x
        return x / x.sum()

    p, o = shares(p), shares(o)
    mixed = stats.entropy((p + o) / 2)
    return 1 - (2 * mixed - stats.entropy(p) - stats.entropy(o)) / np.log(4)


def pearson(p, o):
    if len(p) < 2 or np.ptp(p) == 0 or np.ptp(o) == 0:
        return np.nan
    return stats.pearsonr(p, o).statistic


def matched_peak_share(p, o, threshold=0.01):
    found, true = (x > threshold * max(x, default=0) for x in (p, o))
    found, true = found & (p > 0), true & (o > 0)
    return (found & true).sum() / true.sum() if true.any() else np.nan


def of_rows(function, predicted, observed, where, **options):
    """The value of each row, of the places that count."""
    rows = zip(np.float64(predicted), np.float64(observed), where, strict=True)
    return np.array([function(p[w], o[w], **options) for p, o, w in rows])
