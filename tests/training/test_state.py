import jax
import jax.numpy as jnp
import numpy as np
import optax

from lossbench.training.state import init_state, stream_key


def make(Pixelwise, **options):
    batch = {"image": jnp.ones((2, 4, 4, 1))}
    return init_state(
        jax.random.key(0), batch, model=Pixelwise(), optimizer=optax.adam(0.1), **options
    )


def test_a_state_holds_arrays_and_nothing_else(Pixelwise):
    state = make(Pixelwise, averaged=True, plateau=optax.contrib.reduce_on_plateau())
    leaves, structure = jax.tree.flatten(state)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    # Two states of one model have one structure: nothing static makes a step trace again.
    other = make(Pixelwise, averaged=True, plateau=optax.contrib.reduce_on_plateau())
    assert structure == jax.tree.structure(other)
    assert state.step.dtype == jnp.int32
    assert int(state.step) == 0


def test_the_average_starts_as_a_copy(Pixelwise):
    state = make(Pixelwise, averaged=True)
    for own, mean in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(state.average), strict=True
    ):
        assert np.array_equal(own, mean)
        assert own.unsafe_buffer_pointer() != mean.unsafe_buffer_pointer()


def test_evaluated_is_the_average_where_there_is_one(Pixelwise):
    state = make(Pixelwise)
    assert state.average == {}
    assert state.evaluated["params"] is state.params
    state = make(Pixelwise, averaged=True)
    assert state.evaluated["params"] is state.average
    assert state.variables["params"] is state.params


def test_streams_differ_by_seed_and_by_name_and_repeat():
    draws = {
        (seed, name): float(jax.random.normal(stream_key(seed, name)))
        for seed in (0, 1, 2**31 - 1)
        for name in ("init", "augment")
    }
    assert len(set(draws.values())) == len(draws)
    assert float(jax.random.normal(stream_key(1, "init"))) == draws[1, "init"]
