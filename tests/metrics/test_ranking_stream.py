import dataclasses
import functools
import inspect
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench.metrics import _ranks, curve_stream, ranking
from lossbench.metrics import ranking_stream as streams
from lossbench.metrics._histogram import ScoreHistogram
from tests.metrics import rankings

BINS = 8
NAMES, SCORES, LABELS, WHERE, WEIGHTS = rankings.examples()
# The state, the function of the same name, and the options of both.
METRICS = {
    "roc_auc": (streams.RocAuc, {}),
    "average_precision": (streams.AveragePrecision, {}),
    "partial_auc": (streams.PartialAuc, {"max_fpr": 0.4}),
    "fpr_at_tpr": (streams.FprAtTpr, {"tpr": 0.75}),
    "f1_max": (streams.F1Max, {}),
}
CURVES = {"roc_curve": curve_stream.RocCurve, "pr_curve": curve_stream.PrCurve}
STATES = [state for state, _ in METRICS.values()] + list(CURVES.values())
PIECE = 8  # examples of a batch, padding included


def empty_of(name, bins=BINS):
    state, options = METRICS[name]
    return state.empty(bins=bins, **options)


@jax.jit
def update(state, scores, labels, where, weights):
    return state.update(scores, labels, where=where, weights=weights)


@jax.jit
def count(state, scores, labels, where):
    return state.update(scores, labels, where=where)


merge = jax.jit(lambda a, b: a.merge(b))
GIVEN = [jnp.asarray(x)[:, None] for x in (SCORES, LABELS, WHERE)]


def scores_in(found):
    """The score with its bounds, and that of the fixed scale if there is one."""
    return found if isinstance(found, streams.PartialAucScore) else (found,)


@functools.cache
def histograms_of(weighted, few):
    """Of rows of scores, labels and weights one histogram each; one of all metrics."""
    empty = ScoreHistogram.empty(bins=BINS if few else 2**12)

    def row(scores, labels, weights):
        more = {"weights": weights} if weighted else {}
        return empty.add(scores, labels, where=weights > 0, **more)

    rows = many_rows()
    if not weighted:
        rows = (*rows[:2], (rows[2] > 0).astype(jnp.float32))
    if not few:
        half = rows[0].astype(jnp.bfloat16).astype(jnp.float32)
        rows = [x[len(NAMES) :: 12] for x in (half, *rows[1:])]
    return rows, jax.jit(jax.vmap(row))(*rows)


def scores_of(name, histograms):
    """What a metric of each comes to."""
    compute = lambda x: dataclasses.replace(empty_of(name), histogram=x).compute()  # noqa: E731
    return scores_in(jax.device_get(jax.jit(jax.vmap(compute))(histograms)))


@functools.cache
def sorted_rows_of(name):
    """The values of the function."""
    function = functools.partial(getattr(ranking, name), **METRICS[name][1])

    def rows(scores, labels, weights):
        found = function(scores, labels, where=weights > 0, weights=weights)
        return [x.values for x in (found if name == "partial_auc" else (found,))]

    return rows


@jax.jit
@jax.vmap
def rounded(scores, histogram):
    """The scores at the low ends of their bins."""
    used, highest, lowest = (x[None] for x in histogram.cells()[1:])
    keys = _ranks.keys_of(scores[None])[0][:, None]
    inside = used & (keys >= highest) & (keys <= lowest)
    lowest = jnp.max(jnp.where(inside, lowest, 0), axis=1)
    return jnp.where(jnp.any(inside, axis=1), _ranks.scores_of(lowest), scores)


def many_rows():
    """The examples, and scores of any size of which many are equal or share a bin."""
    rng = np.random.default_rng(0)
    shape = (400, rankings.COUNT)
    scale = 2.0 ** rng.integers(-100, 100, (len(NAMES), 400 // len(NAMES) + 1, 1))
    few = rng.integers(-20, 20, shape) * scale.reshape(-1, 1)[: shape[0]]
    many = np.round(rng.normal(size=shape) * 3 + 5, rng.integers(1, 4))
    scores = np.concatenate([few, many, rng.choice(many.ravel(), shape)]).astype(np.float32)
    labels = rng.random(scores.shape) < rng.choice([0.1, 0.5, 0.9], (len(scores), 1))
    weights = rng.integers(0, 4, scores.shape) * rng.choice([1, 0.75], (len(scores), 1))
    examples = (SCORES, LABELS, WHERE * WEIGHTS)
    rows = (np.concatenate(x) for x in zip(examples, (scores, labels, weights), strict=True))
    return [jnp.asarray(x, x.dtype if x.dtype == bool else jnp.float32) for x in rows]


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
def test_is_that_of_rounded_scores_and_bounds_that_of_the_scores(name, weighted):
    (scores, *more), histograms = histograms_of(weighted, few=True)
    of_scores = sorted_rows_of(name)(scores, *more)
    of_rounded = sorted_rows_of(name)(rounded(scores, histograms), *more)
    for found, true, wanted in zip(scores_of(name, histograms), of_scores, of_rounded, strict=True):
        np.testing.assert_allclose(found.value, wanted, rtol=5e-6, atol=1e-7)
        np.testing.assert_array_equal(found.undefined, np.isnan(wanted))
        defined = found.undefined == 0
        true, (value, lower, upper) = np.asarray(true)[defined], (x[defined] for x in found[:3])
        assert ((lower <= value) & (value <= upper)).all()
        assert (lower <= true + 1e-6).all()
        assert (upper >= true - 1e-6).all()
        assert min(lower) > -1e-6
        assert max(upper) < 1 + 1e-6
        assert min(upper - lower) == 0  # where each bin has one score
        assert max(upper - lower) > 0.1
        for undefined in found[:3]:
            assert np.isnan(undefined[~defined]).all()


@pytest.mark.parametrize("name", METRICS)
def test_with_a_bin_for_every_score_it_is_exact(name):
    rows, histograms = histograms_of(True, few=False)
    for found, wanted in zip(scores_of(name, histograms), sorted_rows_of(name)(*rows), strict=True):
        for value in found[:3]:
            np.testing.assert_allclose(value, wanted, rtol=5e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "fpr_at_tpr"])
def test_scores_in_one_bin_may_come_to_either_bound(name):
    """So the bounds are no wider than they have to be: positives all above, or all below.

    The precision sinks to the bound only if there are many positives: it is within one of them.
    """
    (scores, first, last), histogram = in_one_bin()
    twice = [jnp.concatenate([x] * 2) for x in (scores, jnp.ones(scores.shape))]
    both = sorted_rows_of(name)(twice[0], jnp.concatenate([first, last]), twice[1])
    for found, values in zip(scores_of(name, histogram), both, strict=True):
        assert abs(values.min() - found.lower[0]) <= 2 / 512
        assert abs(values.max() - found.upper[0]) <= 2 / 512
        assert found.upper - found.lower > 0.1


@functools.cache
def in_one_bin():
    """512 scores in one bin, the first half positive or the last; and a negative far below."""
    place = jnp.arange(513)[None]
    scores = jnp.where(place < 512, 3 + place / 512, 1)
    first, last = place < 256, (place >= 256) & (place < 512)
    histogram = ScoreHistogram.empty(bins=4).add(scores[0], first[0])
    return (scores, first, last), jax.tree.map(lambda x: x[None], histogram)


def test_the_threshold_of_the_best_f1_reaches_it():
    (scores, labels, weights), histograms = histograms_of(weighted=True, few=True)
    (found,) = scores_of("f1_max", histograms)
    np.testing.assert_array_equal(np.isnan(found.threshold), found.undefined)
    flagged = weights * (np.float64(scores) >= np.float64(found.threshold)[:, None])
    true = (weights * labels).sum(1)
    reached = 2 * (flagged * labels).sum(1) / np.maximum(flagged.sum(1) + true, 1e-9)
    defined = found.undefined == 0
    np.testing.assert_allclose(found.value[defined], reached[defined], rtol=2e-6)


@settings(max_examples=20, deadline=None)
@given(
    order=st.permutations(range(len(NAMES))),
    cuts=st.lists(st.integers(0, len(NAMES)), max_size=3),
    tree=st.randoms(use_true_random=False),
)
@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
def test_order_batches_padding_and_merging(order, cuts, tree, weighted):
    """Padded by weights of examples, which are 0 or 1, it is to the last bit the same."""
    states = []
    each = jnp.asarray(WEIGHTS + 0.1 if weighted else np.ones(WEIGHTS.shape), jnp.float32)
    for piece in np.split(np.array(order), sorted(cuts)):
        state = empty_of("partial_auc")
        for begin in range(0, len(piece), PIECE):
            part = piece[begin : begin + PIECE]
            places = np.concatenate([part, np.zeros(PIECE - len(part), int)])
            real = np.arange(PIECE) < len(part)
            batch = (jnp.asarray(x[places]) for x in (SCORES, LABELS, WHERE))
            weights = np.asarray(each)[places] * real[:, None] if weighted else real
            state = update(state, *batch, jnp.asarray(weights, jnp.float32))
        states.append(state)
    while len(states) > 1:
        first, second = (states.pop(tree.randrange(len(states))) for _ in range(2))
        states.append(merge(first, second))
    found, whole = states[0], everything(weighted)
    if weighted:
        chex.assert_trees_all_close(found.compute(), whole.compute(), rtol=1e-6)
    else:
        chex.assert_trees_all_equal(found, whole)
        chex.assert_trees_all_equal(found.compute(), whole.compute())


@functools.cache
def everything(weighted):
    """All rows in one batch."""
    batch = [jnp.asarray(x) for x in (SCORES, LABELS, WHERE)]
    if weighted:
        return update(empty_of("partial_auc"), *batch, jnp.asarray(WEIGHTS + np.float32(0.1)))
    return count(empty_of("partial_auc"), *batch)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_and_a_nan_that_counts_have_no_value(name):
    for found in scores_of(name, with_nan()):
        np.testing.assert_array_equal(found.undefined, [0, 1, 1])
        for values in found[:3]:
            np.testing.assert_array_equal(np.isnan(values), [False, True, True])


@functools.cache
def with_nan():
    """Histograms with a NaN that does not count, with one that does, and of nothing."""
    state = empty_of("roc_auc")
    scores, labels, where = (x[0] for x in GIVEN)
    broken = scores.at[0, 3].set(jnp.nan)
    states = [count(state, broken, labels, where.at[0, 3].set(i)) for i in (False, True)]
    histograms = [x.histogram for x in (*states, state)]
    return jax.tree.map(lambda *x: jnp.stack(x), *histograms)


def test_all_positives_are_found_whatever_their_number():
    """Also where the product of a number, as 107, with its reciprocal is not 1."""
    scores = -jnp.arange(200.0)
    update = jax.jit(lambda state, labels: state.update(scores[None], labels[None]).compute())
    for number in (41, 107, 123):
        found = update(streams.FprAtTpr.empty(tpr=1), jnp.arange(200) < number)
        assert found.value == found.lower == found.upper == 0


def test_long_streams_lose_no_count():
    """2^32 times the same scores, and then one more that decides."""
    state = count(empty_of("roc_auc"), *(jnp.asarray(x)[None] for x in DECIDED[0]))
    for _ in range(32):
        state = merge(state, state)
    state = count(state, *(jnp.asarray(x)[None] for x in DECIDED[1]))
    sums = state.histogram.cells().sums
    total = np.asarray(sums.high, np.float64) + np.asarray(sums.low, np.float64)
    np.testing.assert_array_equal(total.sum(1), [2**32, 2**32 + 1])
    assert state.compute().value == 1


DECIDED = [
    (np.array(x, np.float32), np.array(y), np.array(z))
    for x, y, z in (
        ([1, 0], [True, False], [True, True]),
        ([1, 0], [True, False], [True, False]),
    )
]


def test_scan_vmap_and_four_devices():
    empty, (scores, labels, where) = empty_of("f1_max"), (x[:8] for x in GIVEN)
    at_once = count(empty, scores[:, 0], labels[:, 0], where[:, 0])
    step = lambda s, x: (s.update(x[0], x[1], where=x[2]), None)  # noqa: E731
    scanned = jax.jit(lambda *x: jax.lax.scan(step, empty, x)[0])(scores, labels, where)
    chex.assert_trees_all_equal(scanned, at_once)
    many = jax.jit(jax.vmap(lambda *x: step(empty, x)[0].compute()))(scores, labels, where)
    for i in range(8):
        alone = count(empty, scores[i], labels[i], where[i]).compute()
        chex.assert_trees_all_equal(jax.tree.map(lambda x, i=i: x[i], many), alone)
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    batch = (scores[:, 0], labels[:, 0], where[:, 0])
    spread = jax.device_put(batch, jax.NamedSharding(mesh, jax.P("data")))
    found = count(jax.device_put(empty, jax.NamedSharding(mesh, jax.P())), *spread)
    chex.assert_trees_all_equal(jax.device_get(found), jax.device_get(at_once))


def test_jit_can_tell_every_state_from_every_other():
    """JAX compares dataclasses by their static fields alone: two that agree share a program."""
    states = [empty_of(name) for name in METRICS] + [x.empty(bins=BINS) for x in CURVES.values()]
    assert [x.name for x in states] == [*METRICS, *CURVES]
    structures = [jax.tree.structure(x) for x in states]
    for first, second in itertools.combinations(structures, 2):
        assert first != second


@pytest.mark.parametrize("state", STATES, ids=lambda x: x.__name__)
def test_no_batch_makes_a_state_larger(state):
    options = {"max_fpr": 0.4} if state is streams.PartialAuc else {}
    empty = state.empty(bins=BINS, **options)
    with jax.numpy_dtype_promotion("strict"):
        grown = jax.eval_shape(lambda s, *x: s.update(*x), empty, SCORES, LABELS)
        jaxpr = jax.make_jaxpr(lambda s, *x: s.update(*x).compute())(empty, SCORES, LABELS)
    assert "callback" not in str(jaxpr)
    chex.assert_trees_all_equal_shapes_and_dtypes(grown, empty)
    assert jax.tree.structure(grown) == jax.tree.structure(empty)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": lambda x: x.astype(jnp.int32)}, "scores: expected a floating dtype, got int32"),
        ({"labels": lambda x: x.astype(jnp.int32)}, "labels: expected a mask .*`ids == c`"),
        ({"where": lambda _: jnp.ones((3, 4), bool)}, "where: expected shape"),
        ({"weights": lambda _: jnp.ones((4,))}, r"weights: expected shape .* or .* \(batch\), got"),
        ({"weights": lambda _: jnp.ones((len(NAMES),), jnp.int32)}, "weights: expected a floating"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    batch = {"scores": jnp.asarray(SCORES), "labels": jnp.asarray(LABELS)}
    for argument, function in change.items():
        batch[argument] = function(batch.get(argument))
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(streams.RocAuc.update)(empty_of("roc_auc"), **batch)


def test_merge_refuses_another_metric_and_other_options():
    state = empty_of("fpr_at_tpr")
    with pytest.raises(ValueError, match="other: expected FprAtTpr, got RocAuc"):
        state.merge(empty_of("roc_auc"))
    with pytest.raises(ValueError, match=r"other: expected tpr 0\.75, got 0\.5"):
        state.merge(streams.FprAtTpr.empty(tpr=0.5, bins=BINS))
    with pytest.raises(ValueError, match=r"other: expected shape \(2, 2, 4\)"):
        state.merge(empty_of("fpr_at_tpr", 16))
    with pytest.raises(ValueError, match="tpr: expected above 0 to 1, got 0"):
        streams.FprAtTpr.empty(tpr=0)
    with pytest.raises(ValueError, match="max_fpr: expected above 0 to 1, got 2"):
        streams.PartialAuc.empty(max_fpr=2)
    with pytest.raises(ValueError, match=r"tpr: expected above 0 to 1, got 1\.5"):
        # As users have it, without the annotations' own check.
        inspect.unwrap(streams.FprAtTpr.empty.__func__)(streams.FprAtTpr, tpr=np.float32(1.5))
    with pytest.raises(ValueError, match="bins: expected a power of two"):
        streams.RocAuc.empty(bins=100)
