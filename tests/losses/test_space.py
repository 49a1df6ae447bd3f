"""The contract of losses of an embedding, a color or a spectrum a pixel, on each of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.losses._space import length, unit
from tests.losses import embedded

CONTINUED = {"foreground_contrast"}  # one value for an image, no mean over pixels
MEANS = [name for name in embedded.PIXEL_LOSSES if name not in CONTINUED]
REDUCED = [name for name in MEANS if name != "svdd_soft_boundary"]


def sides(where):
    """A mask of the last rows, and the second example masked whole."""
    where = np.zeros(where, bool)
    where[:, :3] = True
    where[1] = False
    return where


@pytest.mark.parametrize("name", embedded.PIXEL_LOSSES)
def test_what_is_masked_is_as_if_it_were_not_there(name):
    inputs = embedded.arrays(name)
    where = sides((3, 4, 5))
    rest = lambda x: x[:, 3:]  # noqa: E731
    for rubbish in (np.nan, np.inf):

        def soiled(x, rubbish=rubbish):
            if x.dtype.kind != "f":
                return np.where(where, x, np.array(120 if x.dtype.kind == "i" else 1, x.dtype))
            return np.where(where[..., None], x, np.float32(rubbish))

        value, gradient = embedded.value_and_gradient(name, embedded.changed(inputs, soiled), where)
        alone, its_gradient = embedded.value_and_gradient(
            name, embedded.changed(inputs, lambda x: x[[0, 2], :3])
        )
        np.testing.assert_allclose(value[[0, 2]], alone, rtol=1e-5)
        np.testing.assert_allclose(gradient[[0, 2], :3], its_gradient, rtol=1e-5, atol=1e-7)
        assert value[1] == 0
        np.testing.assert_array_equal(rest(gradient), 0)
        np.testing.assert_array_equal(gradient[1], 0)


@pytest.mark.parametrize("name", embedded.PIXEL_LOSSES)
def test_values_are_float32_and_gradients_have_the_dtype_of_the_input(name):
    inputs = embedded.arrays(name)
    first = next(iter(inputs))
    for dtype in (jnp.bfloat16, jnp.float16):
        rounded = jnp.asarray(inputs[first]).astype(dtype)
        value, gradient = embedded.value_and_gradient(name, {**inputs, first: rounded})
        exact, _ = embedded.value_and_gradient(name, {**inputs, first: rounded.astype(jnp.float32)})
        assert value.dtype == np.float32
        assert gradient.dtype == dtype
        np.testing.assert_allclose(value, exact, rtol=1e-6)
        assert np.isfinite(gradient.astype(np.float32)).all()


@pytest.mark.parametrize("name", embedded.PIXEL_LOSSES)
def test_large_and_small_and_zero_are_finite(name):
    inputs = embedded.arrays(name)
    first = next(iter(inputs))
    for scale in (1e4, -1e4, 1e-4, 1e-20, 0.0):
        scaled = {**inputs, first: inputs[first] * np.float32(scale)}
        value, gradient = embedded.value_and_gradient(name, scaled)
        assert np.isfinite(value).all(), scale
        assert np.isfinite(gradient).all(), scale


@pytest.mark.parametrize("name", embedded.PIXEL_LOSSES)
def test_what_has_diverged_shows(name):
    inputs = embedded.arrays(name)
    first = next(iter(inputs))
    inputs[first] = inputs[first].copy()
    inputs[first][1, 2, 3] = np.nan
    value, _ = embedded.value_and_gradient(name, inputs)
    assert np.isnan(value).tolist() == [False, True, False]


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_are_of_the_same_costs(name):
    """And one number a pixel is a score of it; a mask makes it 0."""
    inputs, where = embedded.arrays(name), sides((3, 4, 5))
    kept, _ = embedded.value_and_gradient(name, inputs, where, reduction="none")
    assert kept.shape == (3, 4, 5)
    np.testing.assert_array_equal(kept[~where], 0)
    total, _ = embedded.value_and_gradient(name, inputs, where, reduction="sum")
    mean, _ = embedded.value_and_gradient(name, inputs, where)
    np.testing.assert_allclose(total, kept.sum((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(mean, total / np.array([15, 1, 15]), rtol=1e-5)
    with pytest.raises(ValueError, match="reduction: expected one of 'mean'"):
        embedded.value_and_gradient(name, inputs, reduction="max")


@pytest.mark.parametrize("name", MEANS)
def test_a_table_has_no_space(name):
    """One row an example: the same as one pixel."""
    inputs = embedded.arrays(name, space=(1,))
    table = embedded.changed(inputs, lambda x: x[:, 0])
    whole, _ = embedded.value_and_gradient(name, inputs)
    value, _ = embedded.value_and_gradient(name, table)
    assert value.shape == (3,)
    np.testing.assert_allclose(value, whole, rtol=1e-6)


@pytest.mark.parametrize("name", MEANS)
def test_the_sum_over_many_pixels_keeps_its_digits(name):
    """A mean of the same few pixels over and over is their mean."""
    inputs = embedded.arrays(name, batch=1, space=(64,))
    many = embedded.changed(inputs, lambda x: np.tile(x, (1, 2**14) + (1,) * (x.ndim - 2)))
    few, _ = embedded.value_and_gradient(name, inputs)
    value, _ = embedded.value_and_gradient(name, many)
    np.testing.assert_allclose(value, few, rtol=2e-6)


WRONG = {
    "svdd_one_class": [
        ({"center": np.zeros(4, np.float32)}, r"center: expected shape \(3,\) \(the features of"),
        ({"center": np.zeros((1, 3), np.float32)}, r"center: expected shape \(3,\)"),
        ({"center": np.zeros(3, int)}, "center: expected a floating dtype"),
        ({"embeddings": np.zeros(3, np.float32)}, "embeddings: expected shape .batch, .space, f"),
        ({"embeddings": np.zeros((2, 3), int)}, "embeddings: expected a floating dtype"),
        ({"where": np.ones((3, 4, 5, 1), bool)}, r"where: expected shape \(3, 4, 5\)"),
        ({"where": np.ones((3, 4, 5))}, "where: expected bool"),
    ],
    "svdd_soft_boundary": [
        ({"nu": 0.0}, "nu: expected a number above 0 and at most 1, got 0"),
        ({"nu": 1.5}, "nu: expected a number above 0 and at most 1, got 1.5"),
        ({"nu": float("nan")}, "nu: expected a number above 0"),
        ({"nu": np.full(3, 0.1)}, r"nu: expected one number, got shape \(3,\)"),
        ({"radius": np.ones(3, np.float32)}, r"radius: expected one number, got shape \(3,\)"),
    ],
    "deep_sad": [
        ({"labels": np.zeros((3, 4, 5), np.uint8)}, "labels: expected bool .* got uint8"),
        ({"labels": np.zeros((3, 4, 5), np.float32)}, "labels: expected bool .* got float32"),
        ({"labels": np.zeros((3, 4), int)}, r"labels: expected shape \(3, 4, 5\)"),
        ({"eta": 0.0}, "eta: expected a number above 0"),
        ({"eps": 0.0}, "eps: expected a number above 0"),
    ],
    "hypersphere_classifier": [
        ({"labels": np.zeros((3, 4, 5), int)}, "labels: expected bool .true = anomalous., got int"),
        ({"labels": np.zeros((3, 4), bool)}, r"labels: expected shape \(3, 4, 5\)"),
        ({"eps": -1.0}, "eps: expected a number above 0"),
    ],
    "reconstruction": [
        ({"image": np.zeros((3, 4, 5, 2), np.float32)}, r"image: expected shape \(3, 4, 5, 3\)"),
        ({"image": np.zeros((3, 4, 5, 3), bool)}, "image: expected an integer or floating"),
        ({"reconstructed": np.zeros((3, 4, 5, 3), int)}, "reconstructed: expected a floating"),
        ({"kind": "cubed"}, "kind: expected one of 'squared', 'absolute', 'huber'"),
        ({"delta": 0.0}, "delta: expected a number above 0"),
    ],
    "spectral_angle": [
        ({"image": np.zeros((3, 4, 5), np.float32)}, r"image: expected shape \(3, 4, 5, 3\)"),
    ],
    "spectral_information_divergence": [({"eps": 0.0}, "eps: expected a number above 0")],
    "foreground_contrast": [
        ({"colors": np.zeros((3, 4, 5, 4), np.float32)}, "colors: expected 3 channels"),
        ({"color_space": "lab"}, "color_space: expected one of 'rgb', 'oklab'"),
        ({"labels": np.zeros((3, 4, 5), int)}, "labels: expected bool .true = foreground."),
        ({"eps": 0.0}, "eps: expected a number above 0"),
    ],
}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [(name, *case) for name, cases in WRONG.items() for case in cases],
)
def test_what_is_wrong_is_named(name, change, message):
    inputs = {**embedded.arrays(name), **change}
    # The public function as users have it, without the annotations' own check.
    bare = getattr(losses, name)
    bare = getattr(bare, "__wrapped__", bare)
    given = {k: x if isinstance(x, str | float) else jnp.asarray(x) for k, x in inputs.items()}
    with pytest.raises(ValueError, match=message):
        bare(**given)


@pytest.mark.parametrize("name", ["hypersphere_classifier", "deep_sad", "foreground_contrast"])
def test_a_mask_may_have_a_last_axis_of_one(name):
    inputs = embedded.arrays(name)
    with_axis = {**inputs, "labels": inputs["labels"][..., None]}
    value, _ = embedded.value_and_gradient(name, inputs)
    np.testing.assert_array_equal(embedded.value_and_gradient(name, with_axis)[0], value)


def test_a_unit_vector_has_no_scale():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5))
    wanted = x / np.linalg.norm(x, axis=1, keepdims=True)
    for scale in (1e-25, 1e-3, 1.0, 1e30):
        u, there = jax.jit(unit)(jnp.asarray(scale * x, jnp.float32))
        np.testing.assert_allclose(u, wanted, atol=2e-7)
        assert np.asarray(there).all()
    u, there = jax.jit(unit)(jnp.zeros((2, 5)))
    np.testing.assert_array_equal(u, 0)
    assert not np.asarray(there).any()


def test_a_length_of_zero_has_a_gradient():
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(length(x)))(
        jnp.array([[3.0, 4.0], [0.0, 0.0]])
    )
    assert value == 5
    np.testing.assert_allclose(gradient, [[0.6, 0.8], [0, 0]], rtol=1e-6)
