import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models.layers import (
    ACTIVATIONS,
    Convolution,
    Linear,
    Normalization,
    activate,
    counted,
    double,
    halve,
    kernel_init,
    with_tuples,
)

ACTIVATIONS_64 = {
    "leaky_relu": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def test_activations_are_what_they_are_called():
    x = np.linspace(-3, 3, 13)
    assert set(ACTIVATIONS) == set(ACTIVATIONS_64)
    for name, formula in ACTIVATIONS_64.items():
        got = activate(jnp.asarray(x, jnp.float32), name, 0.1)
        np.testing.assert_allclose(got, formula(x), atol=1e-5, err_msg=name)
    with pytest.raises(ValueError, match="activation: expected one of 'leaky_relu'"):
        activate(jnp.zeros(2), "softplus")


@pytest.mark.parametrize(
    ("name", "variance"),
    [("torch", 1 / 3 / 50), ("he", 2 / (1 + 0.2**2) / 50), ("xavier", 2 / (50 + 400))],
)
def test_kernels_are_uniform_with_their_variance(name, variance):
    kernel = kernel_init(name, 0.2)(
        jax.random.key(0), (5, 10, 400 // (5 if name == "xavier" else 1))
    )
    largest = np.sqrt(3 * variance)
    assert float(jnp.abs(kernel).max()) <= largest * (1 + 1e-6)
    np.testing.assert_allclose(kernel.std(), np.sqrt(variance), rtol=0.03)


def test_an_unknown_initialization_is_refused():
    with pytest.raises(ValueError, match="initialization: expected one of 'torch', 'he', 'xavier'"):
        kernel_init("kaiming")


def test_what_does_not_count_is_read_as_zero_by_pixel_or_by_example():
    image = jnp.ones((2, 3, 2)).at[1].set(jnp.nan)
    pixels = jnp.array([[True, False, True], [False] * 3])
    for where in (pixels, jnp.array([True, False])):
        got, mask = counted(image, where)
        expected = np.ones((2, 3)) * (where if where.ndim == 2 else np.array(where)[:, None])
        np.testing.assert_array_equal(mask, expected > 0)
        np.testing.assert_array_equal(got, expected[..., None].repeat(2, -1))
    assert counted(image, None) == (image, None)


def test_images_and_masks_of_other_shapes_or_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"image: expected batch \*space channels, got shape \(3,"):
        counted(jnp.ones(3), None)
    with pytest.raises(ValueError, match="image: expected a floating dtype, got int32"):
        counted(jnp.ones((2, 3), int), None)
    with pytest.raises(ValueError, match=r"where: expected shape \(2, 3\)"):
        counted(jnp.ones((2, 3, 4)), jnp.ones((2, 4), bool))
    with pytest.raises(ValueError, match=r"where: expected bool"):
        counted(jnp.ones((2, 3, 4)), jnp.ones((2, 3)))


@pytest.mark.parametrize("space", [(4, 6), (5, 7), (5,), (2, 3, 4)])
def test_pooling_and_doubling_are_their_loops(space):
    x = np.random.default_rng(0).normal(size=(2, *space, 3)).astype(np.float32)
    half = tuple(size // 2 for size in space)
    pooled = np.full((2, *half, 3), -np.inf, np.float32)
    for corner in np.ndindex(*(2,) * len(space)):
        at = tuple(slice(c, 2 * h, 2) for c, h in zip(corner, half, strict=True))
        pooled = np.maximum(pooled, x[(slice(None), *at)])
    np.testing.assert_array_equal(halve(jnp.asarray(x)), pooled)
    doubled = pooled
    for axis, size in enumerate(space, start=1):
        doubled = doubled.take(np.minimum(np.arange(size) // 2, size // 2 - 1), axis=axis)
    np.testing.assert_array_equal(double(jnp.asarray(pooled), space), doubled)


def test_layers_have_a_bias_only_if_asked():
    x = jnp.ones((1, 4, 4, 3))
    for layer in (Linear, Convolution):
        shapes = jax.eval_shape(layer(2).init, jax.random.key(0), x)["params"]
        assert set(shapes) == {"kernel"}
        shapes = jax.eval_shape(layer(2, use_bias=True).init, jax.random.key(0), x)["params"]
        assert set(shapes) == {"kernel", "bias"}
    model = Linear(2, use_bias=True)
    params = {"kernel": jnp.eye(3)[:, :2], "bias": jnp.array([1.0, 2.0])}
    np.testing.assert_array_equal(model.apply({"params": params}, x)[0, 0, 0], [2, 3])


def statistics(x, where):
    kept = np.asarray(x, np.float64)[np.asarray(where)]
    return kept.mean(0), kept.var(0), kept.var(0, ddof=1)


def test_batch_statistics_leave_out_what_does_not_count():
    x = 100 + 3 * jax.random.normal(jax.random.key(0), (4, 7, 40, 5))
    where = jax.random.bernoulli(jax.random.key(1), 0.3, x.shape[:-1])
    model = Normalization("batch_no_affine", momentum=0.25)
    variables = model.init(jax.random.key(2), x, where)
    assert set(variables) == {"batch_stats"}
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(5))
    got, changed = model.apply(variables, x, where, mutable=["batch_stats"])
    mean, var, unbiased = statistics(x, where)
    expected = (np.asarray(x, np.float64) - mean) / np.sqrt(var + 1e-4)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], 0.25 * mean, rtol=1e-6)
    np.testing.assert_allclose(changed["batch_stats"]["var"], 0.75 + 0.25 * unbiased, rtol=1e-5)


def test_evaluation_takes_the_running_statistics_and_changes_nothing():
    model, x = Normalization("batch_no_affine"), jnp.full((2, 3), 5.0)
    stats = {"mean": jnp.array([1.0, 5.0, 3.0]), "var": jnp.array([4.0, 1.0, 0.0])}
    got = model.apply({"batch_stats": stats}, x)
    np.testing.assert_allclose(got[0], [2, 0, 200], rtol=1e-4)


def test_a_batch_of_which_nothing_counts_leaves_the_running_statistics():
    model, x = Normalization("batch_no_affine"), jnp.ones((2, 3))
    stats = {"mean": jnp.zeros(3), "var": jnp.ones(3)}
    variables = {"batch_stats": stats}
    got, changed = model.apply(variables, x, jnp.zeros(2, bool), mutable=["batch_stats"])
    np.testing.assert_array_equal(got, model.apply(variables, x))
    for name in stats:
        np.testing.assert_array_equal(changed["batch_stats"][name], stats[name])


@pytest.mark.parametrize("whole", [False, True])
def test_layer_statistics_are_of_a_position_or_of_an_example(whole):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    got = Normalization("layer_no_affine", whole=whole).apply({}, x)
    exact, axes = np.asarray(x, np.float64), (1, 2, 3) if whole else (3,)
    mean, var = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    np.testing.assert_allclose(got, (exact - mean) / np.sqrt(var + 1e-4), atol=1e-5)


def test_lists_become_tuples():
    class Fields:
        sizes = None
        name = "a"

    module = Fields()
    module.sizes = [1, 2]
    with_tuples(module, "sizes", "name")
    assert (module.sizes, module.name) == ((1, 2), "a")
