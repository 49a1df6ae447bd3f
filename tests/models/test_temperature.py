import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models.temperature import in_training, temperature, training_step


def test_equals_cuvis_over_20_epochs():
    """Epochs 0, 1, 5, 10, 19 and 20 of cuvis-ai 0.19.3."""
    steps = jnp.array([0, 1, 5, 10, 19, 20])
    got = temperature(steps, start=10.0, end=0.1, steps=20)
    np.testing.assert_allclose(got, [10.0, 7.8476, 2.976351, 0.885867, 0.1, 0.1], rtol=1e-5)


def test_a_decay_a_step_takes_the_steps_that_are_said():
    decay, start, end = 0.9, 5.0, 0.1
    steps = 1 + np.log(end / start) / np.log(decay)
    got = temperature(jnp.arange(50), start=start, end=end, steps=steps)
    expected = np.maximum(start * decay ** np.arange(50.0), end)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_one_step_and_one_way():
    np.testing.assert_allclose(temperature(jnp.arange(3), start=2.0, end=1.0, steps=1), [2, 1, 1])


@pytest.mark.parametrize("wrong", [{"start": 0.0}, {"end": -1.0}, {"steps": 0}])
def test_what_is_no_way_is_refused(wrong):
    with pytest.raises(ValueError, match="start and end must be above 0 and steps at least 1, got"):
        temperature(jnp.int32(0), **{"start": 1.0, "end": 0.1, "steps": 5, **wrong})


class Counter(nn.Module):
    @nn.compact
    def __call__(self):
        return training_step(self), in_training(self)


def test_only_training_counts():
    model = Counter()
    variables = model.init(jax.random.key(0))
    for expected in range(3):
        assert model.apply(variables) == (expected, False)
        (step, training), variables = model.apply(variables, mutable=["schedule"])
        assert (step, training) == (expected, True)
