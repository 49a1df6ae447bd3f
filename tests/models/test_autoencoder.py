import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import SVDDAutoencoder, SVDDEncoder, encoder_params, encoder_variables

LENET = SVDDEncoder("lenet", features=(6, 4), channels=(3, 2))
MLP = SVDDEncoder(features=(6, 5, 4), normalization="batch_no_affine", negative_slope=0.1)


@pytest.mark.parametrize(
    ("encoder", "shape", "embedded"),
    [(MLP, (3, 4, 7), (3, 4, 4)), (LENET, (2, 9, 14, 1), (2, 4)), (LENET, (2, 8, 2), (2, 4))],
)
def test_gives_the_image_back_without_offsets_and_moves_its_encoder_over(encoder, shape, embedded):
    model = SVDDAutoencoder(encoder)
    image = jax.random.normal(jax.random.key(1), shape)
    variables = jax.jit(model.init)(jax.random.key(0), image)
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    assert {path[-1].key for path, _ in leaves} == {"kernel"}

    apply = jax.jit(functools.partial(model.apply, mutable=["batch_stats"]))
    outputs, changed = apply(variables, image)
    assert outputs["embeddings"].shape == embedded
    assert outputs["reconstructed"].shape == shape
    nothing = model.apply(variables, jnp.zeros(shape))["reconstructed"]
    np.testing.assert_array_equal(nothing, np.zeros(shape))

    # What is trained here is the encoder's own, statistics included.
    trained = {**variables, **changed}
    moved = encoder_variables(trained)
    own = jax.eval_shape(encoder.init, jax.random.key(0), image)
    shapes = lambda tree: jax.tree.map(lambda x: x.shape, tree)  # noqa: E731
    assert shapes(dict(moved)) == shapes(dict(own))
    assert encoder_params(trained["params"]) is moved["params"]
    alone = encoder.apply(moved, image)["embeddings"]
    np.testing.assert_allclose(alone, model.apply(trained, image)["embeddings"], atol=1e-6)


def test_the_decoder_of_an_mlp_is_its_mirror():
    model = SVDDAutoencoder(SVDDEncoder(features=(6, 5, 4)))
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 7)))["params"]
    shapes = {name: leaf["kernel"].shape for name, leaf in params["decoder"].items()}
    assert shapes == {"dense_0": (4, 5), "dense_1": (5, 6), "dense_2": (6, 7)}


def test_the_decoder_of_a_lenet_is_its_mirror():
    params = jax.eval_shape(
        SVDDAutoencoder(SVDDEncoder("lenet")).init, jax.random.key(0), jnp.ones((2, 28, 28, 1))
    )["params"]
    shapes = {name: leaf["kernel"].shape for name, leaf in params["decoder"].items()}
    assert shapes == {"dense_0": (32, 196), "conv_0": (5, 5, 4, 8), "conv_1": (5, 5, 8, 1)}


def test_a_linear_one_learns_the_plane_of_its_data():
    """Its best reconstruction leaves what lies off the first principal components."""
    plane = jax.random.normal(jax.random.key(1), (2, 5))
    image = jax.random.normal(jax.random.key(2), (64, 2)) @ plane
    model = SVDDAutoencoder(SVDDEncoder(features=(2,)))
    params = model.init(jax.random.key(0), image)["params"]

    def loss(params):
        return jnp.mean((model.apply({"params": params}, image)["reconstructed"] - image) ** 2)

    @jax.jit
    def descend(params):
        def step(params, _):
            gradient = jax.grad(loss)(params)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), None

        return jax.lax.scan(step, params, None, length=1000)[0]

    assert loss(descend(params)) < 1e-4 * loss(params)


def test_a_sigmoid_keeps_within_0_and_1():
    model = SVDDAutoencoder(SVDDEncoder(features=(4,)), output="sigmoid")
    image = 100 * jax.random.normal(jax.random.key(1), (5, 3))
    got = model.init_with_output(jax.random.key(0), image)[0]["reconstructed"]
    assert 0 <= float(got.min()) < float(got.max()) <= 1
    with pytest.raises(ValueError, match="output: expected one of 'linear', 'sigmoid'"):
        SVDDAutoencoder(SVDDEncoder(), output="tanh").init(jax.random.key(0), image)


def test_nan_that_does_not_count_reaches_no_gradient():
    model = SVDDAutoencoder(LENET)
    image = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    variables = jax.jit(model.init)(jax.random.key(0), image)
    where = jnp.array([True, True, False])

    @jax.jit
    def gradient(image):
        def loss(params):
            outputs, changed = model.apply(
                {**variables, "params": params}, image, where, mutable=["batch_stats"]
            )
            return jnp.sum(outputs["reconstructed"][:2] ** 2), changed

        return jax.grad(loss, has_aux=True)(variables["params"])

    got, expected = (gradient(image.at[2].set(x)) for x in (jnp.nan, 1.0))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_what_is_no_autoencoder_is_refused():
    with pytest.raises(ValueError, match="which have an entry \"encoder\"; got 'dense_0'"):
        encoder_params({"dense_0": {}})
