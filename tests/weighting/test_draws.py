import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from lossbench.weighting._draws import first_draw


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, 1.0, "3", True, None, np.arange(2), jnp.ones(())])
def test_a_seed_that_is_no_integer_of_32_bits_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed: expected an integer from 0 to 2\*\*32 - 1, got"):
        first_draw(seed)


def test_the_methods_that_draw_refuse_it_too():
    for init in (weighting.pcgrad(seed=-1).init, lambda params: weighting.random().init(2, -1)):
        with pytest.raises(ValueError, match="seed: expected an integer"):
            init(jnp.ones(2))


def test_seeds_of_all_kinds():
    for seed in (3, np.int64(3), np.uint8(3), np.array(3), jnp.int32(3), jnp.uint32(3)):
        assert first_draw(seed).seed == 3
    assert int(first_draw(2**32 - 1).seed) == 2**32 - 1
    found = jax.jit(jax.vmap(lambda seed: first_draw(seed).seed))(jnp.arange(3))
    np.testing.assert_array_equal(found, [0, 1, 2])
    with pytest.raises(ValueError, match="seed: expected an integer"):
        jax.eval_shape(first_draw, 0.5)


def test_the_seed_given_outlives_a_state_that_is_donated():
    seed = jnp.uint32(3)
    step = jax.jit(lambda state: state.next(), donate_argnums=0)
    first = step(first_draw(seed))
    assert step(first_draw(seed)).seed == first.seed == seed == 3
