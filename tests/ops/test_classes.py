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
