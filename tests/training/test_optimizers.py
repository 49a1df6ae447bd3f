import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench.training.optimizers import learning_rate, optimizer, plateau
from lossbench.training.options import TrainOptions

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = (np.array([0.3, -0.1, 2.0]), np.array([-0.2, 0.4, 1.0]))


def run(options: TrainOptions, gradients=GRADIENTS) -> np.ndarray:
    """Parameters after one update a gradient."""
    transformation = optimizer(options)
    params = {"w": jnp.asarray(START, jnp.float32)}
    state = transformation.init(params)
    for gradient in gradients:
        updates, state = transformation.update({"w": jnp.float32(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    return np.asarray(params["w"])


def clipped(gradient: np.ndarray, norm: float) -> np.ndarray:
    return gradient * min(1, norm / np.linalg.norm(gradient)) if norm else gradient


def adamw(options: TrainOptions, gradients=GRADIENTS) -> np.ndarray:
    """Loshchilov and Hutter 2019, algorithm 2, in float64, at a constant rate."""
    w, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(gradients, start=1):
        g = clipped(gradient, options.clip_norm)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w - options.learning_rate * (step + options.weight_decay * w)
    return w


def sgd(options: TrainOptions, gradients=GRADIENTS) -> np.ndarray:
    """Nesterov momentum as in Sutskever et al. 2013, with decoupled decay."""
    w, trace = START.copy(), np.zeros(3)
    for gradient in gradients:
        g = clipped(gradient, options.clip_norm)
        trace = g + options.momentum * trace
        step = g + options.momentum * trace
        w = w - options.learning_rate * (step + options.weight_decay * w)
    return w


@pytest.mark.parametrize(("name", "reference"), [("adamw", adamw), ("sgd", sgd)])
@pytest.mark.parametrize(
    "more", [{}, {"weight_decay": 0.1}, {"clip_norm": 0.5}, {"weight_decay": 0.1, "clip_norm": 0.5}]
)
def test_two_steps_equal_the_papers(name, reference, more):
    options = TrainOptions(optimizer=name, schedule="constant", learning_rate=0.1, **more)
    np.testing.assert_allclose(run(options), reference(options), rtol=1e-5, atol=1e-6)


def test_momentum_has_an_effect():
    base = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 0.1}
    options = TrainOptions(momentum=0.0, **base)
    np.testing.assert_allclose(run(options), START - 0.1 * sum(GRADIENTS), atol=1e-6)
    options = TrainOptions(momentum=0.5, **base)
    np.testing.assert_allclose(run(options), sgd(options), atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_is_decoupled(name):
    # With no gradient the parameters shrink by rate times decay a step, whatever the optimizer.
    options = TrainOptions(optimizer=name, schedule="constant", learning_rate=0.1, weight_decay=0.2)
    shrunk = run(options, gradients=[np.zeros(3)] * 2)
    np.testing.assert_allclose(shrunk, START * (1 - 0.1 * 0.2) ** 2, rtol=1e-6)


def test_warm_up_then_cosine():
    options = TrainOptions(steps=50, warmup_steps=10, learning_rate=0.4, final_learning_rate=0.25)
    rate = learning_rate(options)
    for step in (0, 1, 9, 10, 11, 30, 49, 50):
        if step < 10:
            expected = 0.4 * step / 10
        else:
            expected = 0.1 + 0.3 * (1 + math.cos(math.pi * (step - 10) / 40)) / 2
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6)


def test_constant_rate_with_and_without_warm_up():
    rate = learning_rate(TrainOptions(steps=20, schedule="constant", learning_rate=0.3))
    assert [float(rate(s)) for s in (0, 7, 20)] == pytest.approx([0.3] * 3)
    warm = TrainOptions(steps=20, schedule="constant", learning_rate=0.3, warmup_steps=2)
    rate = learning_rate(warm)
    assert [float(rate(s)) for s in (0, 1, 2, 20)] == pytest.approx([0, 0.15, 0.3, 0.3])


def test_the_schedule_reaches_the_updates():
    # The first step of a warm-up has rate 0: nothing moves.
    options = TrainOptions(steps=50, warmup_steps=10, learning_rate=0.4, optimizer="sgd")
    assert np.array_equal(run(options, GRADIENTS[:1]), START.astype(np.float32))
    assert not np.array_equal(run(options), START.astype(np.float32))


def test_plateau_is_off_without_patience():
    assert plateau(TrainOptions()) is None


@pytest.mark.parametrize("patience", [1, 3])
def test_plateau_lowers_after_patience_stalled_validations(patience):
    rule = plateau(TrainOptions(plateau_patience=patience, plateau_factor=0.25))
    assert rule is not None
    update = jax.jit(lambda state, value: rule.update({}, state, value=value)[1])
    state = rule.init({})

    def told(*metrics: float) -> float:
        nonlocal state
        for metric in metrics:
            state = update(state, -jnp.float32(metric))
        return float(state.scale)

    assert told(0.1, 0.5) == 1  # the metric gets better
    assert told(*[0.5] * (patience - 1)) == 1  # stalls, but not for long enough
    assert told(0.4) == 0.25
    assert told(0.6) == 0.25  # better again: no further cut, and the count starts anew
    assert told(*[float("nan")] * (patience - 1)) == 0.25
    assert told(float("nan")) == 0.0625  # an undefined metric is no improvement
