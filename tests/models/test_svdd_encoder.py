import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import MODELS, SVDDEncoder
from lossbench.models.svdd_encoder import FourierFeatures

DIGITS = (3, 12, 14, 1)


def drawn(model, image, key=0):
    return jax.jit(model.init)(jax.random.key(key), image)


def names(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    }


def golden(*shape, f=0.7, p=0.1, s=1.0, o=0.0):
    values = s * np.sin(f * np.arange(np.prod(shape)) + p) + o
    return np.float32(values).reshape(shape)


@pytest.mark.parametrize("space", [(), (7,), (4, 5)])
def test_the_mlp_equals_its_formula_at_each_pixel(space):
    model = SVDDEncoder(features=(6, 5, 4), negative_slope=0.1)
    image = jax.random.normal(jax.random.key(1), (3, *space, 8))
    variables = drawn(model, image)
    x = np.asarray(image, np.float64)
    for i in range(3):
        x = x @ np.asarray(variables["params"][f"dense_{i}"]["kernel"], np.float64)
        x = np.where(x > 0, x, 0.1 * x) if i < 2 else x
    got = model.apply(variables, image)
    assert set(got) == {"embeddings"}
    np.testing.assert_allclose(got["embeddings"], x, atol=1e-5)


def test_equals_the_projection_of_cuvis():
    """`fc2(relu(fc1(x)))` with a bias in the first layer only; values of cuvis-ai 0.19.3."""
    cube = golden(2, 5, 6, 4, f=0.37, s=0.3, o=0.6)
    params = {
        "dense_0": {"kernel": golden(5, 4, f=0.6, s=0.5).T, "bias": golden(5, f=0.2, s=0.3)},
        "dense_1": {"kernel": golden(3, 5, f=1.7, s=0.5).T, "bias": np.zeros(3, np.float32)},
    }
    model = SVDDEncoder(features=(5, 3), use_bias=True, activation="relu")
    got = model.apply({"params": params}, jnp.asarray(cube))["embeddings"][0, 0, 0]
    np.testing.assert_allclose(got, [-0.5178296, 0.9961857, -0.6816016], atol=1e-6)


def lenet_by_hand(variables, image, stats):
    x = np.asarray(image, np.float64)
    for i in range(2):
        kernel = np.asarray(variables["params"][f"conv_{i}"]["kernel"], np.float64)
        space = x.shape[1:3]
        padded = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
        x = sum(
            padded[:, r : r + space[0], c : c + space[1]] @ kernel[r, c]
            for r in range(5)
            for c in range(5)
        )
        own = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
        norm = own if stats is None else stats[f"norm_conv_{i}"]
        x = (x - np.asarray(norm["mean"])) / np.sqrt(np.asarray(norm["var"]) + 1e-4)
        x = np.where(x > 0, x, 0.01 * x)
        h, w = (size // 2 for size in x.shape[1:3])
        x = x[:, : 2 * h, : 2 * w].reshape(len(x), h, 2, w, 2, -1).max((2, 4))
    return x.reshape(len(x), -1) @ np.asarray(variables["params"]["dense_0"]["kernel"], np.float64)


def test_the_lenet_equals_its_formula_in_training_and_in_evaluation():
    model = SVDDEncoder("lenet", features=(7,), channels=(3, 2))
    image = jax.random.normal(jax.random.key(1), DIGITS)
    variables = drawn(model, image)
    apply = jax.jit(functools.partial(model.apply, mutable=["batch_stats"]))
    got, changed = apply(variables, image)
    assert got["embeddings"].shape == (3, 7)
    np.testing.assert_allclose(got["embeddings"], lenet_by_hand(variables, image, None), atol=1e-4)
    moved = {**variables, **changed}
    got = jax.jit(model.apply)(moved, image)["embeddings"]
    expected = lenet_by_hand(variables, image, changed["batch_stats"])
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_lenet_of_the_paper_has_its_parameters():
    model = SVDDEncoder("lenet")
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))["params"]
    assert {name: shapes[name]["kernel"].shape for name in shapes} == {
        "conv_0": (5, 5, 1, 8),
        "conv_1": (5, 5, 8, 4),
        "dense_0": (4 * 7 * 7, 32),
    }


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"normalization": "batch_no_affine"}, (4, 6)),
        ({"normalization": "layer_no_affine", "activation": "elu"}, (4, 6)),
        ({"architecture": "lenet", "channels": (2,)}, DIGITS),
        ({"architecture": "lenet", "channels": (2,), "features": (5, 4)}, (2, 4, 5, 6, 2)),
        ({"architecture": "lenet", "channels": (2,), "normalization": "layer_no_affine"}, DIGITS),
    ],
)
def test_no_parameter_is_an_offset_and_zero_is_embedded_at_zero(options, shape):
    model = SVDDEncoder(**options)
    variables = drawn(model, jnp.ones(shape))
    assert {name.rpartition("/")[2] for name in names(variables["params"])} == {"kernel"}
    got = model.apply(variables, jnp.zeros(shape))["embeddings"]
    np.testing.assert_array_equal(got, np.zeros(got.shape))


def test_few_components_of_the_first_center_are_near_zero():
    """Of standardized, correlated channels: Deep SVDD pushes those below 0.1 away from 0."""
    keys = jax.random.split(jax.random.key(0), 3)
    pixels = jax.random.normal(keys[0], (2000, 6)) @ jax.random.normal(keys[1], (6, 60))
    pixels = (pixels - pixels.mean(0)[None]) / pixels.std(0)[None]
    model = SVDDEncoder()
    center = jnp.mean(model.apply(drawn(model, pixels), pixels)["embeddings"], axis=0)
    assert float(jnp.mean(jnp.abs(center) < 0.1)) < 0.3
    assert float(jnp.median(jnp.abs(center))) > 0.3


def test_biases_come_when_asked_for():
    model = SVDDEncoder(features=(3, 2), use_bias=True)
    assert "dense_1/bias" in names(drawn(model, jnp.ones((1, 4)))["params"])


def test_fourier_features_approach_their_kernel_and_are_no_parameters():
    x = jax.random.normal(jax.random.key(1), (6, 3))
    model = FourierFeatures(20000, gamma=0.3)
    variables = drawn(model, x)
    assert set(variables) == {"fourier"}
    z = np.asarray(model.apply(variables, x), np.float64)
    squares = ((np.asarray(x)[:, None] - np.asarray(x)[None]) ** 2).sum(-1)
    np.testing.assert_allclose(z @ z.T, np.exp(-0.3 * squares), atol=0.03)


def test_fourier_features_stay_in_training_and_follow_their_key():
    model = SVDDEncoder(features=(3, 2), fourier_features=16)
    image = jax.random.normal(jax.random.key(1), (4, 5))
    variables = drawn(model, image)
    assert variables["params"]["dense_0"]["kernel"].shape == (16, 3)
    np.testing.assert_allclose(variables["fourier"]["fourier"]["frequencies"].std(), 0.63, atol=0.2)
    _, changed = model.apply(variables, image, mutable=["fourier"])
    jax.tree.map(np.testing.assert_array_equal, changed["fourier"], variables["fourier"])
    frequencies = lambda v: v["fourier"]["fourier"]["frequencies"]  # noqa: E731
    np.testing.assert_array_equal(frequencies(drawn(model, image)), frequencies(variables))
    assert not np.array_equal(frequencies(drawn(model, image, key=1)), frequencies(variables))
    other = jax.jit(model.init)({"params": jax.random.key(0), "fourier": jax.random.key(9)}, image)
    assert not np.array_equal(frequencies(other), frequencies(variables))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (SVDDEncoder(features=(4, 2), normalization="batch_no_affine"), (3, 5, 4)),
        (SVDDEncoder("lenet", channels=(2,), features=(3,)), (3, 4, 4, 2)),
    ],
)
def test_masked_equals_removed_and_nan_reaches_nothing(model, shape):
    """The last example does not count."""
    image = jax.random.normal(jax.random.key(1), shape)
    variables = drawn(model, image)

    def loss(params, image, where):
        variables_ = {**variables, "params": params}
        outputs, changed = model.apply(variables_, image, where, mutable=["batch_stats"])
        return jnp.sum(outputs["embeddings"][:2] ** 2), changed

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    expected = gradient(variables["params"], image[:2], jnp.ones(2, bool))
    spoiled = image.at[2].set(jnp.nan)
    got = gradient(variables["params"], spoiled, jnp.array([True, True, False]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4), got, expected)


def test_half_precision_stays_half_near_float32():
    model = SVDDEncoder(features=(8, 4), fourier_features=8, normalization="batch_no_affine")
    image = jax.random.normal(jax.random.key(1), (6, 5))
    variables = drawn(model, image)
    exact = model.apply(variables, image)["embeddings"]
    half = model.apply(variables, image.astype(jnp.bfloat16))["embeddings"]
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), exact, atol=0.05)


def test_a_config_gives_a_hashable_model():
    """Configurations have lists; caches of compiled functions take models as keys."""
    config = json.loads('{"architecture": "lenet", "features": [16], "channels": [4]}')
    model = MODELS["svdd_encoder"](**config)
    assert hash(model) == hash(SVDDEncoder("lenet", (16,), (4,)))
    assert model.reads == ("image", "where")


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        (
            {"architecture": "cnn"},
            (1, 3),
            "architecture: expected one of 'mlp', 'lenet', got 'cnn'",
        ),
        ({"features": ()}, (1, 3), "features must hold the embedding's width"),
        ({"normalization": "batch"}, (1, 3), "normalization: expected one of 'none'"),
        ({"fourier_features": -1}, (1, 3), "fourier_features must be 0 or more"),
        ({"architecture": "lenet", "fourier_features": 2}, DIGITS, 'are for architecture="mlp"'),
        ({"architecture": "lenet", "window": 4}, DIGITS, "window must be odd"),
        ({"architecture": "lenet", "channels": ()}, DIGITS, "channels must name one convolution"),
        ({"architecture": "lenet"}, (1, 3), 'rows of a table take architecture="mlp"'),
        ({"architecture": "lenet"}, (1, 3, 9, 1), "2 poolings by 2 need a size of at least 4"),
    ],
)
def test_what_cannot_be_built_says_why(options, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(SVDDEncoder(**options).init, jax.random.key(0), jnp.zeros(shape))
