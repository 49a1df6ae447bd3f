"""Regularizers of selectors: the formulas, what has decided and what is 0, values of cuvis-ai."""

import inspect
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lossbench import losses, metrics
from lossbench.objective import Objective

NAMES = ("distinctness", "selector_entropy", "selector_diversity")
WEIGHTS = np.random.default_rng(0).dirichlet(np.ones(6), 4)


def of(name, weights, **options):
    """Value and gradient, compiled."""
    loss = getattr(losses, name)
    found = jax.jit(jax.value_and_grad(lambda w: loss(w, **options)))(
        jnp.asarray(weights, jnp.float32)
    )
    return np.asarray(found[0]), np.asarray(found[1])


def cosines(w):
    return [
        a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in itertools.combinations(w, 2)
    ]


def entropy(w):
    p = np.asarray(w, np.float64) / np.sum(w)
    return -sum(x * math.log(x) for x in p if x > 0)


def test_distinctness_is_the_mean_over_all_pairs():
    signed = np.random.default_rng(1).normal(size=(5, 4))
    for w in (WEIGHTS, signed, 1e-8 * WEIGHTS, 1e4 * signed):
        value, gradient = of("distinctness", w)
        np.testing.assert_allclose(value, np.mean(cosines(w)), rtol=1e-5, atol=1e-7)
        along = np.abs((gradient * w).sum(1)).max()
        assert along <= 1e-5 * np.abs(gradient).max() * np.abs(w).max()


def test_selectors_that_have_decided():
    """Pairs of cosine 0 count as 0: cuvis-ai has NaN for the first, and .7071 for the second."""
    value, gradient = of("distinctness", np.eye(4)[:3])
    assert value == 0
    assert np.isfinite(gradient).all()
    half = np.array([[1.0, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_allclose(of("distinctness", half)[0], math.sqrt(2) / 3, rtol=1e-6)
    np.testing.assert_allclose(of("distinctness", np.eye(4)[[1, 1, 1]])[0], 1, rtol=1e-6)


def test_a_selector_of_zeros_has_no_direction():
    w = np.array([[0.0, 0, 0], [1, 1, 0], [0, 1, 0]])
    value, gradient = of("distinctness", w)
    np.testing.assert_allclose(value, math.sqrt(0.5) / 3, rtol=1e-6)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], 0)


def test_without_a_pair_there_is_nothing():
    for w in (np.ones(3), np.ones((1, 3)), np.ones((2, 1, 3))):
        value, gradient = of("distinctness", w)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_groups_have_pairs_of_their_own():
    two = np.stack([WEIGHTS, WEIGHTS[::-1] ** 2])
    wanted = np.mean([np.mean(cosines(w)) for w in two])
    np.testing.assert_allclose(of("distinctness", two)[0], wanted, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e4])
def test_entropy_is_the_formula(scale):
    wanted = np.array([entropy(w) for w in WEIGHTS])
    w = scale * WEIGHTS
    np.testing.assert_allclose(of("selector_entropy", w)[0], -wanted.mean(), rtol=1e-5)
    found = of("selector_entropy", w, goal="minimize")[0]
    np.testing.assert_allclose(found, wanted.mean(), rtol=1e-5)
    found = of("selector_entropy", w, target=1.2)[0]
    np.testing.assert_allclose(found, np.mean((wanted - 1.2) ** 2), rtol=1e-4)
    metric = metrics.selector_entropy(jnp.asarray(WEIGHTS, jnp.float32)).nats
    np.testing.assert_allclose(metric, wanted, rtol=1e-5)


def test_entropy_leads_to_its_goal():
    """Descent on the logits of a softmax."""
    start = jnp.array([2.0, 0.0, -1.0, 0.5])

    def descended(**options):
        slope = jax.grad(lambda x: losses.selector_entropy(jax.nn.softmax(x), **options))
        step = lambda _, x: x - 0.5 * slope(x)  # noqa: E731
        return entropy(jax.nn.softmax(jax.jit(lambda x: jax.lax.fori_loop(0, 300, step, x))(start)))

    assert descended() > math.log(4) - 1e-3
    assert descended(goal="minimize") < 0.1
    assert abs(descended(target=0.7) - 0.7) < 1e-3


def test_a_weight_of_zero_can_be_opened_again():
    value, gradient = of("selector_entropy", [1.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(value, -math.log(2), rtol=1e-6)
    assert np.isfinite(gradient).all()
    # (log p - mean of log p + 1 over the others) / sum, with log p at the least normal number.
    least = math.log(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(gradient[2], (least + math.log(2) - 1) / 2, rtol=1e-4)
    saturated = jnp.array([0.0, 0.0, -1e4])
    slope = jax.grad(lambda x: losses.selector_entropy(jax.nn.softmax(x)))(saturated)
    assert np.isfinite(slope).all()


def test_entropy_of_nothing_and_of_what_is_none():
    value, gradient = of("selector_entropy", np.zeros((2, 3)))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    one, gradient = of("selector_entropy", np.eye(3))
    assert one == 0
    assert np.isfinite(gradient).all()
    assert np.isnan(of("selector_entropy", [1.0, -0.5, 1.0])[0])
    for name in NAMES:
        assert np.isnan(of(name, [[1.0, np.nan, 1.0], [1, 1, 1]])[0])


def test_diversity_rewards_concentration():
    np.testing.assert_allclose(
        of("selector_diversity", WEIGHTS)[0], -np.var(WEIGHTS, axis=1).mean(), rtol=1e-5
    )
    assert of("selector_diversity", [1.0, 0, 0, 0])[0] == np.float32(-0.1875)
    assert of("selector_diversity", [0.25] * 4)[0] == 0
    # Against entropy: what lowers the one raises the other.
    logits = jnp.array([1.0, 0.0, -0.5])
    slopes = [
        jax.grad(lambda x, f=f: f(jax.nn.softmax(x)))(logits)
        for f in (losses.selector_diversity, losses.selector_entropy)
    ]
    assert np.dot(*slopes) < 0


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_large_weights(name):
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        for scale in (1.0, 1e4 if dtype != jnp.float16 else 1e2):
            w = jnp.asarray(scale * WEIGHTS, dtype)
            value, gradient = jax.value_and_grad(getattr(losses, name))(w)
            assert (value.dtype, gradient.dtype) == (jnp.float32, dtype)
            assert np.isfinite(value)
            assert np.isfinite(np.asarray(gradient, np.float32)).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    with jax.enable_x64(True):
        w = jnp.asarray(WEIGHTS[:2, :3] + 0.2)
        check_grads(jax.jit(getattr(losses, name)), (w,), order=2, atol=1e-6, rtol=1e-5)


def wave(*shape, f, s=1.0, o=0.0):
    return (s * np.sin(f * np.arange(np.prod(shape)) + 0.1) + o).astype(np.float32).reshape(shape)


def test_the_values_of_cuvis():
    found = of("distinctness", wave(3, 6, f=0.9))[0]
    np.testing.assert_allclose(found, 0.2666539, rtol=1e-5)
    w = wave(6, f=0.5, s=0.4, o=0.6)
    np.testing.assert_allclose(of("selector_entropy", w)[0], -1.7814271, rtol=1e-5)
    # Their entropy has an eps of 1e-6 in it, twice.
    found = of("selector_entropy", w, target=1.2)[0]
    np.testing.assert_allclose(found, 0.3380575, rtol=5e-5)
    np.testing.assert_allclose(of("selector_diversity", w)[0], -0.0147655, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_is_named(name):
    bare = inspect.unwrap(getattr(losses, name))
    for shape in ((), (0,), (3, 0)):
        with pytest.raises(ValueError, match=r"selector_weights: expected shape .\*selectors"):
            bare(jnp.zeros(shape))
    with pytest.raises(ValueError, match="selector_weights: expected a floating dtype, got int32"):
        bare(jnp.zeros((2, 3), int))


def test_options_that_are_wrong():
    w = jnp.ones((2, 3))
    bare = inspect.unwrap(losses.selector_entropy)
    with pytest.raises(ValueError, match="goal: expected one of 'maximize', 'minimize'"):
        bare(w, goal="target")
    with pytest.raises(ValueError, match=r"target: expected one number, got shape \(2,\)"):
        bare(w, target=jnp.ones(2))


def test_a_regularizer_is_a_term_beside_a_loss():
    """A scalar has no examples: per-example weights do not reach it."""
    objective = Objective.from_config(
        {
            "terms": {
                "svdd_soft_boundary": {"nu": 0.5},
                "distinctness": {"weight": 0.1},
                "entropy": {"loss": "selector_entropy", "goal": "minimize"},
            }
        }
    )
    namespace = {
        "embeddings": jnp.array([[3.0, 0.0], [1.0, 0.0]]),
        "center": jnp.zeros(2),
        "radius": jnp.float32(1.0),
        "selector_weights": jnp.asarray(WEIGHTS, jnp.float32),
        "weights": jnp.array([1.0, 0.0]),
    }
    value = jax.jit(objective)(namespace)
    np.testing.assert_allclose(value.terms["svdd_soft_boundary"], 1 + (9 - 1) / 0.5)
    distinct, undecided = np.mean(cosines(WEIGHTS)), np.mean([entropy(w) for w in WEIGHTS])
    np.testing.assert_allclose(value.total, 17 + 0.1 * distinct + undecided, rtol=1e-5)
    with pytest.raises(ValueError, match=r"may be negative, down to -inf"):
        Objective.from_config(
            {
                "terms": {"dice": {}, "selector_entropy": {}},
                "weighting": {"type": "geometric"},
            }
        )
