import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lossbench import weighting
from tests.weighting import toy


def reference(x, y):
    """The losses as the appendix of the CAGrad paper has them."""
    h1 = np.log(max(abs(0.5 * (-x - 7) - np.tanh(-y)), 0.000005)) + 6
    h2 = np.log(max(abs(0.5 * (-x + 3) + np.tanh(-y) + 2), 0.000005)) + 6
    g1 = ((-x + 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    g2 = ((-x - 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    c1, c2 = max(np.tanh(0.5 * y), 0), max(np.tanh(-0.5 * y), 0)
    return c1 * h1 + c2 * g1, c1 * h2 + c2 * g2


def test_the_problem_is_the_papers():
    points = np.random.default_rng(0).uniform(-10, 10, (200, 2)).astype(np.float32)
    found = jax.jit(jax.vmap(toy.toy))(jnp.asarray(points))
    wanted = np.array([reference(*point.astype(float)) for point in points])
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)
    # The mean of the losses is least in the middle of the front.
    lowest = minimize_scalar(lambda y: sum(reference(0.0, y)), bounds=(-10, -5), method="bounded")
    assert abs(lowest.x - toy.FRONT) < 1e-3


@pytest.fixture
def ends(as_users):
    """Where descents from all starts end; when one leaves a valley is a matter of rounding."""
    return functools.partial(ends_of, as_users)


def ends_of(compiler_options, name, starts, steps, learning_rate, scale=1.0):
    """The last points of descents of so many steps, in one program."""
    method = None if name == "mean" else getattr(weighting, name)()
    last = lambda start: toy.descend(method, start, steps, learning_rate, scale)[-1]  # noqa: E731
    program = jax.jit(jax.vmap(last), compiler_options=compiler_options)
    return np.asarray(program(jnp.array(starts)))


def on_the_front(points):
    """Between the two tasks' minima, up to how far one step goes at the end."""
    return (np.abs(points[:, 1] - toy.FRONT) < 0.12) & (np.abs(points[:, 0]) < 7.1)


METHODS = (
    "mgda",
    "pcgrad",
    "gradvac",
    "cagrad",
    "imtl_g",
    "nash_mtl",
    "aligned_mtl",
    "upgrad",
    "dual_projection",
    "fairgrad",
    "config",
    "moco",
)
# Those that go on along the front to the least mean; the others stop where they reach it.
TO_THE_LEAST_MEAN = ("cagrad", "aligned_mtl")


@pytest.mark.long
@pytest.mark.parametrize("name", METHODS)
def test_it_reaches_the_front_from_every_start(ends, name):
    """The CAGrad paper goes 100 000 steps at 0.001: as far as 35 000 at 0.003."""
    found = ends(name, toy.CAGRAD_STARTS + toy.NASH_STARTS[1:2], 35_000, 0.003)
    assert np.all(on_the_front(found)), found
    if name in TO_THE_LEAST_MEAN:
        np.testing.assert_allclose(found[:, 0], 0, atol=0.05)


@pytest.mark.long
def test_the_mean_stays_in_the_valleys(ends):
    """From two of the three starts, as the CAGrad paper says; the third has no valley ahead."""
    found = ends("mean", toy.CAGRAD_STARTS, 35_000, 0.003)
    assert on_the_front(found).tolist() == [False, True, False]
    np.testing.assert_allclose(found[1], [0, toy.FRONT], atol=0.05)
    assert np.all(found[[0, 2], 1] > 0.5)


@pytest.mark.long
def test_nash_mtl_does_not_mind_the_scale_of_a_task(ends):
    """The Nash-MTL paper's problem, where one task is a tenth as large."""
    tenth = ends("nash_mtl", toy.NASH_STARTS, 35_000, 0.001, scale=0.1)
    whole = ends("nash_mtl", toy.NASH_STARTS, 35_000, 0.001)
    assert np.all(on_the_front(tenth)), tenth
    assert np.all(np.abs(tenth[:, 0]) < 6), "it is balanced"
    np.testing.assert_allclose(tenth, whole, atol=0.2)
    mean = ends("mean", toy.NASH_STARTS, 35_000, 0.001, scale=0.1)
    # From one start it stays; from the others it goes to the end of the larger task.
    assert on_the_front(mean).tolist() == [True, True, False, True, True]
    assert np.all(mean[[0, 1, 3, 4], 0] < -5.5)
