"""Scores in falling order and what lies above each threshold: what every ranking metric sums.

A float is sorted as an integer in the same order, which XLA's CPU backend does six times faster,
and with its label in the lowest bit, since carrying an array along costs as much again.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped, UInt

from lossbench import _checks
from lossbench.metrics._bits import up_to
from lossbench.ops.sums import sum_pixels


class Ranked(NamedTuple):
    """Each row in falling order of its scores; `score >= threshold` is predicted true.

    A threshold is the lowest score that it predicts, so there is one for every distinct score: the
    last place of it among equal scores, where `ends` is true. Only there do the others mean it.

    Attributes:
        keys: in rising order, equal where scores are (see `keys_of`); what does not count is last.
        ends: the thresholds.
        tp: true positives: counts (int32), or sums of weights; rises along the row.
        fp: false positives, likewise.
        tp_before: those at the threshold before, which is the next higher; 0 for the first.
        fp_before: likewise.
        tp_here: those at this threshold alone, exact where their difference is rounded.
        fp_here: likewise.
        equal: whether all scores of a threshold are the same: so they are where scores were
            sorted, but not in the bins of a histogram.
        positives: all that are labeled true.
        negatives: all that are labeled false.
    """

    keys: UInt[Array, "rows n"]
    ends: Bool[Array, "rows n"]
    tp: Shaped[Array, "rows n"]
    fp: Shaped[Array, "rows n"]
    tp_before: Shaped[Array, "rows n"]
    fp_before: Shaped[Array, "rows n"]
    tp_here: Shaped[Array, "rows n"]
    fp_here: Shaped[Array, "rows n"]
    equal: Bool[Array, "rows n"]
    positives: Shaped[Array, " rows"]
    negatives: Shaped[Array, " rows"]


class Between(NamedTuple):
    """A metric, and what it lies between for scores of which only the bins are known.

    Attributes:
        value: that of the thresholds, as if all scores between two of them were the same.
        lower: at most that of the scores themselves, in whatever order they are in their bins.
        upper: at least that.
    """

    value: Float[Array, " rows"]
    lower: Float[Array, " rows"]
    upper: Float[Array, " rows"]


def check_scores(
    scores: Array, labels: Array, where: Array | None = None, weights: Array | None = None
) -> None:
    """Raises unless these are raw scores with a mask of the truth, of one shape."""
    _checks.floating(scores=scores)
    if labels.dtype != jnp.bool_:
        raise ValueError(
            f"labels: expected a mask (bool, true = positive), got {labels.dtype}; of class ids "
            "take `ids == c`"
        )
    _checks.shape("labels", labels, scores.shape, "the shape of scores")
    if scores.ndim == 0 or scores.size == 0:
        raise ValueError(f"scores: expected shape (batch, *space), not empty, got {scores.shape}")
    _checks.where(where, scores.shape, "the shape of scores")
    if weights is not None:
        _checks.floating(weights=weights)
        _checks.shape("weights", weights, scores.shape, "the shape of scores")
        _checks.value(jnp.all(weights >= 0), "weights: a weight is negative or NaN")


def check_rankings(
    scores: Array, labels: Array, where: Array | None = None, weights: Array | None = None
) -> None:
    """Raises unless there is a ranking in each example; that of one score says nothing."""
    check_scores(scores, labels, where, weights)
    if scores.ndim == 1:
        raise ValueError(
            f"scores: expected shape (batch, *space) with an axis to rank along, got "
            f"{scores.shape}; to rank all of them make them one example: scores[None], labels[None]"
        )


def check_share(name: str, value: float | int | Array) -> None:
    """Raises unless a number is a share; one that is traced is not known yet."""
    if isinstance(value, float | int) and not 0 < value <= 1:
        raise ValueError(f"{name}: expected above 0 to 1, got {value}")


def of_examples(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    where: Bool[Array, " batch *space"] | None,
    weights: Float[Array, " batch *space"] | None,
) -> tuple[Ranked, Bool[Array, " batch"]]:
    """The scores of each example in order, and the examples that have none, having a NaN."""
    flat = lambda x: None if x is None else x.reshape(len(scores), -1)  # noqa: E731
    rows, weights = scores.reshape(len(scores), -1), flat(weights)
    counted, unordered = counted_of(rows, flat(where), weights)
    return ranked(rows, labels.reshape(rows.shape), counted, weights), unordered


def counted_of(
    scores: Float[Array, "rows n"], where: Array | None, weights: Array | None
) -> tuple[Bool[Array, "rows n"], Bool[Array, " rows"]]:
    """What counts, and the rows in which a score that counts is NaN: these have no order."""
    counted = jnp.ones(scores.shape, bool) if where is None else where
    if weights is not None:
        counted &= weights > 0
    no_number = jnp.isnan(scores)
    return counted & ~no_number, jnp.any(counted & no_number, axis=1)


def ranked(
    scores: Float[Array, "rows n"],
    labels: Bool[Array, "rows n"],
    counted: Bool[Array, "rows n"],
    weights: Float[Array, "rows n"] | None,
) -> Ranked:
    """Sorts each row, with its labels and weights."""
    keys = keys_of(scores)
    if weights is None:
        keys, labels = _sorted_with_labels(keys, labels, counted)
        ends = ends_of(keys)
        tp, tp_before, before = up_to(labels, ends)
        fp, fp_before = places(keys, counted) - tp, before - tp_before
        return _of_sorted(keys, ends, tp, fp, tp_before, fp_before)
    weights = weights.astype(_checks.compute_dtype(weights))
    keys, signed = sorted_with(keys, jnp.where(labels, weights, -weights), counted)
    zero = jnp.zeros((), signed.dtype)
    return summed(keys, running(jnp.maximum(signed, zero)), running(jnp.maximum(-signed, zero)))


def summed(
    keys: UInt[Array, "rows n"], tp: Shaped[Array, "rows n"], fp: Shaped[Array, "rows n"]
) -> Ranked:
    """Keys in rising order, with what is true and false up to each place, in any numbers."""
    ends = ends_of(keys)

    def before(x: Array) -> Array:
        # They rise, so the largest of the thresholds before is that of the last one.
        x = lax.cummax(jnp.where(ends, x, 0), axis=1)
        return jnp.pad(x[:, :-1], ((0, 0), (1, 0)))

    return _of_sorted(keys, ends, tp, fp, before(tp), before(fp))


def _of_sorted(
    keys: Array, ends: Array, tp: Array, fp: Array, tp_before: Array, fp_before: Array
) -> Ranked:
    return Ranked(
        keys,
        ends,
        tp,
        fp,
        tp_before,
        fp_before,
        # Differences of counts are exact, however large these are.
        tp_here=tp - tp_before,
        fp_here=fp - fp_before,
        equal=jnp.ones(ends.shape, bool),
        positives=tp[:, -1],
        negatives=fp[:, -1],
    )


def ends_of(keys: UInt[Array, "rows n"]) -> Bool[Array, "rows n"]:
    """The last of each of several equal keys."""
    return (keys != after(keys)) & (keys != _last(keys.dtype))


def places(keys: UInt[Array, "rows n"], counted: Bool[Array, "rows n"]) -> Shaped[Array, "rows n"]:
    """How many there are up to each place, of those that count."""
    place = lax.broadcasted_iota(jnp.int32, keys.shape, 1) + 1
    return jnp.minimum(place, jnp.sum(counted, axis=1, keepdims=True, dtype=jnp.int32))


def running(x: Float[Array, "rows n"]) -> Float[Array, "rows n"]:
    """The sum up to each place, of values at least 0.

    It never falls, and stays the same where 0 is added, though sums are rounded.
    """
    return lax.cummax(jnp.where(x > 0, jnp.cumsum(x, axis=1), 0), axis=1)


def area(ranks: Ranked, limit: float | int | Float[Array, ""] = 1.0) -> Float[Array, " rows"]:
    """Area under true against false positives, as shares, up to the share `limit` of the latter.

    Straight between two thresholds: of two equal scores, one true and one false, half is right.
    """
    return areas(ranks, limit).value


def areas(ranks: Ranked, limit: float | int | Float[Array, ""] = 1.0) -> Between:
    """The area, and that under the lowest and the highest curve that rises from point to point.

    One goes along first and then up, as where all false scores of a bin are above the true ones;
    the other goes up first.
    """
    numbers = (ranks.tp_before, ranks.fp_before, ranks.tp_here, ranks.fp_here)
    tp, fp, up, along = (x.astype(jnp.float32) for x in numbers)
    positives, negatives = (_nonzero(x)[:, None] for x in (ranks.positives, ranks.negatives))
    limit = jnp.float32(limit)
    within = jnp.clip(limit * negatives - fp, 0, along)
    share = within / jnp.where(along > 0, along, 1)

    def under(above: Array) -> Float[Array, " rows"]:
        height = _over(tp + above, positives)
        total = sum_pixels(jnp.where(ranks.ends, within * height, 0)) / negatives[:, 0]
        # Sums of weights are rounded.
        return jnp.minimum(total, limit)

    straight = up * share / 2
    lower, upper = (jnp.where(ranks.equal, straight, x) for x in (jnp.zeros_like(up), up))
    return Between(under(straight), under(lower), under(upper))


def share_of(part: Shaped[Array, "rows n"], whole: Shaped[Array, " rows"]) -> Array:
    """The share of a total, which is 0 where there is nothing, and 1 of all there is."""
    return _over(part.astype(jnp.float32), _nonzero(whole)[:, None])


def after(keys: UInt[Array, "rows n"]) -> UInt[Array, "rows n"]:
    """The key one place on; after the last, that of what does not count."""
    end = jnp.full((len(keys), 1), _last(keys.dtype))
    return jnp.concatenate([keys[:, 1:], end], axis=1)


def keys_of(scores: Float[Array, "rows n"]) -> UInt[Array, "rows n"]:
    """Integers in falling order of the scores; -0 is 0, and no number has the largest integer.

    By the bits alone: a comparison of floats may take the smallest ones for 0.
    """
    scores = scores.astype(_checks.compute_dtype(scores))
    wide = scores.dtype == jnp.float64
    bits = lax.bitcast_convert_type(scores, jnp.uint64 if wide else jnp.uint32)
    keys = _mirrored(bits)
    zero = _zero(bits.dtype)
    return jnp.where(bits == zero + 1, zero, keys)


def scores_of(keys: UInt[Array, "..."]) -> Float[Array, "..."]:
    """The scores that have these keys; NaN for what does not count."""
    wide = keys.dtype == jnp.uint64
    return lax.bitcast_convert_type(_mirrored(keys), jnp.float64 if wide else jnp.float32)


def sorted_with(
    keys: UInt[Array, "rows n"], values: Shaped[Array, "rows n"], counted: Bool[Array, "rows n"]
) -> tuple[UInt[Array, "rows n"], Shaped[Array, "rows n"]]:
    """Keys in rising order, each with its value; what does not count is last and 0."""
    keys = jnp.where(counted, keys, _last(keys.dtype))
    values = jnp.where(counted, values, jnp.zeros((), values.dtype))
    keys, values = lax.sort((keys, values), dimension=1, num_keys=1, is_stable=False)
    return keys, values


def _sorted_with_labels(
    keys: Array, labels: Array, counted: Array
) -> tuple[UInt[Array, "rows n"], Bool[Array, "rows n"]]:
    """Keys in rising order, each with its label; in one sort of integers where these leave a bit.

    32 bits of key and one of label do not fit, but scores do not use all keys: between the least
    positive and the largest negative one is a gap, which holds most numbers that a float can be.
    Without it the scores of each row must span less than half of all keys. They do if none is
    negative, or if the largest in size is below 2^128 times the smallest but 0.
    """
    if keys.dtype == jnp.uint64:
        return sorted_with(keys, labels, counted)
    last, zero = _last(keys.dtype), _zero(keys.dtype)

    def least(mask: Array) -> Array:
        return jnp.min(jnp.where(mask, keys, last), axis=1, keepdims=True)

    def most(mask: Array) -> Array:
        return jnp.max(jnp.where(mask, keys, 0), axis=1, keepdims=True)

    first = least(counted)
    edge = jnp.maximum(most(counted & (keys <= zero)), first)
    gap = least(counted & (keys > zero)) - edge - 1
    shifted = lambda x: jnp.where(x > zero, x - gap, x) - first  # noqa: E731
    # The largest of 31 bits is left for what does not count.
    fits = jnp.all(shifted(most(counted)) < zero)

    def packed(keys: Array, labels: Array) -> tuple[Array, Array]:
        both = shifted(keys) * 2 + labels.astype(keys.dtype)
        both = lax.sort(jnp.where(counted, both, last - 1), dimension=1, is_stable=False)
        short = both // 2
        back = short + first
        back = jnp.where(short > edge - first, back + gap, back)
        return jnp.where(short == zero, last, back), both % 2 == 1

    return lax.cond(fits, packed, lambda a, b: sorted_with(a, b, counted), keys, labels)


def _mirrored(bits: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """From the bits of a float to its key, or back; the two differ for -0 alone."""
    zero = _zero(bits.dtype)
    return jnp.where(bits <= zero, zero - bits, bits)


def _last(dtype: jnp.dtype) -> UInt[Array, ""]:
    """The largest integer."""
    return jnp.array(jnp.iinfo(dtype).max, dtype)


def _zero(dtype: jnp.dtype) -> UInt[Array, ""]:
    """The key of 0: that of every positive score is below, of every negative one above."""
    return _last(dtype) // 2


def _over(part: Float[Array, "rows n"], whole: Float[Array, "rows 1"]) -> Float[Array, "rows n"]:
    """A quotient of numbers at least 0, rounded once.

    XLA divides by one number a row with its reciprocal, by which 107 / 107 is less than 1; so there
    is one for each place here.
    """
    return part / jnp.where(part > 0, whole, 1)


def _nonzero(total: Shaped[Array, " rows"]) -> Float[Array, " rows"]:
    total = total.astype(jnp.float32)
    return jnp.where(total > 0, total, 1)
