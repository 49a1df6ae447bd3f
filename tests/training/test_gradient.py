"""Every form of weighting in a step, against gradients taken one by one."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench import losses
from lossbench.objective import Objective, Term
from lossbench.training import loop
from lossbench.training.gradient import init_weighting, weighted_gradient
from lossbench.training.loop import fit
from lossbench.weighting import Weighting, graddrop, gradvac, mgda, pcgrad, upgrad_weighting
from lossbench.weighting._draws import DrawState

TERMS = {"dice": {}, "cross_entropy": {"weight": 0.5}, "focal": {}}
PARAMS = {
    "body": jax.random.normal(jax.random.key(0), (2, 5)),
    "head": jax.random.normal(jax.random.key(1), (5, 3)),
}
IMAGE = jax.random.normal(jax.random.key(2), (2, 7, 2))
LABELS = jax.random.randint(jax.random.key(3), (2, 7), 0, 3)


def function_of(objective):
    def function(params):
        logits = jnp.tanh(IMAGE @ params["body"]) @ params["head"]
        return objective({"logits": logits, "labels": LABELS}, 0), logits

    return function


def one_by_one(objective):
    """Values and gradients of the terms, each times its own weight."""

    def term(params, name):
        value, _ = function_of(objective)(params)
        return value.weights[name] * value.terms[name]

    pairs = [jax.value_and_grad(term)(PARAMS, name) for name in objective.terms]
    return np.array([v for v, _ in pairs]), [g for _, g in pairs]


def flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]).astype(np.float64)


def gradient_of(objective, state=None, seed=0):
    if state is None:
        state = init_weighting(objective, PARAMS, jnp.asarray(seed, jnp.uint32))

    @jax.jit
    def step(params, state):
        return weighted_gradient(function_of(objective), params, state, objective=objective)

    return step(PARAMS, state)


def weights_of(found):
    """In the order of the terms; `jit` sorts the names of a dict."""
    return [float(found.value.weights[name]) for name in TERMS]


def halving(*, needs_gramian=False):
    """Weights 1, 1/2, 1/4 ... times a number that the state counts up, or the gradients' norms."""

    def init(terms, seed=0):
        return jnp.ones(())

    def update(values, state, gramian=None):
        weights = state * 0.5 ** jnp.arange(values.shape[0])
        if needs_gramian:
            weights = weights / jnp.sqrt(jnp.diagonal(gramian))
        return weights, state + 1

    return Weighting(init, update, needs_gramian=needs_gramian)


def objective_of(weighting=None, **more):
    plain = Objective.from_config({"terms": TERMS})
    return Objective(plain.terms, weighting=weighting, **more)


def test_without_a_weighting_it_is_the_gradient_of_the_sum():
    objective = objective_of()
    found = gradient_of(objective)
    values, gradients = one_by_one(objective)
    np.testing.assert_allclose(flat(found.gradient), sum(map(flat, gradients)), atol=1e-6)
    np.testing.assert_allclose(found.value.total, values.sum(), rtol=1e-6)
    assert found.gramian is None
    assert found.aux.shape == (2, 7, 3)


@pytest.mark.parametrize(("needs_gramian", "shared"), [(False, ()), (True, ()), (True, ("head",))])
def test_the_weights_weigh_the_gradients_of_the_terms(needs_gramian, shared):
    objective = objective_of(halving(needs_gramian=needs_gramian), shared=shared)
    found = gradient_of(objective)
    values, gradients = one_by_one(objective)
    seen = [g["head"] if shared else g for g in gradients]
    weights = 0.5 ** np.arange(3.0)
    if needs_gramian:
        weights /= [np.linalg.norm(flat(g)) for g in seen]
        rows = np.stack([flat(g) for g in seen])
        np.testing.assert_allclose(found.gramian, rows @ rows.T, rtol=1e-4, atol=1e-7)
    expected = sum(w * flat(g) for w, g in zip(weights, gradients, strict=True))
    np.testing.assert_allclose(flat(found.gradient), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.value.total, sum(values), rtol=1e-5)  # with their own weights
    own = [1.0, 0.5, 1.0]
    np.testing.assert_allclose(weights_of(found), weights * own, rtol=1e-4)
    assert float(found.weighting) == 2


def test_a_transformation_gets_the_stacked_gradients():
    last = optax.GradientTransformation(
        lambda params: jnp.zeros(()), lambda u, s, p=None: (jax.tree.map(lambda g: g[-1], u), s + 1)
    )
    objective = objective_of(last)
    found = gradient_of(objective)
    _, gradients = one_by_one(objective)
    np.testing.assert_allclose(flat(found.gradient), flat(gradients[-1]), atol=1e-6)
    assert float(found.weighting) == 1
    np.testing.assert_allclose(weights_of(found), [1.0, 0.5, 1.0])


def dots(objective):
    """How many products of matrices the compiled step has."""
    state = init_weighting(objective, PARAMS, jnp.asarray(0, jnp.uint32))
    step = jax.jit(
        lambda params, state: weighted_gradient(
            function_of(objective), params, state, objective=objective
        )[:3]
    )
    return len(
        re.findall(r"= \S+ (?:dot|custom-call)\(", step.lower(PARAMS, state).compile().as_text())
    )


def test_weights_of_losses_need_one_backward_pass():
    assert dots(objective_of(halving())) == dots(objective_of())


def broken(logits, labels):
    """A loss that is NaN, and so is its gradient."""
    return jnp.log(-1 - logits[:, 0, 0] ** 2)


@pytest.mark.parametrize("form", ["none", "values", "gramian", "shared"])
def test_a_term_that_is_not_finite_is_left_out_if_asked(form):
    weighting = {"none": None, "values": halving()}.get(form, halving(needs_gramian=True))
    shared = ("head",) if form == "shared" else ()

    def masked(weighting):
        def update(values, state, gramian=None):
            if gramian is not None:
                gramian = jnp.where(jnp.isfinite(gramian), gramian, 1)
            weights, state = weighting.update(values, state, gramian)
            return jnp.where(jnp.isfinite(values), weights, 0), state

        return weighting._replace(update=update)

    terms = {**objective_of().terms, "broken": Term(broken)}
    weighting = masked(weighting) if weighting else None
    sound = gradient_of(objective_of(weighting, shared=shared))
    found = gradient_of(Objective(terms, weighting, shared, skip_nonfinite=True))
    np.testing.assert_allclose(flat(found.gradient), flat(sound.gradient), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.value.total, sound.value.total, rtol=1e-6)
    assert np.isnan(found.value.terms["broken"])
    unasked = gradient_of(Objective(terms, weighting, shared))
    assert np.isnan(flat(unasked.gradient)).any() or np.isnan(unasked.value.total)


def steep(logits, labels):
    """Finite, but its gradient is not."""
    return jnp.sum(jnp.sqrt(jnp.abs(logits) * 0), axis=(1, 2))


@pytest.mark.parametrize("form", ["none", "values", "gramian", "shared"])
def test_a_gradient_that_is_not_finite_is_left_out_if_asked(form):
    weighting = {"none": None, "values": halving()}.get(form, upgrad_weighting())
    shared = ("head",) if form == "shared" else ()
    terms = {**objective_of().terms, "steep": Term(steep)}
    sound = gradient_of(objective_of(weighting, shared=shared))
    found = gradient_of(Objective(terms, weighting, shared, skip_nonfinite=True))
    np.testing.assert_allclose(flat(found.gradient), flat(sound.gradient), rtol=1e-4, atol=1e-6)
    unasked = gradient_of(Objective(terms, weighting, shared))
    assert np.isnan(flat(unasked.gradient)).any()


def test_a_transformation_leaves_a_term_out_by_an_option_of_its_own():
    terms = {**objective_of().terms, "broken": Term(broken)}
    sound = gradient_of(objective_of(mgda()))
    found = gradient_of(Objective(terms, mgda(skip_nonfinite=True), skip_nonfinite=True))
    np.testing.assert_allclose(flat(found.gradient), flat(sound.gradient), rtol=1e-4, atol=1e-6)


def test_if_no_term_is_left_nothing_looks_fine():
    objective = Objective({"broken": Term(broken)}, skip_nonfinite=True)
    assert np.isnan(gradient_of(objective).value.total)


def test_float64_is_float64():
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: x.astype(jnp.float64), PARAMS)
        for weighting in (halving(), halving(needs_gramian=True)):
            objective = objective_of(weighting)
            state = init_weighting(objective, params, jnp.asarray(0, jnp.uint32))
            found = jax.eval_shape(
                lambda params, state, objective=objective: weighted_gradient(
                    function_of(objective), params, state, objective=objective
                )[0],
                params,
                state,
            )
            assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(found))


def test_the_seed_of_a_run_reaches_what_draws():
    for weighting in (pcgrad(), gradvac(), optax.chain(graddrop(), optax.identity())):
        state = init_weighting(objective_of(weighting), PARAMS, jnp.asarray(7, jnp.uint32))
        draws = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, DrawState))
        assert [int(x.seed) for x in draws if isinstance(x, DrawState)] == [7]


def test_what_is_no_weighting_is_refused():
    with pytest.raises(ValueError, match=r"expected a Weighting or an optax transformation"):
        objective_of(pcgrad)
    with pytest.raises(ValueError, match=r"shared has no effect on a transformation"):
        objective_of(pcgrad(), shared=("head",))


def test_a_pattern_that_matches_no_parameter_is_an_error():
    objective = objective_of(halving(needs_gramian=True), shared=("tail",))
    with pytest.raises(ValueError, match=r"pattern of parameters 'tail'.*There are: body, head"):
        gradient_of(objective)


FORMS = {
    "softmax": {},
    "random": {},
    "famo": {},
    "gradnorm": {"shared": "*kernel"},
    "pcgrad": {},
    "upgrad": {"shared": "*kernel"},
    "graddrop": {},
    "moco": {},
}


class Killed(Exception):
    pass


@pytest.mark.parametrize("name", FORMS)
def test_a_weighting_is_trained_logged_and_resumed_to_the_same_bits(
    build, small, tmp_path, same, monkeypatch, name
):
    config = {"terms": TERMS, "weighting": {"type": name, **FORMS[name]}}
    program = build(small, steps=6, eval_every=2, log_every=2, objective=config, learning_rate=0.1)

    def fitted(program, folder):
        return fit(program, small, seed=3, folder=folder, metric="dice", label="test")

    whole = fitted(program, tmp_path / "whole")
    calls = iter(range(5))

    def dying(*arguments):
        if next(calls) == 4:
            raise Killed
        return program.train(*arguments)

    with pytest.raises(Killed):
        fitted(dataclasses.replace(program, train=dying), tmp_path / "killed")
    again = fitted(program, tmp_path / "killed")
    assert same(again.last, whole.last)
    assert same(again.history, whole.history)
    rows = [*whole.history["train"], *whole.history["gradients"]]
    told = [row for row in rows if "cosines" in row]
    assert [row["step"] for row in told] == [2, 4, 6]
    for row in told:
        assert list(row["gradient_norms"]) == list(TERMS)
        assert all(-1 <= cosine <= 1 for cosine in row["cosines"].values())
        assert set(row["cosines"]) == {
            "dice and cross_entropy",
            "dice and focal",
            "cross_entropy and focal",
        }


def test_what_is_drawn_at_random_differs_from_seed_to_seed(build, small):
    config = {"terms": TERMS, "weighting": "random"}
    program = build(small, steps=2, objective=config)
    batch = program.place({k: np.stack([v, v]) for k, v in small.train[0].items()})
    logs = [
        program.train(program.init(loop.stream_key(seed, "init"), batch), batch)[1]
        for seed in (0, 0, 1)
    ]
    first, again, other = ([float(w) for w in log.objective.weights.values()] for log in logs)
    assert first == again
    assert first != other


def test_a_loss_that_may_be_negative_is_refused_where_logarithms_are_taken():
    terms = {"terms": {"dice": {}, "edges": {"loss": "boundary"}}, "weighting": "geometric"}
    with pytest.raises(
        ValueError, match=r"weighting 'geometric': .*'edges' \(boundary\) may be ne"
    ):
        Objective.from_config(terms)
    deep = Term(losses.deep_supervision(losses.boundary, weights="uniform"))
    with pytest.raises(ValueError, match=r"may be negative, down to .*; use one that does not: "):
        Objective({"edges": deep}, weighting=halving()._replace(positive=True))
    Objective.from_config({**terms, "weighting": "upgrad"})
