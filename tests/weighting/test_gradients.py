import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from lossbench.weighting.gradients import mapped, one_by_one, stacked_values


@pytest.fixture(scope="module")
def model():
    """Parameters of several dtypes and shapes, and three losses of them."""
    rng = np.random.default_rng(0)
    params = {
        "body": {
            "kernel": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32),
            "bias": jnp.asarray(rng.normal(size=3), jnp.bfloat16),
        },
        "head": [jnp.asarray(rng.normal(size=3), jnp.float32), jnp.float32(0.5)],
        "unused": jnp.zeros((0, 2)),
    }
    inputs = jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)

    def losses(params):
        hidden = (
            inputs @ params["body"]["kernel"] + params["body"]["bias"].astype(jnp.float32)[None]
        )
        outputs = jnp.tanh(hidden) @ params["head"][0] + params["head"][1]
        return {
            "square": jnp.mean((outputs - 1) ** 2),
            "absolute": jnp.mean(jnp.abs(outputs)),
            "small": 1e-3 * jnp.sum(params["head"][0] ** 2),
        }

    return params, losses


@pytest.fixture(scope="module")
def stacked(model):
    params, losses = model
    return jax.jit(lambda params: weighting.per_term(losses, params))(params)


def flat(tree):
    """All numbers of a tree of one gradient, in float64."""
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def test_one_after_the_other_and_all_at_once_are_the_same(model):
    """The first is taken on the CPU, the second elsewhere."""
    params, losses = model
    _, pull = jax.vjp(lambda params: stacked_values(losses(params)), params)
    units = jnp.eye(3)
    first = jax.jit(lambda units: one_by_one(pull, units))(units)
    second = jax.jit(lambda units: mapped(pull, units))(units)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        tolerance = (
            {"rtol": 2e-2, "atol": 1e-3}
            if a.dtype == jnp.bfloat16
            else {"rtol": 1e-5, "atol": 1e-7}
        )
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), **tolerance)


@pytest.mark.parametrize("kind", [list, tuple, lambda losses: dict(enumerate(losses))])
def test_what_is_not_finite_stays_in_its_row(kind):
    def losses(x):
        hidden = jnp.tanh(x)
        three = [jnp.sum((hidden - 3) ** 2), jnp.sum(jnp.sqrt(hidden * 0)), jnp.sum(hidden**3)]
        return kind(three)

    x = jnp.array([0.5, -1.0])
    values, gradients = jax.jit(lambda x: weighting.per_term(losses, x))(x)
    assert np.isfinite(values).all()
    assert np.isnan(gradients[1]).all()
    alone = [jax.grad(lambda x, i=i: jax.tree.leaves(losses(x))[i])(x) for i in (0, 2)]
    np.testing.assert_allclose(gradients[np.array([0, 2])], np.stack(alone), rtol=1e-6)
    left, _ = weighting.mgda(skip_nonfinite=True).update(gradients, (), x)
    wanted, _ = weighting.mgda().update(jnp.stack(alone), (), x)
    np.testing.assert_allclose(left, wanted, rtol=1e-5)


def test_gradients_of_gradients_and_batches_of_them(model):
    """The choice by the kind of device is seen by no transformation."""

    def losses(x):
        return [jnp.sum(x**2), jnp.sum(x**3)]

    def norms(x):
        _, gradients = weighting.per_term(losses, x)
        return jnp.sum(gradients**2)

    x = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(norms)))(x), 8 * x + 36 * x**3, rtol=1e-6)


def test_per_term_is_one_gradient_at_a_time(model, stacked):
    params, losses = model
    values, gradients = stacked
    for index, name in enumerate(sorted(losses(params))):
        value, wanted = jax.value_and_grad(lambda params, name=name: losses(params)[name])(params)
        np.testing.assert_allclose(values[index], value, rtol=1e-6)
        own = jax.tree.map(lambda leaf, index=index: leaf[index], gradients)
        for found, leaf in zip(jax.tree.leaves(own), jax.tree.leaves(wanted), strict=True):
            assert found.dtype == leaf.dtype
            tolerance = 1e-2 if leaf.dtype == jnp.bfloat16 else 1e-5
            np.testing.assert_allclose(
                np.asarray(found, float), np.asarray(leaf, float), rtol=tolerance, atol=1e-7
            )


def test_per_term_of_arrays_lists_and_single_losses():
    point = jnp.array([1.0, 2.0])
    wanted = [[2.0, 4.0], [3.0, 3.0]]
    both = (jnp.sum(point**2), 3 * jnp.sum(point))
    for losses in (
        lambda x: jnp.stack([jnp.sum(x**2), jnp.sum(3 * x)]),
        lambda x: [jnp.sum(x**2), jnp.sum(3 * x)],
        lambda x: (jnp.sum(x**2), jnp.sum(3 * x)),
    ):
        values, gradients = weighting.per_term(losses, point)
        np.testing.assert_allclose(values, both)
        np.testing.assert_allclose(gradients, wanted)
    values, gradients = weighting.per_term(lambda x: jnp.sum(x**2), point)
    assert values.shape == (1,)
    np.testing.assert_allclose(gradients, [[2.0, 4.0]])


def test_per_term_refuses_a_loss_an_example():
    with pytest.raises(ValueError, match=r"a loss must be a scalar here, got one of shape \(2,\)"):
        weighting.per_term(lambda x: [x, jnp.sum(x)], jnp.ones(2))


def test_gramian_of_leaves_of_every_kind(stacked):
    _, gradients = stacked
    rows = np.stack([flat(jax.tree.map(lambda leaf, i=i: leaf[i], gradients)) for i in range(3)])
    found = weighting.gramian(gradients)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, rows @ rows.T, rtol=1e-5)


def test_gramian_of_many_half_precision_numbers_is_a_float32_sum():
    ones = jnp.ones((2, 50_000), jnp.bfloat16)
    np.testing.assert_allclose(weighting.gramian({"a": ones}), np.full((2, 2), 50_000.0))


def test_combined_is_the_weighted_sum(stacked):
    _, gradients = stacked
    weights = jnp.array([0.5, -2.0, 100.0])
    found = jax.jit(weighting.combined)(gradients, weights)
    for leaf, given in zip(jax.tree.leaves(found), jax.tree.leaves(gradients), strict=True):
        assert leaf.dtype == given.dtype
        assert leaf.shape == given.shape[1:]
        wanted = np.tensordot(np.asarray(weights, float), np.asarray(given, float), 1)
        tolerance = 1e-2 if leaf.dtype == jnp.bfloat16 else 1e-5
        np.testing.assert_allclose(
            np.asarray(leaf, float), wanted, rtol=tolerance, atol=tolerance * 1e-2
        )


def test_cosines():
    gradients = jnp.array([[3.0, 4.0], [-3.0, -4.0], [4.0, -3.0], [0.0, 0.0]])
    nan = np.nan
    wanted = [[1, -1, 0, nan], [-1, 1, 0, nan], [0, 0, 1, nan], [nan, nan, nan, nan]]
    np.testing.assert_allclose(weighting.cosines(weighting.gramian(gradients)), wanted, atol=1e-6)
    # Sizes do not matter, and rounding does not lead out of [-1, 1].
    sizes = jnp.array([1e-6, 1e6, 1.0])[:, None]
    found = weighting.cosines(weighting.gramian(gradients[:3] * sizes))
    np.testing.assert_allclose(found, np.array(wanted)[:3, :3], atol=1e-6)
    assert np.all(np.abs(found) <= 1)


def test_part_takes_names_and_patterns(model):
    params, _ = model
    assert list(weighting.part(params, "head/*")) == ["head/0", "head/1"]
    assert list(weighting.part(params, ["body/bias", "head/1"])) == ["body/bias", "head/1"]
    assert len(weighting.part(params, "*")) == 5
    # One that two patterns match is there once.
    assert list(weighting.part(params, ["body/*", "*/bias"])) == ["body/bias", "body/kernel"]


def test_part_refuses_a_pattern_that_matches_nothing(model):
    params, _ = model
    message = "unknown pattern of parameters 'haed/0'; did you mean 'head/0'"
    with pytest.raises(ValueError, match=message):
        weighting.part(params, ["body/*", "haed/0"])


def test_two_parameters_of_one_name_are_refused():
    twice = {"a/b": jnp.ones(2), "a": {"b": jnp.zeros(3)}, "c": jnp.ones(1)}
    with pytest.raises(ValueError, match="two parameters have the name 'a/b'"):
        weighting.part(twice, "c")
