"""Values apart, derivatives side by side: one function, whichever way it is asked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.ops import classes, derivatives, probabilities
from tests.ops.samples import random_ids, random_logits


def focused(logits, ids, sharpness, where=None):
    """A cost of every pixel that uses parts, members and a value that is closed over."""
    parts = probabilities.softmax(logits * sharpness)
    own = classes.members(ids, logits.shape[-1])
    cost = classes.total([p * p * (1 - t) for p, t in zip(parts, own, strict=True)])
    return cost if where is None else cost * where


def plain(x, ids, sharpness, where=None):
    p = jax.nn.softmax(x * sharpness, axis=-1)
    cost = jnp.sum(p * p * (1 - jax.nn.one_hot(ids, x.shape[-1])), axis=-1)
    return cost if where is None else cost * where


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_value_and_every_derivative_are_those_of_the_plain_formula(size, masked):
    """Of the logits and of a value that is closed over; the mask is an argument or None."""
    x, ids = jnp.asarray(random_logits(size)), random_ids(size)
    where = jnp.asarray(np.random.default_rng(1).random((2, 5)) < 0.5, x.dtype) if masked else None
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(2, 5)), x.dtype)

    def fast(x, sharpness):
        function = lambda x, ids, where: focused(x, ids, sharpness, where)  # noqa: E731
        cost = derivatives.side_by_side_derivative(function, x, ids, where)
        return jnp.sum(weights * cost)

    def slow(x, sharpness):
        return jnp.sum(weights * plain(x, ids, sharpness, where))

    sharpness = jnp.float32(1.3)
    tangents = (jnp.cos(x), jnp.float32(0.7))

    def everything(f):
        hessian = jax.jvp(jax.grad(f), (x, sharpness), tangents)[1]
        return (
            jax.value_and_grad(f, argnums=(0, 1))(x, sharpness),
            jax.jvp(f, (x, sharpness), tangents),
            hessian,
            jax.grad(jax.checkpoint(f))(x, sharpness),
        )

    ours = jax.jit(lambda: everything(fast))()
    theirs = jax.jit(lambda: everything(slow))()
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6), ours, theirs)


def test_the_function_is_traced_apart_for_the_value_and_side_by_side_for_the_derivative():
    seen = []

    def function(x):
        parts = classes.apart(x)
        seen.append(len(parts))
        return classes.total(parts)

    derivatives.side_by_side_derivative(function, jnp.ones((1, 4, 3)))
    assert seen == [3, 1]
    assert classes.are_apart(3)  # and afterwards as before


def test_it_maps_and_what_does_not_change_has_no_derivative():
    x = jnp.asarray(random_logits(3, batch=4))[:, None]
    ids = random_ids(3, batch=4)[:, None]
    cost = lambda x, ids: derivatives.side_by_side_derivative(  # noqa: E731
        lambda x, ids: focused(x, ids, 1.0), x, ids
    )
    mapped = jax.jit(jax.vmap(jax.grad(lambda x, ids: jnp.sum(cost(x, ids)))))(x, ids)
    whole = jax.grad(lambda x: jnp.sum(plain(x[:, 0], ids[:, 0], 1.0)))(x)
    np.testing.assert_allclose(mapped, whole, rtol=1e-5, atol=1e-7)
    constant = jax.grad(lambda s: s * jnp.sum(cost(x[0], ids[0])))(1.0)
    np.testing.assert_allclose(constant, jnp.sum(plain(x[0], ids[0], 1.0)), rtol=1e-6)
