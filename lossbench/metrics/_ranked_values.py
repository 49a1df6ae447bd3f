"""Ranking metrics as formulas of what lies above each threshold, with bounds for scores in bins.

Of a bin it is known what lies above it, T true and F false scores, and what lies in it, p and n.
The thresholds inside of it, in whatever order its scores are, have between T and T + p true
positives and between F and F + n false ones. Where all scores of a bin are equal it is exact.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt

from lossbench.metrics import _ranks
from lossbench.metrics._ranks import Between, Ranked
from lossbench.ops.sums import sum_pixels

ROUNDING = 2.0**-22


def one_class(ranks: Ranked) -> Bool[Array, " rows"]:
    """Rows without a positive or without a negative."""
    return (ranks.positives == 0) | (ranks.negatives == 0)


def average_precision(ranks: Ranked) -> Between:
    """`sum_k (R_k - R_(k-1)) P_k` over falling thresholds.

    The precision at a positive of a bin is at most that with all others of the bin and none of its
    negatives, `(T + p) / (T + p + F)`. If it is the i-th of them it is at least that with i of them
    and all negatives, `(T + i) / (T + i + F + n)`, which rises with i: so the sum over i = 1..p is
    at least the integral from 0 to p, `p - (F + n) log(1 + p / (T + F + n))`.
    """
    numbers = (ranks.tp, ranks.fp, ranks.tp_before, ranks.fp_before, ranks.tp_here)
    tp, fp, tp_before, fp_before, found = (x.astype(jnp.float32) for x in numbers)

    def over(predicted: Array) -> Float[Array, "rows n"]:
        return found * (tp / jnp.where(predicted > 0, predicted, 1))

    def mean(total: Array) -> Float[Array, " rows"]:
        total = sum_pixels(jnp.where(ranks.ends, total, 0))
        # Sums of weights are rounded.
        return jnp.clip(_ranks.share_of(total[:, None], ranks.positives)[:, 0], 0, 1)

    value = over((ranks.tp + ranks.fp).astype(jnp.float32))
    least = jnp.where(tp_before + fp > 0, tp_before + fp, 1)
    lower = jnp.where(ranks.equal, value, found - fp * jnp.log1p(found / least))
    upper = jnp.where(ranks.equal, value, over(tp + fp_before))
    return Between(mean(value), mean(lower), mean(upper))


def standardized(area: Float[Array, "..."], max_fpr: Float[Array, ""]) -> Float[Array, "..."]:
    """McClish's: the area up to a false positive rate, on a scale from chance, 0.5, to 1."""
    by_chance = max_fpr**2 / 2
    return (1 + (area - by_chance) / (max_fpr - by_chance)) / 2


def fpr_at_tpr(ranks: Ranked, tpr: Float[Array, ""]) -> Between:
    """`FP / N` at the highest threshold at which `TP / P` is enough.

    The first of all bins at which it is holds the first threshold of the scores at which it is,
    and that has between F and F + n false positives.
    """
    # A share that is met exactly is met, also where a quotient is rounded twice; and 1 is all.
    met = _ranks.share_of(ranks.tp, ranks.positives) >= tpr * (1 - ROUNDING)
    all_found = ranks.tp >= ranks.positives[:, None]
    enough = ranks.ends & (all_found | (met & (tpr < 1)))

    def least(fp: Shaped[Array, "rows n"]) -> Float[Array, " rows"]:
        return jnp.min(jnp.where(enough, _ranks.share_of(fp, ranks.negatives), 1), axis=1)

    value = least(ranks.fp)
    return Between(value, least(jnp.where(ranks.equal, ranks.fp, ranks.fp_before)), value)


def f1_max(ranks: Ranked) -> tuple[Between, Int[Array, " rows"]]:
    """The largest `2 TP / (TP + FP + P)`, and its place.

    The thresholds are some of those of the scores, so the largest over all is not below. It is not
    above that with all positives of a bin and none of its negatives.
    """
    tp, fp, true = (x.astype(jnp.float32) for x in (ranks.tp, ranks.fp, ranks.positives))
    before = jnp.where(ranks.equal, fp, ranks.fp_before.astype(jnp.float32))

    def f1(fp: Float[Array, "rows n"]) -> Float[Array, "rows n"]:
        whole = tp + fp + true[:, None]
        return jnp.where(ranks.ends, 2 * tp / jnp.where(whole > 0, whole, 1), -1)

    value = f1(fp)
    best = jnp.argmax(value, axis=1)
    largest = jnp.take_along_axis(value, best[:, None], axis=1)[:, 0]
    return Between(largest, largest, jnp.max(f1(before), axis=1)), best


def threshold_between(above: UInt[Array, " rows"], below: UInt[Array, " rows"]) -> Array:
    """The middle of two scores, given their keys, or that above if none is below or in between."""
    upper, lower = _ranks.scores_of(above), _ranks.scores_of(below)
    middle = lower / 2 + upper / 2
    # Not so where there is none below, which is NaN, nor where the middle is rounded down to it.
    return jnp.where(middle > lower, middle, upper)
