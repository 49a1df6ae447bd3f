"""torchvision's focal loss against PyTorch's binary cross entropy, stored and live."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.compat import torchvision
from tests.compat import signatures, stored, torchvision_cases

CASES = stored.load("torchvision")


def test_the_loss_answers_as_the_formula_did():
    function = torchvision.sigmoid_focal_loss
    stored.check_all(CASES, lambda case: functools.partial(function, **case["options"]))


def test_every_case_is_stored():
    asked = torchvision_cases.CASES
    assert [(c["loss"], c["options"], c["inputs"]) for c in CASES] == asked


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_the_formula(seed):
    pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, rng.integers(1, 6)))
    inputs = [
        (5 * rng.normal(size=shape)).astype(np.float32),
        (rng.random(shape) if seed % 2 else rng.random(shape) < 0.3).astype(np.float32),
    ]
    options = {
        "alpha": rng.choice([-1.0, 0.1, 0.9]).item(),
        "gamma": rng.choice([1.0, 1.5, 4.0]).item(),
        "reduction": rng.choice(["none", "mean", "sum"]).item(),
    }
    theirs = stored.ask_torch(torchvision_cases.peer("sigmoid_focal_loss", options), inputs)
    function = functools.partial(torchvision.sigmoid_focal_loss, **options)
    stored.agree(stored.ask(function, inputs), theirs)


def test_integer_targets_are_the_same():
    x, t = jnp.linspace(-3, 3, 12).reshape(3, 4), jnp.arange(12).reshape(3, 4) % 2
    value = torchvision.sigmoid_focal_loss(x, t)
    np.testing.assert_allclose(
        value, torchvision.sigmoid_focal_loss(x, t.astype(x.dtype)), rtol=1e-5
    )


def test_the_gradient_is_finite_where_an_element_is_won():
    total = lambda x: torchvision.sigmoid_focal_loss(x, jnp.ones(3), gamma=0.5).sum()  # noqa: E731
    assert np.all(np.isfinite(jax.grad(total)(jnp.array([1e4, -1e4, 0.0]))))


def test_arguments_are_those_of_torchvision():
    vision = pytest.importorskip("torchvision.ops")
    ours = torchvision.sigmoid_focal_loss
    signatures.assert_same(ours, vision.sigmoid_focal_loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha: expected a number from 0 to 1"),
        ({"reduction": "max"}, "reduction: expected one of 'none', 'mean', 'sum'"),
        ({"targets": jnp.zeros((3, 1))}, "targets: expected shape"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        torchvision.sigmoid_focal_loss(jnp.zeros(3), **{"targets": jnp.zeros(3), **options})
