"""Foreground contrast: the formula, OKLab by hand, values of cuvis-ai."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import embedded

WHERE = np.random.default_rng(3).random((3, 4, 5)) < 0.8


def oklab(x, assume_srgb):
    """Ottosson 2020, and the transfer curve of IEC 61966-2-1."""
    if assume_srgb:
        x = np.where(x <= 0.04045, x / 12.92, (np.maximum(x, 0) + 0.055) ** 2.4 / 1.055**2.4)
    cones = (
        x
        @ np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        ).T
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(cones) @ lab.T


def reference(
    colors,
    mask,
    where,
    *,
    compactness=0.0,
    anchor=0.0,
    color_space="rgb",
    assume_srgb=True,
    eps=1e-6,
):
    x = np.asarray(colors, np.float64)
    x = oklab(x, assume_srgb) if color_space == "oklab" else x
    rows = []
    for image, m, w in zip(x, mask, where, strict=True):
        front, back, whole = image[m & w], image[~m & w], image[w]
        contrast = np.sqrt(((front.mean(0) - back.mean(0)) ** 2).sum() + eps)
        away = sum(((s.mean(0) - whole.mean(0)) ** 2).mean() for s in (front, back))
        rows.append(compactness * front.var(0).mean() + anchor * away - contrast)
    return np.array(rows)


@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compactness": 0.5, "anchor": 0.25},
        {"color_space": "oklab"},
        {"color_space": "oklab", "assume_srgb": False, "compactness": 2.0, "anchor": 1.0},
        {"eps": 0.1},
    ],
    ids=str,
)
def test_the_formula(where, options):
    inputs = embedded.arrays("foreground_contrast")
    value, _ = embedded.value_and_gradient("foreground_contrast", inputs, where, **options)
    kept = np.ones((3, 4, 5), bool) if where is None else where
    wanted = reference(inputs["colors"], inputs["labels"], kept, **options)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_an_image_of_one_side_costs_nothing():
    """Nor does one of which the mask leaves one side."""
    inputs = embedded.arrays("foreground_contrast")
    inputs["labels"][0], inputs["labels"][1] = True, False
    options = {"compactness": 1.0, "anchor": 1.0, "color_space": "oklab"}
    value, gradient = embedded.value_and_gradient(
        "foreground_contrast", inputs, inputs["labels"], **options
    )
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradient, 0)
    value, gradient = embedded.value_and_gradient("foreground_contrast", inputs, **options)
    assert value[2] != 0
    np.testing.assert_array_equal(value[:2], 0)
    np.testing.assert_array_equal(gradient[:2], 0)


@pytest.mark.parametrize("assume_srgb", [True, False])
def test_black_and_impossible_colors_are_finite(assume_srgb):
    labels = jnp.arange(4)[None] < 2

    @jax.jit
    @jax.vmap
    def of(colors):
        options = {"color_space": "oklab", "assume_srgb": assume_srgb, "compactness": 1.0}
        loss = lambda x: losses.foreground_contrast(x, labels, **options)[0]  # noqa: E731
        return jax.value_and_grad(loss)(colors)

    flat = jnp.array([0.0, 1e-9, -0.5, -1e4, 1e4])[:, None, None, None] + jnp.zeros((1, 1, 4, 3))
    for colors in (flat, flat.at[:, :, 0].add(0.1)):
        value, gradient = of(colors)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


def test_bright_colors_keep_the_digits_of_their_variance():
    """E x^2 - (E x)^2 would have none left."""
    x = 1e4 + np.random.default_rng(0).normal(size=(1, 64, 3))
    labels = np.arange(64)[None] < 32
    colors = x.astype(np.float32)
    inputs = {"colors": colors, "labels": labels}
    value, _ = embedded.value_and_gradient("foreground_contrast", inputs, compactness=1.0)
    wanted = reference(colors, labels, np.ones((1, 64), bool), compactness=1.0)
    np.testing.assert_allclose(value, wanted, rtol=1e-3)


CUVIS = {
    ("rgb", 0.0, 0.0): -0.1824189,
    ("rgb", 0.5, 0.25): -0.1312201,
    ("oklab", 0.0, 0.0): -0.1018611,
    ("oklab", 0.5, 0.25): -0.0883033,
}


def test_the_values_of_cuvis():
    """Which gives the mean over the batch."""
    wave = lambda n, f, s=1.0, o=0.0: (s * np.sin(f * np.arange(n) + 0.1) + o).astype(np.float32)  # noqa: E731
    colors = jnp.asarray(wave(96, 0.7, 0.45, 0.5).reshape(2, 4, 4, 3))
    labels = jnp.asarray(wave(32, 0.8).reshape(2, 4, 4) > 0.2)
    for (space, compactness, anchor), wanted in CUVIS.items():
        value = jax.jit(losses.foreground_contrast, static_argnames="color_space")(
            colors, labels, compactness=compactness, anchor=anchor, color_space=space
        )
        np.testing.assert_allclose(jnp.mean(value), wanted, rtol=1e-5)
