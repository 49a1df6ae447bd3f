"""Every form of probabilities and margins, against float64 and exact decimal arithmetic."""

import decimal

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.ops import classes, probabilities
from tests.ops.samples import lookup_64, random_ids, random_logits

# Both sides of the limit, and the fewest.
SIZES = [2, 3, 5, 6]


def log_softmax_64(x):
    x = x.astype(np.float64)
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


def margin_64(x, ids):
    x, ids = x.astype(np.float64), np.asarray(ids)
    values = [
        np.logaddexp.reduce(np.delete(row, y)) - row[y]
        for row, y in zip(x.reshape(-1, x.shape[-1]), ids.ravel(), strict=True)
    ]
    return np.reshape(values, ids.shape)


def margins_64(x):
    every = range(x.shape[-1])
    return np.stack([margin_64(x, np.full(x.shape[:2], c)) for c in every], axis=-1)


def surprises_64(x, ids):
    margin = margin_64(x, ids)
    return np.stack([np.logaddexp(0, margin), np.logaddexp(0, -margin)], axis=-1)


REFERENCES = {
    "softmax": lambda x, ids: np.exp(log_softmax_64(x)),
    "sigmoid": lambda x, ids: np.exp(-np.logaddexp(0, -x.astype(np.float64))),
    "log_softmax": lambda x, ids: log_softmax_64(x),
    "surprises": surprises_64,
    "surprise": lambda x, ids: surprises_64(x, ids)[..., 0],
    "margins": lambda x, ids: margins_64(x),
    "lookup": lookup_64,
    "total": lambda x, ids: x.sum(-1, dtype=np.float64),
}


def every_function(x, ids, names=tuple(REFERENCES)):
    """All of them in one program, which compiles faster than each alone; classes last."""

    def value(name):
        function = getattr(classes if hasattr(classes, name) else probabilities, name)
        if name == "total":
            return function(classes.apart(x))
        if name == "surprises":
            return jnp.stack(function(x, ids), axis=-1)
        if name in ("lookup", "surprise"):
            return function(x, ids)
        return classes.together(function(x), x.shape[-1])

    return {name: value(name) for name in names}


@pytest.mark.parametrize("size", SIZES)
def test_the_values_are_the_formulas_on_both_sides_of_the_limit(size):
    x, ids = random_logits(size), random_ids(size)
    # Many margins written out compile for long and show nothing new.
    names = [name for name in REFERENCES if name != "margins" or size != 16]
    for name, value in jax.jit(lambda x: every_function(x, ids, names))(x).items():
        expected = REFERENCES[name](x, ids)
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_values_and_derivatives_of_each_form_are_those_of_the_formula(form):
    """Of a random weighting of the values, in both modes, by differences of the reference."""
    x, ids = random_logits(4, 2, 4), random_ids(4, 2, 4)
    rng = np.random.default_rng(1)
    tangent = rng.normal(size=x.shape)
    expected = {name: function(x, ids) for name, function in REFERENCES.items()}
    cotangents = {name: rng.normal(size=value.shape) for name, value in expected.items()}

    @jax.jit
    def derivatives(x, tangent, cotangents):
        values, change = jax.jvp(lambda x: every_function(x, ids), (x,), (tangent,))
        gradients = {
            name: jax.vjp(lambda x, n=name: every_function(x, ids, (n,))[n], x)[1](cotangent)[0]
            for name, cotangent in cotangents.items()
        }
        return values, change, gradients

    in_single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (x, tangent, cotangents))
    values, change, gradients = derivatives(*in_single)
    for name, reference in REFERENCES.items():
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-5, atol=1e-6)
        x64 = x.astype(np.float64)
        along = (reference(x64 + 1e-5 * tangent, ids) - reference(x64 - 1e-5 * tangent, ids)) / 2e-5
        np.testing.assert_allclose(change[name], along, rtol=1e-5, atol=5e-6, err_msg=name)
        differences = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[index] = 1e-5
            moved = reference(x64 + step, ids) - reference(x64 - step, ids)
            differences[index] = np.sum(cotangents[name] * moved) / 2e-5
        np.testing.assert_allclose(gradients[name], differences, atol=5e-6, err_msg=name)


COMPOSITIONS = [(a, b) for a in (jax.jacfwd, jax.jacrev) for b in (jax.jacfwd, jax.jacrev)]


def test_second_derivatives_in_every_composition_are_those_of_the_formula(form):
    """Of a weighting of all values; two random pixels and a tie of all classes."""
    names = ("softmax", "sigmoid", "log_softmax", "surprise", "surprises", "margins")
    x = np.concatenate([random_logits(3, 1, 2), np.zeros((1, 1, 3))], axis=1).astype(np.float64)
    ids, rng = random_ids(3, 1, 3), np.random.default_rng(1)
    weights = {name: rng.normal(size=REFERENCES[name](x, ids).shape) for name in names}

    def reference(x):
        return sum(np.sum(weights[name] * REFERENCES[name](x, ids)) for name in names)

    def weighted(x):
        values = every_function(x, ids, names)
        return sum(jnp.sum(weights[name] * values[name]) for name in names)

    steps = 1e-3 * np.eye(x.size).reshape(x.size, *x.shape)
    differences = [
        [
            sum(s * t * reference(x + s * a + t * b) for s in (1, -1) for t in (1, -1)) / 4e-6
            for b in steps
        ]
        for a in steps
    ]
    with jax.enable_x64(True):
        hessians = jax.jit(lambda x: [a(b(weighted))(x) for a, b in COMPOSITIONS])
        for hessian in hessians(jnp.asarray(x)):
            hessian = hessian.reshape(x.size, x.size)
            np.testing.assert_allclose(hessian, differences, rtol=1e-5, atol=1e-5)


def others_softmax(row, own):
    """The shares of the other classes, from float64; 0 for class `own`."""
    others = np.where(np.arange(len(row)) == own, -np.inf, np.asarray(row, np.float64))
    r = np.exp(others - others.max())
    return r / r.sum()


def others_hessian(row, own):
    """Of log sum exp over all but class `own`: diag(r) - r r'."""
    r = others_softmax(row, own)
    return np.diag(r) - np.outer(r, r)


def test_second_derivatives_of_surprises_hold_in_saturation(form):
    """Of -log p_y: diag(p) - p p'. Of -log(1 - p_y): that less the same of the others."""
    x, ids = jnp.array([0.0, 1.0, 0.0, -1.0]), jnp.zeros((1, 1), jnp.int32)
    both = lambda x: jnp.stack(probabilities.surprises(x[None, None], ids))[:, 0, 0]  # noqa: E731
    hessians = jax.jit(lambda x: [a(b(both))(x) for a, b in COMPOSITIONS])
    for own in (-1e4, -200.0, -50.0, 0.0, 10.0, 30.0, 50.0, 80.0, 200.0, 1e4):
        row = np.append(own, [1.0, 0.0, -1.0])
        p = np.exp(row - np.logaddexp.reduce(row))
        of_all = np.diag(p) - np.outer(p, p)
        of_others = others_hessian(row, 0) if own < 87 else np.nan
        for hessian in hessians(x.at[0].set(own)):
            assert np.all(np.isfinite(hessian)), own
            np.testing.assert_allclose(hessian[0], of_all, atol=1e-6, err_msg=str(own))
            if own < 87:  # beyond, 1 - p_y has no normal number
                expected = of_all - of_others
                np.testing.assert_allclose(hessian[1], expected, atol=2e-6, err_msg=str(own))


LEADS = [
    [1e4, 0.0, 0.0, -1.0],
    [0.0, 1.0, 1e4, 1e4],
    [-1e4, -1e4, -1e4, -1e4],
    [1e4, -1e4, 0.0, 1.0],
    [2.0, 2.0, 2.0, 2.0],
    [30.0, 3.0, 1.0, 30.0],
    [0.0, 0.0, 0.0, 1e-6],
]


def test_margins_keep_their_digits_where_a_class_leads_or_ties(form):
    """Value and both derivatives: r_c, -1 for the own class, and diag(r) - r r'."""
    margins = lambda x: classes.together(probabilities.margins(x[None, None]), 4)[0, 0]  # noqa: E731

    def three(x):
        return margins(x), jax.jacrev(margins)(x), jax.jacfwd(jax.jacrev(margins))(x)

    x = np.asarray(LEADS, np.float32)
    values, jacobians, hessians = jax.jit(jax.vmap(three))(x)
    np.testing.assert_allclose(values, margins_64(x[None])[0], rtol=1e-6, atol=5e-7)
    for row, jacobian, hessian in zip(x, jacobians, hessians, strict=True):
        for c in range(4):
            expected = others_softmax(row, c) - np.eye(4)[c]
            accuracy = {"rtol": 1e-6, "atol": 1e-6, "err_msg": f"{row}"}
            np.testing.assert_allclose(jacobian[c], expected, **accuracy)
            np.testing.assert_allclose(hessian[c], others_hessian(row, c), **accuracy)


def exact_logs(row, y):
    """log p_y and log(1 - p_y) in 200 digits."""
    with decimal.localcontext(prec=200):
        e = [decimal.Decimal(float(x)).exp() for x in row]
        others = sum(e[:y] + e[y + 1 :])
        return float((e[y] / sum(e)).ln()), float((others / sum(e)).ln())


def test_margins_and_surprises_keep_the_digits_of_a_saturated_softmax(form):
    ids = random_ids(3, 1, 12)

    @jax.jit
    def logs(x):
        margin = classes.lookup(classes.together(probabilities.margins(x), 3), ids)
        both = [probabilities.softplus_both(margin), probabilities.surprises(x, ids)]
        return [-jnp.stack(pair, axis=-1) for pair in both]

    surprise = jax.jit(lambda x: probabilities.surprise(x, ids))
    for scale in (1.0, 30.0, 300.0, 1e4):
        x = (scale * np.random.default_rng(0).uniform(-1, 1, (1, 12, 3))).astype(np.float32)
        exact = np.array([exact_logs(row, y) for row, y in zip(x[0], ids[0], strict=True)])
        # A margin of this size is known to a digit of float32; its exponential inherits the error.
        # Below the least float32 there is only 0.
        rtol = 2e-6 + 2e-7 * min(scale, 104)
        of_margins, surprises = logs(x)
        np.testing.assert_allclose(of_margins[0], exact, rtol=rtol, atol=1e-37)
        np.testing.assert_allclose(surprises[0], exact, rtol=rtol, atol=1e-37)
        atol = 1.2e-7 if form == "many" else 1e-37
        np.testing.assert_allclose(-surprise(x)[0], exact[:, 0], rtol=rtol, atol=atol)


def test_softplus_both_is_exact_however_large_its_argument_is():
    x = np.array([0, 1e-6, 0.5, 1, 5, 20, 60, 87, 200, 1e4], np.float32)
    x = np.concatenate([x, -x])
    with decimal.localcontext(prec=50):
        exact = [float((1 + decimal.Decimal(float(v)).exp()).ln()) for v in x]
    up, down = jax.jit(probabilities.softplus_both)(x)
    np.testing.assert_allclose(up, exact, rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(down, np.roll(exact, len(x) // 2), rtol=1e-6, atol=1e-37)
    first, second = jax.jit(
        jax.vmap(lambda x: [f(probabilities.softplus_both)(x) for f in (jax.jacrev, jax.hessian)])
    )(x)
    p = np.exp(-np.logaddexp(0, -x.astype(np.float64)))
    q = np.roll(p, len(x) // 2)
    np.testing.assert_allclose(first, [p, -q], rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(second, [p * q, p * q], rtol=1e-5, atol=1e-7)


def test_saturated_probabilities_and_gradients_are_exact(form):
    """A class that wins by 1e4 has p = 1 and the margin -1e4; its gradient does not vanish."""
    x, ids = jnp.array([[[1e4, 0.0, 0.0], [0.0, 1e4, 0.0]]]), jnp.array([[0, 0]])
    values = jax.jit(every_function)(x, ids)
    np.testing.assert_array_equal(values["softmax"][0], [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(values["sigmoid"][0], [[1, 0.5, 0.5], [0.5, 1, 0.5]])
    np.testing.assert_array_equal(values["log_softmax"][0, :, 1], [-1e4, 0])
    np.testing.assert_allclose(values["surprises"][0, :, 0], [0, 1e4])
    np.testing.assert_array_equal(values["surprises"][0, 1, 1], 0)
    assert values["surprises"][0, 0, 1] > 87
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(probabilities.surprises(x, ids)[0])))(x)
    np.testing.assert_allclose(gradient[0], [[0, 0, 0], [-1, 1, 0]], atol=1e-6)


def test_both_orders_of_derivatives_are_finite_for_saturated_logits(form):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.choice([-1e4, -100.0, 0.0, 100.0, 1e4], (1, 64, 3)), jnp.float32)
    ids = random_ids(3, 1, 64)

    def weighted(x):
        values = jax.tree.leaves(
            every_function(x, ids, ("log_softmax", "surprise", "surprises", "margins"))
        )
        return sum(jnp.sum(jnp.sin(value)) for value in values)

    first, second = jax.jit(
        lambda x: jax.jvp(jax.grad(weighted), (x,), (jnp.ones_like(x).at[..., 0].set(2.0),))
    )(x)
    assert np.all(np.isfinite(first))
    assert np.all(np.isfinite(second))


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.float32, (1, 4, 3), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from([-64.0, 0.5, 1024.0]),
)
def test_probabilities_sum_to_one_and_forget_a_shift(x, shift):
    p = np.stack(probabilities.softmax(jnp.asarray(x)))
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(0), 1, rtol=1e-6)
    x = np.round(x)  # so that the shift is exact
    shifted = np.stack(probabilities.log_softmax(jnp.asarray(x + np.float32(shift))))
    plain = np.stack(probabilities.log_softmax(jnp.asarray(x)))
    np.testing.assert_allclose(shifted, plain, rtol=1e-5, atol=2e-3)


def test_an_id_outside_the_classes_stays_finite(form):
    """Masked labels may be anything; what they give is thrown away, but must not be NaN."""
    x, ids = jnp.asarray(random_logits(3)), jnp.full((2, 5), 255).at[0].set(-1)
    for function in (
        lambda x: sum(probabilities.surprises(x, ids)),
        lambda x: classes.lookup(x, ids),
        lambda x: classes.value_of(x[0, 0], ids),
    ):
        scalar = lambda x, function=function: jnp.sum(function(x))  # noqa: E731
        value, gradient = jax.jit(jax.value_and_grad(scalar))(x)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))
    assert not any(np.any(part) for part in classes.members(ids, 3))
