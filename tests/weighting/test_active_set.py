import jax
import jax.numpy as jnp
import numpy as np

from lossbench.weighting._active_set import active_set, solve


def matrices(terms, count, seed=0):
    """Positive definite matrices with a diagonal of 1."""
    rows = np.random.default_rng(seed).normal(size=(count, terms, terms + 2))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows @ rows.swapaxes(-1, -2)


def test_equations_of_some_coordinates():
    matrix, right = matrices(4, 1)[0], np.arange(8.0).reshape(4, 2)
    free = np.array([True, False, True, True])
    found = jax.jit(solve)(jnp.asarray(matrix), jnp.asarray(right), jnp.asarray(free))
    wanted = np.zeros((4, 2))
    wanted[free] = np.linalg.solve(matrix[free][:, free], right[free])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(found)[1], 0)


def best_set(matrix, linear):
    """The free coordinates of the minimum, by trying all sets."""
    terms = len(linear)
    values = {}
    for number in range(2**terms):
        free = np.array([bool(number >> i & 1) for i in range(terms)])
        point = np.zeros(terms)
        point[free] = np.linalg.solve(matrix[free][:, free], linear[free])
        if np.all(point[free] > 0):
            values[tuple(free)] = point @ matrix @ point / 2 - linear @ point
    return min(values, key=lambda free: values[free])


def test_the_free_coordinates_of_a_quadratic_are_those_of_the_best_of_all_sets():
    terms, count = 6, 40
    cases = matrices(terms, count), np.random.default_rng(1).normal(size=(count, terms))

    @jax.jit
    @jax.vmap
    def run(matrix, linear, start):
        def face(free):
            goal = solve(matrix, linear, free)
            return goal, linear - matrix @ goal - 1e-6

        return active_set(face, start, jnp.ones(terms, bool))

    wanted = np.array([best_set(*case) for case in zip(*cases, strict=True)])
    for start in (jnp.zeros((count, terms)), jnp.ones((count, terms))):
        found = run(jnp.asarray(cases[0]), jnp.asarray(cases[1]), start)
        np.testing.assert_array_equal(found, wanted)


def test_a_coordinate_that_is_not_allowed_stays_at_0():
    linear = jnp.array([2.0, 1.0])
    face = lambda free: (jnp.where(free, linear, 0), jnp.where(free, 0, linear))  # noqa: E731
    free = active_set(face, jnp.zeros(2), jnp.array([False, True]))
    np.testing.assert_array_equal(free, [False, True])
