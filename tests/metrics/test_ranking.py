import functools
import inspect
import itertools
import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import lossbench
from lossbench.metrics import _ranks, curves, ranking
from tests.metrics import rankings

NAMES, SCORES, LABELS, WHERE, WEIGHTS = rankings.examples()
VARIANTS = {
    "plain": {"where": jnp.ones(WHERE.shape, bool)},  # so that it shares a program
    "masked": {"where": jnp.asarray(WHERE)},
    "weighted": {"where": jnp.asarray(WHERE), "weights": jnp.asarray(WEIGHTS)},
}
STORED = Path(__file__).parent / "data" / "ranking_values.json"
FUNCTIONS = {
    "roc_auc": {},
    "average_precision": {},
    "partial_auc": {"max_fpr": 0.4},
    "fpr_at_tpr": {"tpr": 0.75},
    "f1_max": {},
}


def weights_of(variant):
    """What each score counts, in float64."""
    counted = np.ones(LABELS.shape) if variant == "plain" else WHERE.astype(float)
    return counted * WEIGHTS if variant == "weighted" else counted


def reference(name, scores, labels, weights):
    """The value by its definition; NaN where there is none."""
    _, tp, fp = rankings.curve(scores, labels, weights)
    positives, negatives = tp[-1], fp[-1]
    if positives == 0 or (negatives == 0 and name not in ("average_precision", "f1_max")):
        return np.nan
    if name == "roc_auc":  # over all pairs
        s = np.asarray(scores, np.float64)
        above = (s[:, None] > s[None]) + (s[:, None] == s[None]) / 2
        pairs = (weights * labels)[:, None] * (weights * ~labels)[None]
        return (pairs * above).sum() / pairs.sum()
    if name == "average_precision":
        steps = zip(np.diff(tp), tp[1:], fp[1:], strict=True)
        return sum(found / positives * t / (t + f) for found, t, f in steps)
    if name == "partial_auc":
        return rankings.area(fp / negatives, tp / positives, 0.4)
    if name == "fpr_at_tpr":
        return fp[tp / positives >= 0.75].min() / negatives
    return max(2 * t / (t + f + positives) for t, f in zip(tp, fp, strict=True))


@pytest.fixture(scope="module", params=list(itertools.product(FUNCTIONS, VARIANTS)), ids="-".join)
def result(request):
    """The function's name, the variant, and what it gives for all examples."""
    name, variant = request.param
    given = jnp.asarray(SCORES), jnp.asarray(LABELS)
    return name, variant, getattr(ranking, name)(*given, **FUNCTIONS[name], **VARIANTS[variant])


def test_equals_the_definition(result):
    name, variant, found = result
    each = found.raw if name == "partial_auc" else found
    rows = zip(SCORES, LABELS, weights_of(variant), strict=True)
    wanted = [reference(name, *row) for row in rows]
    for i, row in enumerate(NAMES):
        np.testing.assert_allclose(each.values[i], wanted[i], rtol=2e-6, atol=1e-7, err_msg=row)
    assert each.undefined == np.isnan(wanted).sum() > 0
    assert np.isnan(each.mean)
    assert each.values.dtype == jnp.float32


def test_equals_scikit_learn_where_it_has_the_function(result):
    name, variant, found = result
    stored = json.loads(STORED.read_text())["values"].get(name, {})
    each = found.standardized if name == "partial_auc" else found
    for row, wanted in stored.get(variant, {}).items():
        value = each.values[NAMES.index(row)]
        np.testing.assert_allclose(value, wanted, rtol=2e-6, atol=1e-7, err_msg=row)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_threshold_has_the_best_f1(variant):
    found = ranking.f1_max(jnp.asarray(SCORES), jnp.asarray(LABELS), **VARIANTS[variant])
    weights = weights_of(variant)
    for i, name in enumerate(NAMES):
        labels, threshold = LABELS[i], np.float64(found.thresholds[i])
        scores = SCORES[i].astype(np.float64)
        if not (weights[i] * labels).any():
            assert np.isnan(threshold), name
            continue
        at, tp, fp = rankings.curve(scores, labels, weights[i])
        f1 = 2 * tp / (tp + fp + tp[-1])
        flagged = weights[i] * (scores >= threshold)
        reached = 2 * (flagged * labels).sum() / (flagged.sum() + tp[-1])
        np.testing.assert_allclose(reached, f1.max(), rtol=1e-12, err_msg=name)
        # In the middle of its plateau, of which the curve holds the upper end.
        best = np.argmax(f1 >= f1.max() - 1e-12)
        below = at[best + 1] if best + 1 < len(at) else at[best]
        if np.isfinite(at[best]) and np.isfinite(below) and at[best] - below > 1e-30:
            middle = (at[best] + below) / 2
            np.testing.assert_allclose(threshold, middle, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_rising_map_gives_the_same(name):
    """Ranks are all that counts: 0 to 1 by steps of 1/1024, negative, tiny and past 2^100."""
    rng = np.random.default_rng(1)
    ranks = rng.integers(0, 1024, (2, 50)).astype(np.float32)
    labels = jnp.asarray(rng.random((2, 50)) < 0.3)
    maps = [
        ranks / 1024,
        ranks / 1024 - 7,
        ranks * np.float32(2.0**-140),
        (ranks - 500) * np.float32(2.0**100),
        np.where(ranks < 300, (ranks - 300) * 2.0**100, (ranks + 1) * 2.0**-140),
    ]
    function = jax.jit(lambda s: getattr(ranking, name)(s, labels, **FUNCTIONS[name])[0])
    first, *rest = (function(jnp.asarray(x, jnp.float32)) for x in maps)
    for other in rest:
        chex.assert_trees_all_equal(other, first)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_score_that_is_nan_is_counted_only_where_it_counts(name):
    scores, labels = jnp.asarray(SCORES), jnp.asarray(LABELS)
    broken, every = scores.at[1, 4].set(jnp.nan), jnp.ones(LABELS.shape, bool)

    def function(scores, where):
        found = getattr(ranking, name)(scores, labels, where=where, **FUNCTIONS[name])
        return found.raw if name == "partial_auc" else found

    with_nan, without = function(broken, every), function(scores, every)
    assert with_nan.undefined == without.undefined + 1
    assert np.isnan(with_nan.values[1])
    np.testing.assert_array_equal(with_nan.values[2:], without.values[2:])
    masked = every.at[1, 4].set(False)
    chex.assert_trees_all_equal(function(broken, masked), function(scores, masked))


def test_a_weight_of_0_leaves_out_what_lies_there():
    scores, labels = jnp.asarray(SCORES), jnp.asarray(LABELS)
    weights = jnp.ones(labels.shape).at[1, 4].set(0)
    every = jnp.ones(labels.shape, bool)
    broken = scores.at[1, 4].set(jnp.nan)
    weighed = ranking.roc_auc(broken, labels, where=every, weights=weights)
    masked = ranking.roc_auc(scores, labels, where=weights > 0)
    chex.assert_trees_all_close(weighed, masked, rtol=1e-6)


@pytest.mark.parametrize("name", ["average_precision", "f1_max"])
def test_vmap_space_dtypes_and_tracing(name):
    scores, labels = jnp.asarray(SCORES), jnp.asarray(LABELS)
    function = lambda s, t: getattr(ranking, name)(s, t, **FUNCTIONS[name])  # noqa: E731
    whole = function(scores, labels)
    space = (len(scores), 2, 3, 4)
    chex.assert_trees_all_equal(function(scores.reshape(space), labels.reshape(space)), whole)
    alone = jax.vmap(function)(scores[:, None], labels[:, None])
    chex.assert_trees_all_equal(jax.tree.leaves(alone)[0][:, 0], jax.tree.leaves(whole)[0])
    half = scores.astype(jnp.bfloat16)
    chex.assert_trees_all_equal(function(half, labels), function(half.astype(jnp.float32), labels))
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(scores, labels))
        weighed = functools.partial(getattr(ranking, name), **VARIANTS["weighted"])
        assert "callback" not in str(jax.make_jaxpr(weighed)(scores, labels))


def test_four_devices_give_what_one_does():
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    given = jnp.asarray(SCORES[:8]), jnp.asarray(LABELS[:8])
    spread = jax.device_put(given, jax.NamedSharding(mesh, jax.P("data")))
    assert len(spread[0].sharding.device_set) == 4
    found = jax.device_get(ranking.roc_auc(*spread).values)
    np.testing.assert_array_equal(found, ranking.roc_auc(*given).values)


def test_float64_scores_that_float32_cannot_tell_apart():
    with jax.enable_x64(True):
        scores = jnp.array([[1.0, 1 + 1e-12, 1 + 2e-12, -1e300, -0.0, 0.0, 5e-324, -5e-324]])
        labels = jnp.array([[0, 1, 0, 1, 0, 1, 1, 0]], bool)
        weights = jnp.ones((1, 8), jnp.float64)
        for name in ("roc_auc", "f1_max"):
            wanted = reference(name, np.array(scores)[0], np.array(labels)[0], np.ones(8))
            for more in ({}, {"weights": weights}):
                found = getattr(ranking, name)(scores, labels, **more).values
                assert found.dtype == jnp.float32
                np.testing.assert_allclose(found, [wanted], rtol=1e-6, err_msg=name)


def test_thresholds_of_float64_are_not_rounded():
    with jax.enable_x64(True):
        scores = jnp.array([[1.0, 1 + 1e-12, 1 + 2e-12, 1 + 3e-12]])
        labels = jnp.array([[0, 0, 1, 1]], bool)
        found = ranking.f1_max(scores, labels)
        np.testing.assert_array_equal(scores >= found.thresholds[:, None], labels)
        for curve in (curves.roc_curve(scores, labels), curves.pr_curve(scores, labels)):
            np.testing.assert_array_equal(curve.thresholds[0, 1:], scores[0, ::-1])


@pytest.mark.parametrize("weighted", [False, True])
def test_all_is_met_whatever_the_number(weighted):
    """Also where the product of a number, as 107, with its reciprocal is not 1."""
    rng, numbers = np.random.default_rng(0), np.arange(1, 300)
    scores = jnp.broadcast_to(-jnp.arange(301.0), (299, 301))
    labels = jnp.asarray(np.arange(301) < numbers[:, None])
    weights = jnp.asarray(rng.random(labels.shape), jnp.float32) if weighted else None
    # All positives lie above all negatives.
    found = ranking.fpr_at_tpr(scores, labels, tpr=1, weights=weights)
    np.testing.assert_array_equal(found.values, 0)
    curve = curves.roc_curve(scores, labels, weights=weights)
    for rate in (curve.fpr, curve.tpr):
        assert (rate[:, -1] == 1).all()
        assert (rate <= 1).all()
    for name in ("roc_auc", "average_precision"):
        values = getattr(ranking, name)(scores, labels, weights=weights).values
        assert (values <= 1).all()
        assert (values >= (1 - 1e-6 if weighted else 1)).all()


def test_a_share_of_the_positives_that_is_met_exactly_is_met():
    numbers = np.arange(1, 150)
    place = np.arange(300)
    scores = jnp.broadcast_to(-jnp.asarray(place, jnp.float32), (149, 300))
    # By turns a positive and a negative: k positives lie above all but k - 1 negatives.
    labels = jnp.asarray((place % 2 == 0) & (place < 2 * numbers[:, None]))
    where = jnp.asarray(place < 2 * numbers[:, None])
    for part in (0.25, 1 / 3, 0.5, 0.95, 1):
        taken = np.ceil(part * numbers)
        share = jnp.asarray(taken / numbers, jnp.float32)
        function = lambda s, t, w, p: ranking.fpr_at_tpr(s, t, tpr=p, where=w)  # noqa: E731
        found = jax.vmap(function)(scores[:, None], labels[:, None], where[:, None], share)
        np.testing.assert_allclose(found.values[:, 0], (taken - 1) / numbers, rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_in_one_program_share_one_sort(variant):
    def count(names):
        def function(scores, labels, given):
            functions = (
                functools.partial(getattr(ranking, name), **FUNCTIONS[name]) for name in names
            )
            return [function(scores, labels, **given) for function in functions]

        given = jnp.asarray(SCORES), jnp.asarray(LABELS), VARIANTS[variant]
        program = str(jax.jit(function).lower(*given).compile().as_text())
        return [program.count(f" {kind}(") for kind in ("sort", "conditional")]

    alone = count(["roc_auc"])
    assert alone[0] > 0
    assert count(["roc_auc", "average_precision", "fpr_at_tpr", "f1_max"]) == alone


def test_a_threshold_may_be_traced():
    given = jnp.asarray(SCORES), jnp.asarray(LABELS)
    more = VARIANTS["plain"]
    function = lambda share: ranking.partial_auc(*given, max_fpr=share, **more)  # noqa: E731
    chex.assert_trees_all_equal(jax.jit(function)(jnp.float32(0.4)), function(0.4))
    whole, auc = function(1), ranking.roc_auc(*given, **more)
    chex.assert_trees_all_close(whole.raw, whole.standardized, auc, rtol=1e-6)


def test_counts_beyond_what_float32_can_count():
    """2^25 + 1 scores, of which the last two decide: no count may be rounded before."""
    tp = jnp.array([[2**25, 2**25 + 1]], jnp.int32)
    keys = jnp.array([[5, 6]], jnp.uint32)
    ranks = _ranks.summed(keys, tp, jnp.array([[0, 1]], jnp.int32))
    # One positive of 2^25 + 1 is tied with the only negative.
    np.testing.assert_array_equal(ranks.tp - ranks.tp_before, [[2**25, 1]])
    np.testing.assert_allclose(_ranks.area(ranks), [1 - 0.5 / (2**25 + 1)], rtol=1e-7)


def test_keys_keep_the_order_and_lead_back():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 5000, dtype=np.uint32)
    scores = np.sort(bits.view(np.float32)[np.isfinite(bits.view(np.float32))])
    scores = np.concatenate([[-np.inf], scores, [np.inf]]).astype(np.float32)[None]
    keys = np.asarray(jax.jit(_ranks.keys_of)(jnp.asarray(scores))).astype(np.int64)
    np.testing.assert_array_equal(np.diff(keys) < 0, np.diff(scores.astype(np.float64)) > 0)
    back = np.asarray(_ranks.scores_of(jnp.asarray(keys, jnp.uint32)))
    np.testing.assert_array_equal(back.view(np.uint32), scores.view(np.uint32))
    zeros = np.asarray(_ranks.keys_of(jnp.array([[0.0, -0.0]])))
    assert zeros[0, 0] == zeros[0, 1] == 2**31 - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": lambda x: x.astype(jnp.int32)}, "scores: expected a floating dtype, got int32"),
        ({"labels": lambda x: x.astype(jnp.int32)}, "labels: expected a mask .*`ids == c`"),
        ({"labels": lambda x: x[:, 1:]}, "labels: expected shape"),
        ({"where": lambda _: jnp.ones(LABELS.shape)}, "where: expected bool"),
        ({"where": lambda _: jnp.ones((3, 4), bool)}, "where: expected shape"),
        ({"weights": lambda _: jnp.ones(LABELS.shape, jnp.int32)}, "weights: expected a floating"),
        ({"weights": lambda _: jnp.ones((4,))}, "weights: expected shape"),
        ({"scores": lambda x: x[:, :0], "labels": lambda x: x[:, :0]}, "scores: .* not empty"),
        # As scikit-learn has them; each of these examples would be one score.
        ({"scores": lambda x: x[0], "labels": lambda x: x[0]}, "scores: .* make them one example"),
    ],
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_does_not_fit_is_refused_by_name(name, change, message):
    given = {"scores": jnp.asarray(SCORES), "labels": jnp.asarray(LABELS)}
    for argument, function in change.items():
        given[argument] = function(given.get(argument))
    # The public function as users have it, without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(getattr(ranking, name))(**given, **FUNCTIONS[name])


def test_shares_out_of_range_are_refused():
    given = jnp.asarray(SCORES[:1]), jnp.asarray(LABELS[:1])
    for share in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match=r"max_fpr: expected above 0 to 1, got"):
            ranking.partial_auc(*given, max_fpr=share)
        with pytest.raises(ValueError, match=r"tpr: expected above 0 to 1, got"):
            ranking.fpr_at_tpr(*given, tpr=share)


def test_negative_weights_are_found_in_debug_mode():
    given = jnp.asarray(SCORES[:1]), jnp.asarray(LABELS[:1])
    with lossbench.debug_checks(), pytest.raises(Exception, match="weights: a weight is negative"):
        ranking.roc_auc(*given, weights=jnp.full(LABELS[:1].shape, -1.0))


def test_every_key_keeps_its_label_in_the_sort():
    """Row by row: alone, those of which keys and labels do not fit into 32 bits slow no other."""
    function = jax.jit(lambda *x: _ranks._sorted_with_labels(_ranks.keys_of(x[0]), x[1], x[2]))
    for name, *row in zip(NAMES, SCORES, LABELS, WHERE, strict=True):
        scores, labels, where = row
        keys, found = function(*(jnp.asarray(x)[None] for x in row))
        order = np.sort(scores[where].astype(np.float64))[::-1]
        counted = len(order)
        at = np.asarray(_ranks.scores_of(keys))[0].astype(np.float64)
        np.testing.assert_array_equal(at[:counted], order, err_msg=name)
        assert np.isnan(at[counted:]).all()
        assert not found[0, counted:].any()
        for value in set(order.tolist()):
            true = labels[where & (scores == value)].sum()
            assert found[0, :counted][at[:counted] == value].sum() == true, name
