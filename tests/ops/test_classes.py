"""Both forms of every function of the class axis, against float64 and exact decimal arithmetic."""

import decimal

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from lossbench.ops import classes

# Both sides of the limit, and the fewest.
SIZES = [2, 3, 16, 17]


@pytest.fixture(params=["unrolled", "plain"])
def form(request, monkeypatch):
    """Runs the test with every class written out, and with the formula over the axis."""
    limit = {"unrolled": 1000, "plain": 0}[request.param]
    monkeypatch.setattr(classes, "UNROLLED_CLASSES", limit)
    return request.param


def random_logits(size, batch=2, pixels=5):
    return (
        np.random.default_rng(size).normal(size=(batch, pixels, size), scale=3).astype(np.float32)
    )


def random_ids(size, batch=2, pixels=5):
    ids = np.random.default_rng(size + 100).integers(0, size, (batch, pixels))
    return jnp.asarray(ids, jnp.int32)


def log_softmax_64(x):
    x = x.astype(np.float64)
    return np.moveaxis(x - np.logaddexp.reduce(x, axis=-1, keepdims=True), -1, 1)


def margin_64(x, ids):
    x, ids = x.astype(np.float64), np.asarray(ids)
    values = [
        np.logaddexp.reduce(np.delete(row, y)) - row[y]
        for row, y in zip(x.reshape(-1, x.shape[-1]), ids.ravel(), strict=True)
    ]
    return np.reshape(values, ids.shape)


def margins_64(x):
    every = range(x.shape[-1])
    return np.stack([margin_64(x, np.full(x.shape[:2], c)) for c in every], axis=1)


def lookup_64(x, ids):
    return np.take_along_axis(x, np.asarray(ids)[..., None], axis=-1)[..., 0]


REFERENCES = {
    "class_major": lambda x, ids: np.moveaxis(x, -1, 1),
    "softmax": lambda x, ids: np.exp(log_softmax_64(x)),
    "log_softmax": lambda x, ids: log_softmax_64(x),
    "margin": margin_64,
    "margins": lambda x, ids: margins_64(x),
    "lookup": lookup_64,
}


def every_function(x, ids, names=tuple(REFERENCES)):
    """All of them in one program, which compiles faster than each alone."""
    functions = {name: getattr(classes, name) for name in names}
    with_ids = ("margin", "lookup")
    return {name: f(x, ids) if name in with_ids else f(x) for name, f in functions.items()}


@pytest.mark.parametrize("size", SIZES)
def test_the_values_are_the_formulas_on_both_sides_of_the_limit(size):
    x, ids = random_logits(size), random_ids(size)
    # `margins` is `margin` for each class: many of them compile for long and show nothing new.
    names = [name for name in REFERENCES if name != "margins" or size < 5]
    for name, value in jax.jit(lambda x: every_function(x, ids, names))(x).items():
        expected = REFERENCES[name](x, ids)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_values_and_gradients_of_each_form_are_those_of_the_formula(form):
    """The gradient of a random weighting of the values, by differences of the reference."""
    x, ids = random_logits(4), random_ids(4)
    rng = np.random.default_rng(1)
    expected = {name: function(x, ids) for name, function in REFERENCES.items()}
    cotangents = {name: rng.normal(size=value.shape) for name, value in expected.items()}

    def values_and_gradients(x):
        values = every_function(x, ids)
        gradients = {
            name: jax.grad(lambda x, n=name: jnp.sum(cotangents[n] * every_function(x, ids)[n]))(x)
            for name in values
        }
        return values, gradients

    values, gradients = jax.jit(values_and_gradients)(x)
    for name, reference in REFERENCES.items():
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-5, atol=1e-6)
        differences = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[index] = 1e-5
            change = reference(x + step, ids) - reference(x - step, ids)
            differences[index] = np.sum(cotangents[name] * change) / 2e-5
        np.testing.assert_allclose(gradients[name], differences, atol=5e-6, err_msg=name)


def test_derivatives_of_two_orders_in_both_modes(form):
    with jax.enable_x64(True):
        x, ids = random_logits(3, 1, 1).astype(np.float64), random_ids(3, 1, 1)
        function = jax.jit(
            lambda x: (classes.softmax(x), classes.log_softmax(x), classes.margin(x, ids))
        )
        check_grads(function, (x,), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


def test_second_derivatives_of_the_margin_in_every_composition(form):
    """The others' softmax r gives diag(r) - r r'; the own class enters linearly."""
    x, ids = jnp.array([0.0, 1.0, 0.0, -1.0]), jnp.zeros((1, 1), jnp.int32)
    r = np.append(0, np.exp([1.0, 0, -1])) / np.exp([1.0, 0, -1]).sum()
    expected = np.diag(r) - np.outer(r, r)
    function = lambda x: classes.margin(x[None, None], ids)[0, 0]  # noqa: E731
    modes = (jax.jacfwd, jax.jacrev)
    hessians = jax.jit(lambda x: [a(b(function))(x) for a in modes for b in modes])
    for own in (-1e4, 0.0, 200.0, 1e4):
        for hessian in hessians(x.at[0].set(own)):
            np.testing.assert_allclose(hessian, expected, atol=1e-6, err_msg=str(own))


def exact_logs(row, y):
    """log p_y and log(1 - p_y) in 200 digits."""
    with decimal.localcontext(prec=200):
        e = [decimal.Decimal(float(x)).exp() for x in row]
        others = sum(e[:y] + e[y + 1 :])
        return float((e[y] / sum(e)).ln()), float((others / sum(e)).ln())


def test_the_margin_turns_a_softmax_into_a_sigmoid_without_loss_of_digits(form):
    ids = random_ids(3, 1, 12)

    @jax.jit
    def logs(x):
        margin = classes.margin(x, ids)
        return jnp.stack([-jax.nn.softplus(margin), -jax.nn.softplus(-margin)], axis=-1)

    for scale in (1.0, 30.0, 300.0, 1e4):
        x = (scale * np.random.default_rng(0).uniform(-1, 1, (1, 12, 3))).astype(np.float32)
        exact = [exact_logs(row, y) for row, y in zip(x[0], ids[0], strict=True)]
        # A margin of this size is known to a digit of float32; its exponential inherits the error.
        # Below the least float32 there is only 0.
        rtol = 2e-6 + 2e-7 * min(scale, 104)
        np.testing.assert_allclose(logs(x)[0], exact, rtol=rtol, atol=1e-37)


def test_saturated_probabilities_and_gradients_are_exact(form):
    """A class that wins by 1e4 has p = 1 and the margin -1e4; its gradient does not vanish."""
    x, ids = jnp.array([[[1e4, 0.0, 0.0], [0.0, 1e4, 0.0]]]), jnp.array([[0, 0]])
    values = jax.jit(every_function)(x, ids)
    np.testing.assert_array_equal(values["softmax"][0], [[1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(values["log_softmax"][0, 1], [-1e4, 0])
    np.testing.assert_allclose(values["margin"], [[-1e4 + np.log(2), 1e4]], rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(classes.margin(x, ids))))(x)
    np.testing.assert_allclose(gradient[0], [[-1, 0.5, 0.5], [-1, 1, 0]], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.float32, (1, 4, 3), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from([-64.0, 0.5, 1024.0]),
)
def test_probabilities_sum_to_one_and_forget_a_shift(x, shift):
    p = np.asarray(classes.softmax(jnp.asarray(x)))
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    x = np.round(x)  # so that the shift is exact
    shifted = classes.log_softmax(jnp.asarray(x + np.float32(shift)))
    np.testing.assert_allclose(shifted, classes.log_softmax(jnp.asarray(x)), rtol=1e-5, atol=2e-3)


def test_an_id_outside_the_classes_stays_finite(form):
    """Masked labels may be anything; what they give is thrown away, but must not be NaN."""
    x, ids = jnp.asarray(random_logits(3)), jnp.full((2, 5), 255).at[0].set(-1)
    for function in (classes.margin, classes.lookup):
        value = lambda x, function=function: jnp.sum(function(x, ids))  # noqa: E731
        value, gradient = jax.jit(jax.value_and_grad(value))(x)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


def test_lookup_keeps_the_dtype_and_takes_its_gradient_to_one_class(form):
    ids = random_ids(3)
    x = np.arange(30, dtype=np.int32).reshape(2, 5, 3)
    found = classes.lookup(jnp.asarray(x), ids)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, lookup_64(x, ids))
    gradient = jax.grad(lambda x: jnp.sum(classes.lookup(x, ids)))(jnp.asarray(random_logits(3)))
    np.testing.assert_array_equal(gradient, np.eye(3)[np.asarray(ids)])


def test_split_classes_takes_the_last_axis_apart():
    x = random_logits(3)
    parts = classes.split_classes(jnp.asarray(x))
    assert len(parts) == 3
    for c, part in enumerate(parts):
        np.testing.assert_array_equal(part, x[..., c])
