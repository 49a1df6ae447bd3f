"""optax's losses: values stored from optax, and optax itself, which is a dependency."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax as peer
import pytest

from lossbench.compat import optax
from tests.compat import optax_cases, signatures, stored

CASES = stored.load("optax")


@pytest.mark.parametrize("loss", optax.__all__)
def test_a_loss_answers_as_optax_did(loss):
    cases = [case for case in CASES if case["loss"] == loss]
    function = getattr(optax, loss)
    stored.check_all(cases, lambda case: optax_cases.bound(function, case["options"]))


def test_every_case_is_stored():
    assert [(c["loss"], c["options"], c["inputs"]) for c in CASES] == optax_cases.CASES
    assert {c["loss"] for c in CASES} == set(optax.__all__)


@pytest.mark.parametrize("name", optax.__all__)
def test_arguments_are_those_of_optax(name):
    signatures.assert_same(getattr(optax, name), getattr(peer.losses, name))


def softmaxed(rng, shape):
    return np.asarray(jax.nn.softmax(rng.normal(size=shape).astype(np.float32), axis=-1))


def masks(rng, shape):
    return (rng.random(shape) < 0.4).astype(np.float32)


RANDOM = {
    "cross entropy, 3D": (
        "softmax_cross_entropy",
        {"axis": (-1, 1)},
        lambda rng: (rng.normal(size=(2, 3, 2, 3, 4)), softmaxed(rng, (2, 3, 2, 3, 4))),
    ),
    "cross entropy, masked": (
        "softmax_cross_entropy",
        {"axis": 2, "where": np.arange(24).reshape(4, 6) % 5 != 0},
        lambda rng: (50 * rng.normal(size=(4, 6, 3)), softmaxed(rng, (4, 6, 3))),
    ),
    "ids, 6D": (
        "softmax_cross_entropy_with_integer_labels",
        {"axis": -2},
        lambda rng: (rng.normal(size=(2, 1, 3, 2, 4, 2)), rng.integers(0, 4, (2, 1, 3, 2, 2))),
    ),
    "binary, far out": (
        "sigmoid_binary_cross_entropy",
        {},
        lambda rng: (60 * rng.normal(size=(3, 1, 5)), masks(rng, (7, 1))),
    ),
    "focal, far out": (
        "sigmoid_focal_loss",
        {"alpha": 0.1, "gamma": 0.7},
        lambda rng: (60 * rng.normal(size=(3, 5)), masks(rng, (3, 5))),
    ),
    "focal, soft": (
        "sigmoid_focal_loss",
        {"gamma": 3.0},
        lambda rng: (3 * rng.normal(size=(13,)), rng.random(13)),
    ),
    "poly": (
        "poly_loss_cross_entropy",
        {"epsilon": 0.3, "axis": (1,)},
        lambda rng: (5 * rng.normal(size=(3, 4, 2)), rng.random((3, 4, 2))),
    ),
    "Tversky, 3D": (
        "dice_loss",
        {"alpha": 0.9, "beta": 0.2, "smooth": 0.01, "class_weights": np.array([1.0, 0.0, 2.0])},
        lambda rng: (3 * rng.normal(size=(3, 2, 4, 3, 3)), softmaxed(rng, (3, 2, 4, 3, 3))),
    ),
    "Dice over one axis": (
        "dice_loss",
        {"axis": (-2,), "ignore_background": True, "reduction": "sum"},
        lambda rng: (3 * rng.normal(size=(3, 2, 4, 3)), masks(rng, (3, 2, 4, 3))),
    ),
    "one class": (
        "dice_loss",
        {"ignore_background": True},
        lambda rng: (3 * rng.normal(size=(2, 3, 5, 1)), masks(rng, (2, 3, 5, 1))),
    ),
    "binary Dice": (
        "binary_dice_loss",
        {"smooth": 1e-3},
        lambda rng: (3 * rng.normal(size=(2, 3, 5)), masks(rng, (2, 3, 5))),
    ),
    "generalized": (
        "multiclass_generalized_dice_loss",
        {"smooth": 1e-3},
        lambda rng: (3 * rng.normal(size=(2, 9, 3)), masks(rng, (2, 9, 3))),
    ),
}


@pytest.mark.parametrize("name", RANDOM)
def test_it_agrees_with_optax(name):
    loss, options, inputs = RANDOM[name]
    inputs = [
        x.astype(np.int32 if x.dtype.kind == "i" else np.float32)
        for x in inputs(np.random.default_rng(len(name)))
    ]
    with jax.numpy_rank_promotion("allow"):
        theirs = stored.ask(functools.partial(getattr(peer.losses, loss), **options), inputs)
    ours = stored.ask(functools.partial(getattr(optax, loss), **options), inputs)
    stored.agree(ours, theirs)


def test_probabilities_need_no_softmax_also_under_jit():
    """optax looks at their values, and so cannot be traced."""
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(2, 4, 4, 3)), softmaxed(rng, (2, 4, 4, 3))
    logits = jnp.asarray(logits, jnp.float32)
    function = functools.partial(optax.dice_loss, apply_softmax=False, alpha=0.2)
    ours = stored.ask(lambda x, t: function(jax.nn.softmax(x), t), [logits, targets])
    stored.agree(
        ours, stored.ask(functools.partial(peer.losses.dice_loss, alpha=0.2), [logits, targets])
    )
    eager = peer.losses.dice_loss(jax.nn.softmax(logits), targets, apply_softmax=False, alpha=0.2)
    np.testing.assert_allclose(ours[0], eager, rtol=1e-5)
    one = optax.binary_dice_loss(
        jax.nn.sigmoid(logits[..., 0]), targets[..., 0], apply_sigmoid=False
    )
    logit = peer.losses.binary_dice_loss(logits[..., 0], targets[..., 0])
    np.testing.assert_allclose(one, logit, rtol=1e-5)


def test_nothing_to_find_without_smoothing_costs_nothing():
    x = jnp.full((1, 4, 1), -200.0)
    cost = lambda x: optax.dice_loss(x, jnp.zeros((1, 4, 1)), smooth=0.0).sum()  # noqa: E731
    assert np.isnan(peer.losses.dice_loss(x, jnp.zeros((1, 4, 1)), smooth=0.0)).all()
    value, gradient = jax.jit(jax.value_and_grad(cost))(x)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_a_label_that_is_left_out_costs_nothing():
    """As it does one-hot, in optax too."""
    x, where = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[True, False, True]])
    ids, one_hot = jnp.array([1]), jnp.array([[0.0, 1.0, 0.0]])
    options = {"where": where}
    assert optax.softmax_cross_entropy_with_integer_labels(x, ids, **options) == 0
    assert optax.softmax_cross_entropy(x, one_hot, **options) == 0
    assert peer.softmax_cross_entropy(x, one_hot, **options) == 0


def test_what_is_masked_may_be_anything():
    x = jnp.array([[1.0, jnp.nan, 3.0], [jnp.inf, 0.0, 1.0]])
    where = jnp.array([[True, False, True], [False, False, False]])
    cost = lambda x: optax.softmax_cross_entropy(  # noqa: E731
        x, jnp.array([[1.0, 0.0, 0.0]]), where=where
    )
    np.testing.assert_allclose(jax.jit(cost)(x), [np.log1p(np.exp(2.0)), 0], rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: cost(x).sum()))(x)
    np.testing.assert_allclose(gradient[0], [-0.8807971, 0, 0.8807971], rtol=1e-5)
    np.testing.assert_array_equal(gradient[1], 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: optax.dice_loss(x, x[:, :1]), "targets: expected shape"),
        (lambda x: optax.dice_loss(x, x, reduction="max"), "reduction: expected one of"),
        (lambda x: optax.dice_loss(x, x, axis=(1, -1)), "sums over the classes as well"),
        (lambda x: optax.dice_loss(x, x, class_weights=1.0), "class_weights: expected one axis"),
        (lambda x: optax.softmax_cross_entropy(x, x, axis=3), "axis: 3 is not an axis"),
        (
            lambda x: optax.softmax_cross_entropy_with_integer_labels(x, x),
            "labels: expected an int",
        ),
        (lambda x: optax.poly_loss_cross_entropy(x, x.astype(int)), "labels: expected a floating"),
        (lambda x: optax.sigmoid_focal_loss(x.astype(int), x), "logits: expected a floating"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.zeros((2, 4, 3)))
