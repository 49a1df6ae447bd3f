import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from lossbench.weighting.graddrop import one_sign
from tests.weighting import stacks


def test_as_torchjd():
    """With its draws; they meet P nowhere."""
    run = jax.jit(one_sign)
    for case in stacks.peer_values("surgery_values")["cases"]:
        gradients = jnp.asarray(case["gradients"], jnp.float32)
        if len(gradients) not in (3, 8):
            continue
        for peer in case["graddrop"]:
            leaks = jnp.asarray(peer["leak"] or [0.0] * len(gradients), jnp.float32)
            found = run(gradients, leaks, jnp.asarray(peer["uniform"], jnp.float32))
            np.testing.assert_allclose(found, peer["update"], rtol=1e-5, atol=1e-5)


def expected_mean(gradients, leak=0.0):
    """The mean over draws: the positive part with probability P, else the negative one."""
    positive = np.maximum(gradients, 0).sum(0)
    negative = np.minimum(gradients, 0).sum(0)
    share = positive / (positive - negative)
    kept = share * positive + (1 - share) * negative
    return leak * gradients.sum(0) + (1 - leak) * kept


@pytest.mark.parametrize("leak", [0.0, 0.3])
def test_the_mean_over_draws(leak):
    gradients = np.array([1.0, -2.0, 0.5], np.float32)
    drop = weighting.graddrop(leak=leak, seed=1)
    many = {"w": jnp.tile(jnp.asarray(gradients)[:, None, None], (1, 100, 400))}
    update, _ = drop.update(many, drop.init({"w": many["w"][0]}))
    draws = np.asarray(update["w"]).ravel()
    kept = np.unique(draws)
    np.testing.assert_allclose(kept, [-2 + leak * 1.5, 1.5 + leak * -2], rtol=1e-6)
    error = draws.std() / np.sqrt(draws.size)
    assert abs(draws.mean() - expected_mean(gradients[:, None], leak)[0]) < 5 * error


def test_each_parameter_and_each_step_draws_its_own():
    gradients = dict.fromkeys("ab", jnp.tile(jnp.array([[1.0], [-1.0]]), (1, 64)))
    drop = weighting.graddrop()
    params = jax.tree.map(lambda leaf: leaf[0], gradients)
    update = jax.jit(drop.update)
    first, state = update(gradients, drop.init(params))
    second, _ = update(gradients, state)
    again, _ = update(gradients, drop.init(params))
    assert set(np.unique(first["a"])) == {-1.0, 1.0}
    assert np.any(np.asarray(first["a"] != first["b"]))
    assert np.any(np.asarray(first["a"] != second["a"]))
    np.testing.assert_array_equal(first["a"], again["a"])
    other, _ = weighting.graddrop(seed=1).update(gradients, weighting.graddrop(seed=1).init(params))
    assert np.any(np.asarray(first["a"] != other["a"]))


def test_where_all_agree_it_is_the_sum():
    """And so for one term, whichever number is drawn; a leak of 1 always is."""
    gradients = jnp.array([[1.0, -2.0, 0.0], [3.0, -0.5, 0.0]])
    drop = weighting.graddrop()
    state = drop.init(gradients[0])
    np.testing.assert_array_equal(drop.update(gradients, state)[0], [4.0, -2.5, 0.0])
    np.testing.assert_array_equal(drop.update(gradients[:1], state)[0], gradients[0])
    for uniform in (0.0, 0.5, 1 - 2**-24):
        found = one_sign(gradients, jnp.zeros(2), jnp.full(3, uniform))
        np.testing.assert_array_equal(found, [4.0, -2.5, 0.0])
    mixed = jnp.array([[1.0, -2.0], [-3.0, 5.0]])
    leaky = weighting.graddrop(leak=[1.0, 1.0])
    np.testing.assert_array_equal(leaky.update(mixed, leaky.init(mixed[0]))[0], [-2.0, 3.0])


def test_a_gradient_that_is_not_finite():
    gradients = jnp.array([[1.0, -2.0], [jnp.nan, 3.0], [-2.0, 1.0]])
    drop = weighting.graddrop()
    shown, state = drop.update(gradients, drop.init(gradients[0]))
    assert np.isnan(shown[0])
    assert int(state.step) == 1
    skipping = weighting.graddrop(skip_nonfinite=True)
    found, _ = skipping.update(gradients, skipping.init(gradients[0]))
    wanted, _ = drop.update(gradients[jnp.array([0, 2])], drop.init(gradients[0]))
    np.testing.assert_array_equal(found, wanted)
    # A loss that is not finite leaves its term out, too.
    values = jnp.array([1.0, jnp.inf, 1.0])
    known = jnp.nan_to_num(gradients)
    found, _ = skipping.update(known, drop.init(gradients[0]), values=values)
    np.testing.assert_array_equal(found, wanted)
    # It shows where it is not to be skipped, or no term is left.
    shown, _ = drop.update(known, drop.init(gradients[0]), values=values)
    nothing, _ = skipping.update(gradients * jnp.nan, drop.init(gradients[0]))
    assert np.all(np.isnan([shown, nothing]))


def test_dtypes_are_kept():
    gradients = {"a": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones((2,), jnp.float16)}
    drop = weighting.graddrop()
    update, _ = drop.update(gradients, drop.init(jax.tree.map(lambda leaf: leaf[0], gradients)))
    assert update["a"].dtype == jnp.bfloat16
    assert update["b"].dtype == jnp.float16
    assert update["b"].shape == ()


def test_refused():
    with pytest.raises(ValueError, match=r"leak: expected a number from 0 to 1, got -0\.5"):
        weighting.graddrop(leak=-0.5)
    with pytest.raises(ValueError, match=r"leak\[1\]: expected a number from 0 to 1, got 2"):
        weighting.graddrop(leak=[0.0, 2])
    drop = weighting.graddrop(leak=[0.0, 0.1, 0.2])
    with pytest.raises(ValueError, match="leak: expected 2 numbers, one for each term, got 3"):
        drop.update(jnp.eye(2), drop.init(jnp.ones(2)))
