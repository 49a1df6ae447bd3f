import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import deciders, thresholds
from lossbench.metrics.deciders import (
    ImageQuantile,
    Threshold,
    fit_f1,
    fit_fpr,
    fit_gaussian,
    fit_nu,
)

RNG = np.random.default_rng(0)
LABELS = jnp.asarray(RNG.random((4, 5, 6)) < 0.3)
SCORES = jnp.asarray(RNG.normal(size=LABELS.shape) + LABELS, jnp.float32)
WHERE = jnp.asarray(RNG.random(LABELS.shape) < 0.8)
# As `fit(scores, labels, where)`, and what it says.
FITS = {
    "fpr": lambda s, t, where=None: fit_fpr(s, t, fpr=0.05, split="a", where=where),
    "nu": lambda s, t, where=None: fit_nu(s, nu=0.1, split="a", where=where),
    "gaussian": lambda s, t, where=None: fit_gaussian(s, fpr=0.01, split="a", where=where),
    "f1": lambda s, t, where=None: fit_f1(s, t, split="a", where=where),
}


def row(x):
    return x.reshape(1, -1)


@pytest.mark.parametrize("name", FITS)
def test_one_threshold_for_all_images_with_what_it_was_found_with(name):
    found = FITS[name](SCORES, LABELS, WHERE)
    given = {"scores": row(SCORES), "where": row(WHERE)}
    if name in ("fpr", "f1"):
        given["labels"] = row(LABELS)
    options = {"fpr": {"fpr": 0.05}, "nu": {"nu": 0.1}, "gaussian": {"fpr": 0.01}, "f1": {}}[name]
    alone = getattr(thresholds, f"{name}_threshold")(**given, **options)
    np.testing.assert_array_equal(found.value, alone.values[0])
    assert (found.how, found.split) == (name, "a")
    anomalous = int((WHERE & LABELS).sum()) if name in ("fpr", "f1") else 0
    assert found.anomalous == anomalous
    assert found.normal == int(WHERE.sum()) - anomalous
    np.testing.assert_array_equal(found.decide(SCORES), found.value <= SCORES)


def test_what_each_promises():
    flagged = lambda found: found.decide(SCORES)  # noqa: E731
    normal = np.asarray(~LABELS)
    assert (flagged(FITS["fpr"](SCORES, LABELS)) & normal).sum() == int(0.05 * normal.sum())
    assert flagged(FITS["nu"](SCORES, LABELS)).sum() == SCORES.size // 10
    best = flagged(FITS["f1"](SCORES, LABELS))
    f1 = lambda x: 2 * (x & LABELS).sum() / (x.sum() + LABELS.sum())  # noqa: E731
    others = [f1(at <= SCORES) for at in np.unique(SCORES)]
    np.testing.assert_allclose(f1(best), max(others), rtol=1e-6)


@pytest.mark.parametrize("name", FITS)
def test_a_threshold_that_there_is_not_is_refused_outside_of_jit_and_nan_inside(name):
    nothing = jnp.zeros(WHERE.shape, bool)
    cases = [(SCORES.at[0, 0, 0].set(jnp.nan), LABELS.at[0, 0, 0].set(False), None)]
    cases += [(SCORES, LABELS, nothing)]
    if name in ("fpr", "f1"):
        cases += [(SCORES, ~nothing, None)]
    if name == "f1":
        cases += [(SCORES, nothing, None)]
    compiled = jax.jit(FITS[name])
    for case in cases:
        with pytest.raises(
            ValueError, match=f"scores: expected what a threshold by '{name}' needs"
        ):
            FITS[name](*case)
        found = compiled(*case)
        assert np.isnan(found.value)
        assert not found.decide(SCORES).any()


def test_a_state_is_a_pytree_that_names_its_split():
    found = FITS["f1"](SCORES, LABELS)
    leaves, structure = jax.tree.flatten(found)
    assert len(leaves) == 3
    assert isinstance(jax.tree.unflatten(structure, leaves), Threshold)
    chex.assert_trees_all_close(jax.jit(FITS["f1"])(SCORES, LABELS), found, rtol=1e-6)
    other = fit_f1(SCORES, LABELS, split="b")
    assert jax.tree.structure(other) != structure
    many = jax.vmap(FITS["f1"])(jnp.stack([SCORES, -SCORES]), jnp.stack([LABELS, ~LABELS]))
    wanted = [found.value, FITS["f1"](-SCORES, ~LABELS).value]
    np.testing.assert_allclose(many.value, wanted, rtol=1e-6)
    np.testing.assert_array_equal(many.anomalous, [LABELS.sum(), (~LABELS).sum()])


def test_a_sweep_is_a_vmap():
    shares = jnp.array([0.0, 0.1, 0.5])
    found = jax.vmap(lambda x: fit_fpr(SCORES, LABELS, fpr=x, split="a"))(shares)
    assert found.value.shape == (3,)
    np.testing.assert_array_equal(jnp.sort(found.value)[::-1], found.value)


def test_a_fixed_threshold():
    fixed = Threshold.fixed(0.5)
    assert (fixed.how, fixed.split) == ("fixed", "")
    np.testing.assert_array_equal(fixed.decide(SCORES), SCORES >= 0.5)
    np.testing.assert_array_equal(fixed.decide(SCORES, where=WHERE), (SCORES >= 0.5) & WHERE)


def test_a_quantile_of_each_image():
    for where in (None, WHERE):
        found = jax.jit(lambda state, s, w: state.decide(s, where=w))(
            ImageQuantile(0.9), SCORES, where
        )
        counted = np.ones(SCORES.shape, bool) if where is None else np.asarray(where)
        np.testing.assert_array_equal(found.sum((1, 2)), counted.sum((1, 2)) // 10)
        assert not (found & ~counted).any()
    assert not ImageQuantile(0.9).decide(jnp.zeros(SCORES.shape)).any()
    alike = jax.tree.structure(ImageQuantile(0.9)), jax.tree.structure(ImageQuantile(0.5))
    assert alike[0] != alike[1]


@pytest.mark.parametrize("name", FITS)
def test_the_split_must_be_named(name):
    function = getattr(deciders, f"fit_{name}")
    parameter = inspect.signature(function).parameters["split"]
    assert parameter.default is inspect.Parameter.empty
    options = {"fpr": {"fpr": 0.1}, "nu": {"nu": 0.1}, "gaussian": {"fpr": 0.1}, "f1": {}}[name]
    labels = [LABELS] if name in ("fpr", "f1") else []
    with pytest.raises(ValueError, match="split: expected the name of the data"):
        function(SCORES, *labels, split="", **options)
