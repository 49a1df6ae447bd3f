"""The class axis: the same values whichever way it is held."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.ops import classes
from tests.ops.samples import lookup_64, random_ids, random_logits


def test_lookup_keeps_the_dtype_and_takes_its_gradient_to_one_class(form):
    ids = random_ids(3)
    x = np.arange(30, dtype=np.int32).reshape(2, 5, 3)
    found = classes.lookup(jnp.asarray(x), ids)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, lookup_64(x, ids))
    gradient = jax.grad(lambda x: jnp.sum(classes.lookup(x, ids)))(jnp.asarray(random_logits(3)))
    np.testing.assert_array_equal(gradient, np.eye(3)[np.asarray(ids)])


def test_choose_takes_parts_and_scalars():
    x, ids = random_logits(3), random_ids(3)
    parts = [jnp.asarray(x[..., 0]), jnp.float32(7.0), jnp.asarray(x[..., 2])]
    expected = np.where(ids == 0, x[..., 0], np.where(ids == 1, 7, x[..., 2]))
    np.testing.assert_array_equal(classes.choose(parts, ids), expected)


def test_value_of_is_a_table_whose_gradient_counts_its_readers(form):
    ids, values = random_ids(4), np.array([3.0, 1.0, -2.0, 5.0], np.float32)
    np.testing.assert_array_equal(classes.value_of(jnp.asarray(values), ids), values[ids])
    gradient = jax.grad(lambda v: jnp.sum(classes.value_of(v, ids)))(jnp.asarray(values))
    np.testing.assert_array_equal(gradient, np.bincount(np.ravel(ids), minlength=4))


@pytest.mark.parametrize(("size", "count"), [(1, 1), (3, 3), (5, 5), (6, 1), (40, 1)])
def test_parts_are_one_a_class_up_to_the_limit_and_one_in_all_above(size, count):
    x, ids = random_logits(size), random_ids(size)
    parts = classes.apart(jnp.asarray(x))
    assert len(parts) == count
    assert classes.are_apart(size) == (size <= 5)
    shape = (2, 5) if size <= 5 else (2, 5, size)
    assert all(part.shape == shape for part in (*parts, *classes.members(ids, size)))
    np.testing.assert_array_equal(classes.together(parts, size), x)
    belongs = classes.together(classes.members(ids, size), size)
    np.testing.assert_array_equal(belongs, np.asarray(ids)[..., None] == np.arange(size))
    np.testing.assert_allclose(classes.total(parts), x.sum(-1, dtype=np.float64), atol=2e-5)


def test_numbers_a_class_combine_with_parts(form):
    x, values = random_logits(3), np.array([1.0, 0.0, -2.0], np.float32)
    parts = classes.apart(jnp.asarray(x))
    factors = classes.per_class(jnp.asarray(values))
    products = [part * factor for part, factor in zip(parts, factors, strict=True)]
    np.testing.assert_array_equal(classes.together(products, 3), x * values)


def test_sums_of_parts_come_together_with_the_classes_last(form):
    """What is left of a part after its pixels are summed: `batch`, or `batch classes`."""
    x = random_logits(3)
    sums = [jnp.sum(part, axis=1) for part in classes.apart(jnp.asarray(x))]
    np.testing.assert_allclose(classes.together(sums, 3), x.sum(1), rtol=1e-6)


def test_split_classes_takes_the_last_axis_apart():
    x = random_logits(3)
    parts = classes.split_classes(jnp.asarray(x))
    assert len(parts) == 3
    for c, part in enumerate(parts):
        np.testing.assert_array_equal(part, x[..., c])


@pytest.mark.parametrize("size", [1, 3, 9])
def test_sums_maxima_and_copies_are_the_plain_ones_in_value_and_every_derivative(size):
    """Random values and a tie of all; the derivative of a maximum at a tie is the mean."""
    x = np.concatenate([random_logits(size, 1), np.zeros((1, 2, size), np.float32)], axis=1)
    weights = np.random.default_rng(0).normal(size=(1, 7)).astype(np.float32)

    def of_ours(x):
        copies = classes.spread(weights * classes.max_of_classes(x), size)
        unlikely = jnp.zeros((1, 7), bool)
        return jnp.sum(copies * x) + jnp.sum(
            classes.stored(jnp.sin(classes.sum_of_classes(x)), unlikely)
        )

    def of_plain(x):
        copies = jnp.broadcast_to((weights * jnp.max(x, axis=-1))[..., None], x.shape)
        return jnp.sum(copies * x) + jnp.sum(jnp.sin(jnp.sum(x, axis=-1)))

    for function in (
        lambda f: f(x),
        lambda f: jax.grad(f)(x),
        lambda f: jax.jvp(f, (x,), (jnp.cos(x),))[1],
        lambda f: jax.jvp(jax.grad(f), (x,), (jnp.cos(x),))[1][:, :5],
    ):
        ours, plain = (jax.jit(lambda f=f, g=function: g(f))() for f in (of_ours, of_plain))
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)


def test_the_largest_is_found_with_the_first_class_that_has_it(form):
    x = jnp.array([[[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-1.0, -2.0, 0.5]]])
    largest, top = classes.largest_of_classes(x)
    np.testing.assert_array_equal(largest, [[3, 2, 0.5]])
    np.testing.assert_array_equal(top, [[1, 0, 2]])
