import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench.metrics import _ranks
from lossbench.metrics._histogram import ScoreHistogram
from tests.metrics import rankings

BINS = 16
NAMES, SCORES, LABELS, WHERE, WEIGHTS = rankings.examples()
# No sum of weights is rounded, whatever the largest is.
WEIGHTS = np.where(WEIGHTS > 0, WEIGHTS + 2.0**-20, 0).astype(np.float32)
ZERO = 2**31 - 1  # the key of 0
PIECE = 8  # scores of a batch, padding included


def keys_of(scores):
    """Integers in falling order of the scores."""
    bits = np.asarray(scores, np.float32).view(np.uint32).astype(np.int64)
    return np.where(bits < 2**31, ZERO - bits, np.where(bits == 2**31, ZERO, bits))


def cells_of(scores, kinds, weights, bins=BINS):
    """What each bin holds, from its definition: {(least key, largest key): sums of two kinds}."""
    keys, found = keys_of(scores), {}
    if (zeros := (keys == ZERO) & (weights > 0)).any():
        found[ZERO, ZERO] = np.array([weights[zeros & (kinds == kind)].sum() for kind in (0, 1)])
    for side in (keys < ZERO, keys > ZERO):
        side = side & (weights > 0)
        if not side.any():
            continue
        least, largest = keys[side].min(), keys[side].max()
        level = next(i for i in range(32) if (largest >> i) - (least >> i) < bins // 2)
        below = 2**level - 1
        in_all = np.bitwise_and.reduce(keys[side]) & below
        in_any = np.bitwise_or.reduce(keys[side]) & below
        for key, kind, weight in zip(keys[side], kinds[side], weights[side], strict=True):
            first = key >> level << level
            cell = max(first | in_all, least), min(first | in_any, largest)
            assert cell[0] <= key <= cell[1]
            found.setdefault(cell, np.zeros(2))[int(kind)] += weight
    return found


def cells_in(histogram):
    """The same of a histogram."""
    cells = jax.device_get(histogram.cells())
    sums = cells.sums.high.astype(np.float64) + cells.sums.low
    used = np.flatnonzero(cells.used)
    assert (np.delete(sums, used, axis=1) == 0).all()
    highest, lowest = (x[used].astype(np.int64) for x in (cells.highest, cells.lowest))
    assert (np.diff(highest) > 0).all()
    assert (np.diff(lowest) > 0).all()
    return {(a, b): sums[:, i] for a, b, i in zip(highest, lowest, used, strict=True)}


@jax.jit
def add(histogram, scores, kinds, where, weights):
    return histogram.add(scores, kinds, where=where, weights=weights)


@jax.jit
def count(histogram, scores, kinds, where):
    return histogram.add(scores, kinds, where=where)


merge = jax.jit(lambda a, b: a.merge(b))
ranks_of = jax.jit(lambda histogram: histogram.ranked())
exact_ranks = jax.jit(lambda *x: _ranks.ranked(*x, None))


def whole(row, weights=None):
    """A histogram of one row of examples at once."""
    given = (jnp.asarray(x[row]) for x in (SCORES, LABELS, WHERE))
    start = ScoreHistogram.empty(bins=BINS)
    return count(start, *given) if weights is None else add(start, *given, weights)


@pytest.mark.parametrize("row", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
def test_every_score_is_in_its_bin(row, weighted):
    weights = WHERE[row] * (WEIGHTS[row].astype(np.float64) if weighted else 1.0)
    found = cells_in(whole(row, jnp.asarray(WEIGHTS[row]) if weighted else None))
    wanted = cells_of(SCORES[row], LABELS[row], weights)
    assert found.keys() == wanted.keys()
    for cell, sums in found.items():
        np.testing.assert_allclose(sums, wanted[cell], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    row=st.integers(0, len(NAMES) - 1),
    order=st.permutations(range(rankings.COUNT)),
    cuts=st.lists(st.integers(0, rankings.COUNT), max_size=4),
    tree=st.randoms(use_true_random=False),
    weighted=st.booleans(),
)
def test_order_batches_padding_and_merging_change_no_bit(row, order, cuts, tree, weighted):
    states = []
    for piece in np.split(np.array(order), sorted(cuts)):
        state = ScoreHistogram.empty(bins=BINS)
        for begin in range(0, len(piece), PIECE):
            part = piece[begin : begin + PIECE]
            fill = lambda x, value: jnp.asarray(  # noqa: E731
                np.concatenate([x[row, part], np.full(PIECE - len(part), value, x.dtype)])  # noqa: B023
            )
            batch = fill(SCORES, np.nan), fill(LABELS, True), fill(WHERE, False)
            state = add(state, *batch, fill(WEIGHTS, 1)) if weighted else count(state, *batch)
        states.append(state)
    while len(states) > 1:
        first, second = (states.pop(tree.randrange(len(states))) for _ in range(2))
        states.append(merge(first, second))
    chex.assert_trees_all_equal(states[0], whole(row, WEIGHTS[row] if weighted else None))


def test_ranks_are_those_of_scores_rounded_to_the_ends_of_their_bins():
    for row, name in enumerate(NAMES):
        histogram = whole(row)
        cells = np.array(list(cells_in(histogram)), np.int64).reshape(-1, 2)
        keys = keys_of(SCORES[row])
        rounded = SCORES[row].copy()
        for highest, lowest in cells:
            inside = (keys >= highest) & (keys <= lowest)
            rounded[inside] = np.asarray(_ranks.scores_of(jnp.uint32(lowest)))
        given = (jnp.asarray(x)[None] for x in (rounded, LABELS[row], WHERE[row]))
        wanted, found = jax.device_get((exact_ranks(*given), ranks_of(histogram)))
        ends, used = wanted.ends[0], found.ends[0]
        for field in ("keys", "tp", "fp", "tp_before", "fp_before", "tp_here", "fp_here"):
            a, b = getattr(wanted, field)[0, ends], getattr(found, field)[0, used]
            np.testing.assert_array_equal(a, b, err_msg=f"{name} {field}")
        assert wanted.positives == found.positives
        assert wanted.negatives == found.negatives
        equal = [len(set(SCORES[row][(keys >= a) & (keys <= b)].tolist())) == 1 for a, b in cells]
        assert np.all(np.array(equal)[found.equal[0, used]])


def test_few_scores_have_a_bin_each():
    """Integers and scores of half precision: they are known, however wide the bins are."""
    numbers = jnp.arange(-500.0, 500)
    half = jax.random.normal(jax.random.key(0), (1000,), jnp.bfloat16)
    for scores in (numbers, half.astype(jnp.float32)):
        cells = cells_in(ScoreHistogram.empty().add(scores, scores > 300))
        wanted = np.unique(keys_of(scores))
        np.testing.assert_array_equal(list(cells), np.stack([wanted, wanted], 1))


def test_scores_with_few_bits_have_a_bin_each():
    every = np.arange(2**16, dtype=np.uint32)
    half = every.astype(np.uint16).view(np.float16).astype(np.float32)
    normal = np.isfinite(half) & ((abs(half) >= 2.0**-14) | (half == 0))
    bfloat16 = (every << 16).view(np.float32)
    for scores in (np.arange(-4096, 4097), half[normal], bfloat16[~np.isnan(bfloat16)]):
        scores = jnp.asarray(scores, jnp.float32)
        cells = ScoreHistogram.empty().add(scores, jnp.zeros(scores.shape, bool)).cells()
        assert (cells.highest == cells.lowest)[cells.used].all()
        assert cells.used.sum() == len(np.unique(scores))


def test_counts_go_on_past_2_to_the_24_and_past_int32():
    histogram = ScoreHistogram.empty(bins=4)
    batch = jnp.full((1000,), 0.5), jnp.zeros((1000,), bool), jnp.ones((1000,), bool)
    step = count(histogram, *batch)
    for _ in range(25):  # 2^25 thousand
        step = merge(step, step)
    step = count(step, batch[0][:1], batch[1][:1], batch[2][:1])
    (sums,) = cells_in(step).values()
    assert sums[0] == 1000 * 2**25 + 1


def test_nan_is_remembered_only_where_it_counts():
    scores, kinds = jnp.array([1.0, jnp.nan]), jnp.array([False, True])
    scores, kinds = (jnp.repeat(x, 12) for x in (scores, kinds))  # of the length of the examples
    numbers, empty = ~jnp.isnan(scores), ScoreHistogram.empty(bins=BINS)
    assert not empty.unordered
    masked = count(empty, scores, kinds, numbers)
    assert not masked.unordered
    assert not add(empty, scores, kinds, ~numbers | True, numbers * 1.0).unordered
    seen = count(empty, scores, kinds, numbers | True)
    assert seen.unordered
    assert merge(empty, seen).unordered
    np.testing.assert_equal(cells_in(seen), cells_in(masked))


def test_nan_under_the_mask_reaches_no_weight():
    given = [jnp.asarray(x[0]) for x in (SCORES, LABELS, WHERE, WEIGHTS)]
    broken = [jnp.where(given[2], x, jnp.nan) for x in (given[0], given[3])]
    empty = ScoreHistogram.empty(bins=BINS)
    chex.assert_trees_all_equal(add(empty, broken[0], *given[1:3], broken[1]), add(empty, *given))


def test_nothing_and_padding_change_nothing():
    empty, some = ScoreHistogram.empty(bins=BINS), whole(0)
    chex.assert_trees_all_equal(merge(empty, some), some)
    chex.assert_trees_all_equal(merge(some, empty), some)
    nothing = jnp.asarray(SCORES[0]), jnp.asarray(LABELS[0]), jnp.zeros(rankings.COUNT, bool)
    chex.assert_trees_all_equal(count(some, *nothing), some)
    chex.assert_trees_all_equal(count(empty, *nothing), empty)
    assert not empty.ranked().ends.any()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_lower_precision_is_what_it_is_in_float32(dtype):
    scores, labels = jnp.asarray(SCORES[0], dtype), jnp.asarray(LABELS[0])
    empty = ScoreHistogram.empty(bins=BINS)
    wanted = empty.add(scores.astype(jnp.float32), labels)
    chex.assert_trees_all_equal(empty.add(scores, labels), wanted)


def test_float64_is_what_it_is_in_float32():
    given = [x[0] for x in (SCORES, LABELS, WEIGHTS)]
    single = ScoreHistogram.empty(bins=BINS).add(
        jnp.asarray(given[0]), jnp.asarray(given[1]), weights=jnp.asarray(given[2])
    )
    with jax.enable_x64(True):
        scores, weights = (jnp.asarray(x, jnp.float64) for x in (given[0], given[2]))
        empty = ScoreHistogram.empty(bins=BINS)
        double = empty.add(scores, jnp.asarray(given[1]), weights=weights)
        ranks = double.merge(empty).ranked()
        assert ranks.tp.dtype == jnp.float32
    chex.assert_trees_all_equal(jax.device_get(double), jax.device_get(single))


def test_scan_vmap_and_four_devices():
    scores, labels = jnp.asarray(SCORES[:8]), jnp.asarray(LABELS[:8])
    empty = ScoreHistogram.empty(bins=BINS)
    at_once = empty.add(scores, labels)
    step = lambda s, x: (s.add(*x), None)  # noqa: E731
    scanned, _ = jax.jit(lambda *x: jax.lax.scan(step, empty, x))(scores, labels)
    chex.assert_trees_all_equal(scanned, at_once)
    many = jax.jit(jax.vmap(lambda *x: empty.add(*x)))(scores, labels)
    for i in range(8):
        alone = jax.tree.map(lambda x, i=i: x[i], many)
        chex.assert_trees_all_equal(alone, empty.add(scores[i], labels[i]))
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    spread = jax.device_put((scores, labels), jax.NamedSharding(mesh, jax.P("data")))
    found = jax.device_put(empty, jax.NamedSharding(mesh, jax.P())).add(*spread)
    chex.assert_trees_all_equal(jax.device_get(found), jax.device_get(at_once))


@pytest.mark.parametrize("weights", [None, jnp.asarray(WEIGHTS[0])], ids=["plain", "weighted"])
def test_strict_dtypes_and_no_callback(weights):
    def ranks(scores, kinds):
        return ScoreHistogram.empty(bins=8).add(scores, kinds, weights=weights).ranked()

    with jax.numpy_dtype_promotion("strict"):
        given = jnp.asarray(SCORES[0]), jnp.asarray(LABELS[0])
        assert "callback" not in str(jax.make_jaxpr(ranks)(*given))


def test_what_does_not_fit_is_refused():
    for bins in (0, 2, 100):
        with pytest.raises(ValueError, match="bins: expected a power of two, at least 4, got"):
            ScoreHistogram.empty(bins=bins)
    with pytest.raises(ValueError, match=r"other: expected shape \(2, 2, 4\) \(kinds, sides"):
        ScoreHistogram.empty(bins=8).merge(ScoreHistogram.empty(bins=16))
