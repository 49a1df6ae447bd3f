import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench import weighting
from tests.weighting import stacks

GRAMIAN = [row.name for row in weighting.WEIGHTINGS.values() if row.form == "gramian"]
METHODS = {name: weighting.WEIGHTINGS[name].weighting() for name in GRAMIAN}


def losses(params):
    """Two that disagree about w, and agree about b."""
    return [
        jnp.sum((params["w"] - jnp.array([1.0, 2.0])) ** 2) + params["b"] ** 2,
        3 * jnp.sum((params["w"] + jnp.array([2.0, -1.0])) ** 2) + 0.5 * params["b"] ** 2,
    ]


PARAMS = {"w": jnp.array([3.0, -1.0]), "b": jnp.array(2.0)}


def descend(optimizer, steps, spoil=None):
    """The parameters after some steps in one scan; `spoil` makes a step's gradients NaN."""

    @jax.jit
    def run(params):
        def step(carry, index):
            params, state = carry
            _, gradients = weighting.per_term(losses, params)
            if spoil is not None:
                bad = index == spoil
                gradients["w"] = (
                    gradients["w"].at[1].set(jnp.where(bad, jnp.nan, gradients["w"][1]))
                )
            updates, state = optimizer.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), None

        begin = (params, optimizer.init(params))
        return jax.lax.scan(step, begin, jnp.arange(steps))[0]

    return run(PARAMS)


def reference(steps, skipped=()):
    """The same with PCGrad of two gradients written out, and optax's AdamW."""
    optimizer = optax.adamw(0.1)
    params, state = PARAMS, optimizer.init(PARAMS)
    for index in range(steps):
        if index in skipped:
            continue
        w = np.asarray(params["w"], float)
        b = float(params["b"])
        rows = np.array(
            [
                [*(2 * (w - [1.0, 2.0])), 2 * b],
                [*(6 * (w - [-2.0, 1.0])), b],
            ]
        )
        new = rows.copy()
        for i, j in ((0, 1), (1, 0)):
            new[i] -= min(rows[i] @ rows[j], 0) / (rows[j] @ rows[j]) * rows[j]
        total = jnp.asarray(new.sum(0), jnp.float32)
        updates, state = optimizer.update({"w": total[:2], "b": total[2]}, state, params)
        params = optax.apply_updates(params, updates)
    return params


def alike(found, wanted):
    for name, leaf in wanted.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-5)


def test_a_loop_that_is_not_ours():
    params, _ = descend(optax.chain(weighting.pcgrad(), optax.adamw(0.1)), 20)
    alike(params, reference(20))


@pytest.mark.long
def test_every_combination_in_a_chain():
    """One step of a chain with AdamW goes down in the sum of the losses."""
    rows = [row for row in weighting.WEIGHTINGS.values() if row.form in ("gramian", "gradients")]
    chains = {row.name: optax.chain(row.function(), optax.adamw(0.05)) for row in rows}

    @jax.jit
    def step(params):
        _, gradients = weighting.per_term(losses, params)
        states = {name: chain.init(params) for name, chain in chains.items()}
        return {
            name: optax.apply_updates(params, chain.update(gradients, states[name], params)[0])
            for name, chain in chains.items()
        }

    for name, params in step(PARAMS).items():
        assert sum(losses(params)) < sum(losses(PARAMS)), name


def test_before_apply_if_finite():
    """A step whose gradients are not finite is as though it had not been.

    What is applied to updates of the parameters' shapes comes after the combination.
    """
    guarded = optax.apply_if_finite(optax.adamw(0.1), 5)
    params, _ = descend(optax.chain(weighting.pcgrad(), guarded), 8, spoil=3)
    alike(params, reference(8, skipped=(3,)))


def test_before_steps_that_are_gathered():
    """MultiSteps comes after the combination, too: it adds up updates of the parameters' shapes."""
    gathered = optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation()
    chain = optax.chain(weighting.pcgrad(), gathered)
    _, gradients = weighting.per_term(losses, PARAMS)
    update = jax.jit(chain.update)
    first, state = update(gradients, chain.init(PARAMS), PARAMS)
    second, _ = update(gradients, state, PARAMS)
    assert float(jnp.sum(jnp.abs(first["w"]))) == 0
    whole, _ = weighting.pcgrad().update(gradients, weighting.pcgrad().init(PARAMS))
    alike(second, jax.tree.map(lambda leaf: -0.1 * leaf, whole))


def test_a_nan_is_seen_unless_it_is_to_be_skipped():
    gradients = {"w": jnp.array([[1.0, 2.0], [jnp.nan, 0.0], [-2.0, 1.0]]), "b": jnp.ones(3)}
    method = weighting.pcgrad()
    update = jax.jit(method.update)
    shown, state = update(gradients, method.init(PARAMS))
    assert np.all(np.isnan(shown["w"])), "in every leaf"
    assert np.isnan(shown["b"])
    assert int(state.step) == 1
    skipping = weighting.pcgrad(skip_nonfinite=True)
    skip = jax.jit(skipping.update)
    found, _ = skip(gradients, skipping.init(PARAMS))
    rest = jax.tree.map(lambda leaf: leaf[jnp.array([0, 2])], gradients)
    wanted, _ = update(rest, method.init(PARAMS))
    alike(found, wanted)
    nothing = jax.tree.map(lambda leaf: leaf * jnp.nan, gradients)
    found, _ = skip(nothing, skipping.init(PARAMS))
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(found)), "no term is left"


def test_a_value_that_is_not_finite_leaves_its_term_out():
    gradients = {"w": jnp.array([[1.0, 2.0], [5.0, 0.0]]), "b": jnp.ones(2)}
    method = weighting.pcgrad(skip_nonfinite=True)
    state = method.init(PARAMS)
    found, _ = method.update(gradients, state, PARAMS, values=[1.0, np.inf])
    alike(found, {"w": gradients["w"][0], "b": gradients["b"][0]})
    # It shows where it is not to be skipped, or nothing is left.
    nothing, _ = method.update(gradients, state, PARAMS, values=[np.nan, np.inf])
    seen, _ = weighting.pcgrad().update(gradients, state, PARAMS, values=[1.0, np.inf])
    for leaf in jax.tree.leaves((nothing, seen)):
        assert np.all(np.isnan(leaf))


def test_the_part_that_is_looked_at():
    """Conflict in w alone is no conflict where b alone is looked at."""
    gradients = {"w": jnp.array([[1.0, 0.0], [-1.0, 1.0]]), "b": jnp.array([1.0, 1.0])}
    found, _ = weighting.pcgrad(shared="b").update(gradients, weighting.pcgrad().init(PARAMS))
    alike(found, {"w": jnp.array([0.0, 1.0]), "b": jnp.array(2.0)})
    found, _ = weighting.pcgrad(shared="w").update(gradients, weighting.pcgrad().init(PARAMS))
    # w is (0.5, 0.5) + (0, 1), so weights are 1 + 1 and 1 + 0.5; they are those of b, too.
    alike(found, {"w": jnp.array([0.5, 1.5]), "b": jnp.array(3.5)})
    with pytest.raises(ValueError, match="unknown pattern of parameters 'c'"):
        weighting.pcgrad(shared=("w", "c")).init(PARAMS)


def test_gradients_that_are_not_stacked_are_refused():
    method = weighting.pcgrad()
    state = method.init(PARAMS)
    with pytest.raises(ValueError, match=r"stacked on a leading axis of each leaf .* \(\)"):
        method.update(PARAMS, state)
    with pytest.raises(ValueError, match="stacked on a leading axis of each leaf"):
        method.update({"w": jnp.ones((2, 2)), "b": jnp.ones(3)}, state)
    message = r"a parameter of shape \(2,\) came with a gradient of shape \(2,\)"
    with pytest.raises(ValueError, match=message):
        method.update({"w": jnp.ones(2)}, state, {"w": jnp.ones(2)})


def test_gradients_keep_their_dtypes():
    gradients = {"w": jnp.ones((2, 2), jnp.bfloat16), "b": jnp.ones(2, jnp.float16)}
    method = weighting.pcgrad()
    found, _ = method.update(gradients, method.init(PARAMS))
    assert (found["w"].dtype, found["b"].dtype) == (jnp.bfloat16, jnp.float16)
    alike(found, {"w": 2 * np.ones(2), "b": np.array(2.0)})


ONE = np.array([[1.0, 2.0, -1.0]])
PAIR = np.array([[1.0, 2.0, 0.0], [-2.0, 1.5, 1.0]])
SETS = {
    "pair": PAIR,
    "large": 1e4 * PAIR,
    "small": 1e-4 * PAIR,
    "with a third": np.array([PAIR[0], [5.0, 5.0, 5.0], PAIR[1]]),
    "one": ONE,
    "identical": ONE[[0, 0]],
    "opposite": np.concatenate([ONE, -ONE]),
    "nothing": np.zeros((3, 3)),
    "one is 0": np.concatenate([ONE, 0 * ONE]),
    "of any size": np.array([[1e6, 0, 0], [1e-6, 1e-6, 0], [0.0, -1.0, 1.0]]),
    "nearly the same": np.concatenate([ONE, ONE * [[1 + 1e-4, 1, 1]]]),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_defined_everywhere(name):
    values = [np.ones(len(one)) for one in SETS.values()]
    values[list(SETS).index("with a third")][1] = np.nan
    weights = stacks.weights_of(METHODS[name], list(SETS.values()), values)
    found = dict(zip(SETS, weights, strict=True))
    for case, given in found.items():
        assert np.all(np.isfinite(given)), case
    updates = {case: found[case] @ gradients for case, gradients in SETS.items()}
    pair = updates["pair"]
    # A term that is left out is not there.
    np.testing.assert_allclose(found["with a third"][[0, 2]], found["pair"], rtol=1e-4)
    assert found["with a third"][1] == 0
    # The direction does not depend on the size of all.
    for case in ("large", "small"):
        cosine = pair @ updates[case] / np.linalg.norm(pair) / np.linalg.norm(updates[case])
        np.testing.assert_allclose(cosine, 1, atol=1e-4)
    # One gradient, or one direction, is followed.
    for case in ("one", "identical"):
        along = updates[case] @ ONE[0] / np.linalg.norm(updates[case]) / np.linalg.norm(ONE)
        np.testing.assert_allclose(along, 1, atol=1e-5)
    np.testing.assert_allclose(updates["nothing"], 0)


@pytest.mark.parametrize("name", METHODS)
def test_the_state_keeps_its_shape(name):
    """Of every method: it can be carried by a scan, and holds arrays only."""
    init, update, *_ = METHODS[name]
    state = init(2, 0)
    given = jax.eval_shape(lambda: state)
    after = jax.eval_shape(lambda: update(jnp.ones(2), init(2, 0), jnp.eye(2))[1])
    assert jax.tree.map(lambda x: (x.shape, x.dtype), given) == jax.tree.map(
        lambda x: (x.shape, x.dtype), after
    )
    for leaf in jax.tree.leaves(state):
        assert isinstance(leaf, jax.Array)


@pytest.mark.parametrize("name", ["mgda", "graddrop", "moco"])
def test_losses_are_one_a_term(name):
    gradients = jnp.array([[1.0, 2.0], [-0.5, 1.0]])
    method = getattr(weighting, name)()
    state = method.init(gradients[0])
    wanted, _ = method.update(gradients, state)
    found, _ = method.update(gradients, state, values=[1.0, 2.0])
    np.testing.assert_array_equal(found, wanted)
    with pytest.raises(ValueError, match=r"values: expected shape \(2,\) \(terms\), got \(3,\)"):
        method.update(gradients, state, values=jnp.ones(3))


def test_losses_that_a_weighting_looks_at_are_asked_for():
    gradients = jnp.array([[1.0, 2.0], [-0.5, 1.0]])
    method = weighting.combination(weighting.dwa())
    with pytest.raises(ValueError, match=r"pass them to `update`, values=\[...\]"):
        method.update(gradients, method.init(gradients[0]))
    found, _ = method.update(gradients, method.init(gradients[0]), values=[1.0, 2.0])
    np.testing.assert_allclose(found, gradients.sum(0))


@pytest.mark.parametrize("name", ["pcgrad", "graddrop", "moco"])
def test_a_label_without_parameters_is_let_pass(name):
    method = getattr(weighting, name)
    options = {} if name == "graddrop" else {"shared": "w"}
    chains = {"x": optax.chain(method(), optax.sgd(0.1)), "y": method(**options)}
    labelled = optax.multi_transform(chains, {"w": "x"})
    params = {"w": jnp.ones(2)}
    gradients = {"w": jnp.array([[1.0, 2.0], [1.0, 2.0]])}
    found, _ = labelled.update(gradients, labelled.init(params), params)
    alone, _ = method().update(gradients, method().init(params))
    np.testing.assert_allclose(found["w"], -0.1 * alone["w"])


def test_trees_of_another_structure_are_refused():
    method = weighting.pcgrad()
    stack = jnp.ones((2, 3))
    params = {"a": jnp.ones(3), "b": jnp.ones(3)}
    state = method.init(params)
    message = r"same structure as the parameters: \['c'\] is in the gradients alone; \['b'\] is in"
    with pytest.raises(ValueError, match=message):
        method.update({"a": stack, "c": stack}, state, params)
    message = r"same structure as the parameters: \['b'\] is in the parameters alone"
    with pytest.raises(ValueError, match=message):
        method.update({"a": stack, "b": None}, state, params)
    with pytest.raises(ValueError, match=r"same structure .*\[\*, \*\].*\(\*, \*\)"):
        method.update([stack, stack], state, (params["a"], params["b"]))
