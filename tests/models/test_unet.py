import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import MODELS, UNet

SPACE = {2: (8, 12), 3: (8, 4, 12)}


def example(dims, channels=1, batch=2):
    return jax.random.normal(jax.random.key(1), (batch, *SPACE[dims], channels))


def initialized(model, image):
    """Random parameters of the model's shapes; its own initialization takes long to compile."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    return jax.tree.map(lambda s: jnp.asarray(random.normal(0, 0.2, s.shape), s.dtype), shapes)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("norm", "residual"), [("instance", False), ("group", True)])
def test_logits_have_the_shape_of_the_image_and_every_parameter_a_gradient(dims, norm, residual):
    model = UNet(3, dims, features=(4, 6), norm=norm, groups=2, residual=residual)
    image = example(dims, channels=2)
    variables = initialized(model, image)

    def loss(variables):
        outputs = model.apply(variables, image)
        return jnp.sum(jnp.tanh(outputs["logits"]) ** 2), outputs

    with jax.numpy_dtype_promotion("strict"):
        gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(variables)
    assert {name: v.shape for name, v in outputs.items()} == {"logits": (2, *SPACE[dims], 3)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert bool(jnp.isfinite(leaf).all()), path
        assert bool(jnp.any(leaf != 0)), path


def test_about_85_thousand_parameters_at_8_16_32_in_3d():
    model = UNet(num_classes=3, dims=3, features=(8, 16, 32))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 8, 1)))
    by_level = 27 * (1 * 8 + 8 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32)  # encoder
    by_level += 27 * (32 * 16 + 16 * 16 + 16 * 8 + 8 * 8) + 8 * (32 * 16 + 16 * 8)  # decoder
    by_level += 2 * 2 * (8 + 16 + 32 + 16 + 8) + (8 * 3 + 3)  # normalization, head
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == by_level == 85171
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("dims", [2, 3])
def test_deep_supervision_names_its_logits_by_their_stride(dims):
    model = UNet(num_classes=4, dims=dims, features=(2, 4, 6), deep_supervision=True)
    image = example(dims)
    outputs = jax.eval_shape(model.apply, initialized(model, image), image)
    assert set(outputs) == {"logits", "logits_2", "logits_4"}
    for stride in (2, 4):
        coarser = tuple(size // stride for size in SPACE[dims])
        assert outputs[f"logits_{stride}"].shape == (2, *coarser, 4)


@pytest.mark.parametrize("dims", [2, 3])
def test_examples_do_not_see_each_other(dims):
    model = UNet(num_classes=2, dims=dims, features=(4, 6))
    image = example(dims)
    variables = initialized(model, image)
    apply = jax.jit(lambda image: model.apply(variables, image)["logits"])
    together = apply(image)
    alone = jnp.concatenate([apply(image[i : i + 1]) for i in range(2)])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_flat_volume_is_the_image_it_repeats():
    """A 3D network whose kernels only look along the last two axes is the 2D network."""
    image = example(2)
    flat, deep = (UNet(num_classes=2, dims=dims, features=(4, 6)) for dims in (2, 3))
    plane = initialized(flat, image)
    volume = initialized(deep, image[:, None].repeat(4, axis=1))

    def thicken(target, kernel):
        if target.shape == kernel.shape:
            return kernel
        if target.shape[0] == 3:  # the middle one of three depth taps
            return jnp.zeros_like(target).at[1].set(kernel)
        return jnp.broadcast_to(kernel[:, None], target.shape)  # both halves of a doubled depth

    volume = jax.tree.map(thicken, volume, plane)
    expected = jax.jit(flat.apply)(plane, image)["logits"][:, None].repeat(4, axis=1)
    got = jax.jit(deep.apply)(volume, image[:, None].repeat(4, axis=1))["logits"]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_bfloat16_computes_in_bfloat16_near_float32():
    image = example(2)
    model = UNet(num_classes=2, features=(4, 6))
    variables = initialized(model, image)
    exact = jax.jit(model.apply)(variables, image)["logits"]
    with jax.numpy_dtype_promotion("strict"):
        half = jax.jit(model.clone(dtype=jnp.bfloat16).apply)(variables, image)["logits"]
    assert half.dtype == jnp.bfloat16
    assert float(jnp.abs(half.astype(jnp.float32) - exact).mean()) < 0.1 * float(exact.std())


def test_one_trace_for_one_shape():
    model = UNet(num_classes=2, dims=3, features=(2, 4))
    image = example(3)
    variables = initialized(model, image)
    traces = []

    @jax.jit
    def apply(variables, image):
        traces.append(image.shape)
        return model.apply(variables, image)["logits"]

    for step in range(3):
        apply(jax.tree.map(lambda v, s=step: v + s, variables), image + step)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (1, 8, 10, 1), "spatial axis 1 has size 10.*stride of 4.*allowed is 12"),
        ({"dims": 3}, (1, 5, 8, 8, 1), "spatial axis 0 has size 5.*allowed is 8"),
        ({"dims": 3}, (1, 8, 8, 1), r"3 spatial axes, got shape \(1, 8, 8, 1\)"),
        ({"dims": 4}, (1, 8, 8, 1), "dims must be 2 or 3, got 4"),
        ({"norm": "batch"}, (1, 8, 8, 1), "norm must be .*got 'batch'"),
        ({"norm": "group", "groups": 3}, (1, 8, 8, 1), "groups=3 must divide .* not 8"),
        ({"features": ()}, (1, 8, 8, 1), "features must name"),
    ],
)
def test_bad_input_is_named(options, shape, message):
    with pytest.raises(ValueError, match=message):
        UNet(num_classes=2, **options).init(jax.random.key(0), jnp.zeros(shape))


def test_an_integer_image_is_refused():
    with pytest.raises(ValueError, match="floating point, got int32"):
        UNet(num_classes=2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1), jnp.int32))


def test_the_table_of_models_has_it():
    assert MODELS["unet"] is UNet
