"""Brier score and negative log-likelihood against float64, scikit-learn and SciPy's xlogy."""

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
from lossbench.metrics import proper_scores

STORED = json.loads((Path(__file__).parent / "data" / "calibration_values.json").read_text())
# Images: honest, too sure, with probabilities of 0, and certain of some pixels.
PROBABILITIES = np.array(STORED["probabilities"], np.float32)
LABELS = np.array(STORED["labels"])
WHERE = np.random.default_rng(0).random(LABELS.shape) < 0.7
SCORES = {
    "brier": proper_scores.Brier,
    "negative_log_likelihood": proper_scores.NegativeLogLikelihood,
}
CLOSE = {"rtol": 1e-6, "atol": 1e-7}

update = jax.jit(lambda state, batch: state.update(**batch))
merge = jax.jit(lambda a, b: a.merge(b))
compute = jax.jit(lambda state: state.compute())


def costs(name, p, labels):
    """One cost a pixel, float64."""
    p = p.astype(np.float64)
    true = np.eye(p.shape[-1])[labels] if p.shape[-1] > 1 else labels[..., None]
    if name == "brier":
        return ((p - true) ** 2).sum(-1)
    said = (p * true).sum(-1) if p.shape[-1] > 1 else np.where(labels, p[..., 0], 1 - p[..., 0])
    with np.errstate(divide="ignore"):
        return -np.log(said)


@pytest.fixture(params=SCORES)
def name(request):
    return request.param


@pytest.mark.parametrize("classes", [3, 1])
def test_equals_the_definition(name, classes):
    p = PROBABILITIES if classes == 3 else PROBABILITIES[..., :1]
    labels = LABELS if classes == 3 else LABELS == 0
    found = getattr(proper_scores, name)(
        jnp.asarray(p), jnp.asarray(labels), where=jnp.asarray(WHERE)
    )
    wanted = [costs(name, *image)[w].mean() for *image, w in zip(p, labels, WHERE, strict=True)]
    np.testing.assert_allclose(found.values, wanted, **CLOSE)
    np.testing.assert_allclose(found.mean, np.mean(wanted), **CLOSE)
    assert found.undefined == 0
    assert found.values.dtype == jnp.float32


def test_equals_scikit_learn():
    given = jnp.asarray(PROBABILITIES), jnp.asarray(LABELS)
    stored = STORED["values"]["scikit-learn"]
    brier = proper_scores.brier(*given).values
    np.testing.assert_allclose(brier, [image["brier"] for image in stored], rtol=1e-6)
    of_one = proper_scores.brier(given[0][..., 1:2], given[1] == 1).values
    np.testing.assert_allclose(of_one, [image["brier of class 1"] for image in stored], rtol=1e-6)
    losses = proper_scores.negative_log_likelihood(*given).values
    for i, image in enumerate(stored):
        if np.isfinite(losses[i]):
            np.testing.assert_allclose(losses[i], image["log loss"], rtol=2e-6)


def test_what_was_called_impossible_costs_infinity_and_in_scikit_learn_some_number():
    """There 0 is the least number of the dtype's precision, so the loss depends on the dtype."""
    given = jnp.asarray(PROBABILITIES), jnp.asarray(LABELS)
    losses = proper_scores.negative_log_likelihood(*given).values
    said = np.take_along_axis(PROBABILITIES, LABELS[..., None], axis=-1)
    impossible = (said == 0).any(axis=(1, 2))
    assert impossible.any()
    np.testing.assert_array_equal(np.isinf(losses), impossible)
    stored = np.array([image["log loss"] for image in STORED["values"]["scikit-learn"]])
    assert np.isfinite(stored).all()


def test_one_class_is_half_of_two():
    p, labels = jnp.asarray(PROBABILITIES[..., :1]), jnp.asarray(LABELS == 0)
    two = jnp.concatenate([1 - p, p], axis=-1)
    ones, twos = (proper_scores.brier(x, labels).values for x in (p, two))
    np.testing.assert_allclose(2 * ones, twos, **CLOSE)
    ones, twos = (proper_scores.negative_log_likelihood(x, labels).values for x in (p, two))
    np.testing.assert_allclose(ones, twos, **CLOSE)


def test_float64_keeps_its_probabilities(name):
    """In float32 they are 0 and 1, which would cost infinity."""
    p = np.array([[[1e-50, 1.0]], [[1 - 1e-12, 1e-12]]])
    with jax.enable_x64(True):
        found = getattr(proper_scores, name)(jnp.asarray(p), jnp.array([[0], [1]])).values
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, costs(name, p, np.array([[0], [1]]))[:, 0], rtol=1e-6)
        state = SCORES[name].empty().update(jnp.asarray(p), jnp.array([[0], [1]]))
        assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype("float32")}


def test_a_small_probability_of_what_is_not_so_has_its_cost():
    p = jnp.full((1, 4, 1), 1e-9, jnp.float32)
    found = proper_scores.negative_log_likelihood(p, jnp.zeros((1, 4), bool))
    np.testing.assert_allclose(found.values, [1e-9], rtol=1e-6)


def test_masked_equals_removed_whatever_lies_there(name):
    function = getattr(proper_scores, name)
    where = np.ones(LABELS.shape, bool)
    where[:, 20:] = False
    hidden = np.where(where[..., None], PROBABILITIES, np.nan)
    ids = np.where(where, LABELS, 99)
    kept = function(jnp.asarray(PROBABILITIES[:, :20]), jnp.asarray(LABELS[:, :20]))
    masked = function(jnp.asarray(hidden), jnp.asarray(ids), where=jnp.asarray(where))
    chex.assert_trees_all_close(masked, kept, rtol=1e-6)
    no_class = function(jnp.asarray(PROBABILITIES), jnp.asarray(ids))
    chex.assert_trees_all_close(no_class, kept, rtol=1e-6)


def test_what_is_undefined_is_nan_and_counted(name):
    p, where = PROBABILITIES.copy(), np.ones(LABELS.shape, bool)
    p[0, 5, 2], where[3] = 2.0, False
    found = getattr(proper_scores, name)(
        jnp.asarray(p), jnp.asarray(LABELS), where=jnp.asarray(where)
    )
    np.testing.assert_array_equal(np.isnan(found.values), [True, False, False, True])
    assert found.undefined == 2
    assert np.isnan(found.mean)


def test_space_dtypes_vmap_and_tracing(name):
    function = getattr(proper_scores, name)
    p, labels = jnp.asarray(PROBABILITIES), jnp.asarray(LABELS)
    whole = function(p, labels)
    shaped = function(p.reshape(4, 2, 4, 6, 3), labels.reshape(4, 2, 4, 6))
    chex.assert_trees_all_equal(shaped, whole)
    alone = jax.vmap(function)(p[:, None], labels[:, None])
    chex.assert_trees_all_close(alone.values[:, 0], whole.values, rtol=1e-6)
    half = p.astype(jnp.bfloat16)
    chex.assert_trees_all_equal(function(half, labels), function(half.astype(jnp.float32), labels))
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(p, labels))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": lambda x: x.astype(jnp.int32)}, "probabilities: expected a floating"),
        ({"labels": lambda x: x * 1.0}, "labels: expected class ids"),
        ({"labels": lambda x: x[:, 1:]}, "labels: expected shape"),
        ({"where": lambda _: jnp.ones(LABELS.shape)}, "where: expected bool"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, change, message):
    arguments = {"probabilities": jnp.asarray(PROBABILITIES), "labels": jnp.asarray(LABELS)}
    for argument, function in change.items():
        arguments[argument] = function(arguments.get(argument))
    # The public function as users have it, without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(getattr(proper_scores, name))(**arguments)


def test_values_are_checked_in_debug_mode():
    with lossbench.debug_checks(), pytest.raises(Exception, match="some do not sum to 1"):
        proper_scores.brier(jnp.array([[[0.5, 0.6]]]), jnp.array([[0]]))


# --- states -------------------------------------------------------------------------------------


def batch_of(examples, size=4):
    """These images, padded with rubbish of weight 0."""
    at = np.array(list(examples), int)
    padding = size - len(at)

    def fill(x, value):
        return jnp.asarray(
            np.concatenate([x[at], np.full((padding, *x.shape[1:]), value, x.dtype)])
        )

    return {
        "probabilities": fill(PROBABILITIES, np.nan),
        "labels": fill(LABELS, 0),
        "where": fill(WHERE, True),
        "weights": fill(np.ones(4, np.float32), 0),
    }


POSSIBLE = [0, 1, 3]  # of image 2 some pixels cost infinity


def test_a_stream_is_pooled_however_it_is_cut(name):
    state = SCORES[name]
    wanted = np.concatenate([costs(name, PROBABILITIES[i], LABELS[i])[WHERE[i]] for i in POSSIBLE])
    whole = update(state.empty(), batch_of(POSSIBLE))
    np.testing.assert_allclose(compute(whole).value, wanted.mean(), rtol=1e-6)
    assert compute(whole).undefined == 0
    for order in itertools.permutations(POSSIBLE):
        first, second, third = (update(state.empty(), batch_of([i])) for i in order)
        for merged in (merge(merge(first, second), third), merge(first, merge(second, third))):
            chex.assert_trees_all_equal(merged.number, whole.number)
            np.testing.assert_allclose(compute(merged).value, compute(whole).value, rtol=2e-7)
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    batch = jax.device_put(batch_of(POSSIBLE), jax.NamedSharding(mesh, jax.P("data")))
    start = jax.device_put(state.empty(), jax.NamedSharding(mesh, jax.P()))
    spread = jax.device_get(compute(update(start, batch)).value)
    np.testing.assert_allclose(spread, compute(whole).value, rtol=2e-7)


def test_scan_and_vmap_carry_a_state(name):
    state = SCORES[name].empty()
    batches = jax.tree.map(lambda *x: jnp.stack(x), batch_of([0, 1]), batch_of([3]))
    scan = jax.jit(lambda s, b: jax.lax.scan(lambda s, b: (s.update(**b), None), s, b)[0])
    wanted = compute(update(state, batch_of(POSSIBLE))).value
    np.testing.assert_allclose(compute(scan(state, batches)).value, wanted, rtol=2e-7)
    many = jax.jit(jax.vmap(lambda batch: state.update(**batch)))(batches)
    alone = update(state, batch_of([3]))
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[1], many), alone, rtol=1e-6)


def test_what_no_sum_comes_back_from(name):
    state = SCORES[name].empty()
    empty, padding = compute(state), compute(update(state, batch_of([])))
    for nothing in (empty, padding):
        assert nothing.undefined == 1
        assert np.isnan(nothing.value)
    impossible = update(state, batch_of([2]))
    some = update(state, batch_of([0]))
    for both in (merge(impossible, some), merge(some, impossible)):
        assert compute(both).undefined == 0
        assert np.isinf(compute(both).value) == (name == "negative_log_likelihood")
    batch = batch_of([0])
    broken = update(state, {**batch, "probabilities": batch["probabilities"] + 7})
    for both in (merge(broken, impossible), merge(impossible, broken)):
        assert compute(both).undefined == 1
        assert np.isnan(compute(both).value)


def test_states_are_told_apart_and_do_not_merge():
    brier, likelihood = (state.empty() for state in SCORES.values())
    assert jax.tree.structure(brier) != jax.tree.structure(likelihood)
    with pytest.raises(ValueError, match="other: expected Brier, got NegativeLogLikelihood"):
        brier.merge(likelihood)


def test_a_long_stream_loses_nothing(name):
    """2^30 times the same pixels, and then one pixel of another cost: the mean is still exact."""
    p = jnp.array([[0.75, 0.25]])
    state = update(SCORES[name].empty(), {"probabilities": p, "labels": jnp.array([0])})
    first = compute(state).value
    for _ in range(30):
        state = merge(state, state)
    assert compute(state).value == first
    more = update(SCORES[name].empty(), {"probabilities": p, "labels": jnp.array([1])})
    merged = merge(state, more)
    assert float(merged.number.high) + float(merged.number.low) == 2**30 + 1
    added = np.float64(merged.total.high) + np.float64(merged.total.low)
    before = np.float64(state.total.high) + np.float64(state.total.low)
    np.testing.assert_allclose(added - before, float(compute(more).value), rtol=1e-4)
