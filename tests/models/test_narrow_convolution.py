import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models.convolution import native
from lossbench.models.narrow_convolution import columns_together, convolve_narrow, on_columns


def arrays(space, window, channels, features):
    keys = jax.random.split(jax.random.key(0), 2)
    image = jax.random.normal(keys[0], (2, *space, channels))
    return image, jax.random.normal(keys[1], (*window, channels, features))


@pytest.mark.parametrize(
    ("space", "window", "channels", "features", "together"),
    [
        ((4, 8), (5, 5), 1, 3, 4),
        ((3, 6), (3, 5), 2, 4, 2),
        ((5, 6), (3, 3), 3, 2, 1),
        ((2, 4), (1, 1), 2, 3, 2),
        ((3, 4), (5, 5), 2, 2, 4),
        ((1, 9), (3, 7), 2, 1, 3),
    ],
)
def test_columns_equal_the_native_form(space, window, channels, features, together):
    image, kernel = arrays(space, window, channels, features)

    @jax.jit
    def both(image, kernel):
        results = []
        for form in (lambda x, k: on_columns(x, k, together), native):
            value, pull = jax.vjp(form, image, kernel)
            results.append((value, *pull(jnp.cos(value))))
        return results

    for ours, theirs in zip(*both(image, kernel), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_block_divides_the_width_reaches_far_enough_and_stays_narrow():
    for width, kernel, together in (
        (28, (5, 5, 1, 8), 4),
        (14, (5, 5, 8, 4), 2),
        (29, (5, 5, 1, 8), 1),
        (14, (9, 9, 8, 4), 1),
        (3, (3, 3, 1, 1), 3),
        (32, (3, 3, 64, 64), 1),
    ):
        assert columns_together(width, kernel) == together


@pytest.mark.parametrize(
    ("space", "window"), [((4, 8), (5, 5)), ((4, 7), (4, 4)), ((6,), (3,)), ((3, 4, 5), (3, 3, 3))]
)
def test_every_number_of_axes_and_window(space, window):
    image, kernel = arrays(space, window, 2, 3)
    got = jax.jit(convolve_narrow)(image, kernel)
    np.testing.assert_allclose(got, native(image, kernel), atol=1e-4)


def test_only_the_cpu_program_has_blocks():
    image, kernel = arrays((4, 8), (5, 5), 1, 3)
    traced = jax.jit(convolve_narrow).trace(image, kernel)
    cpu, gpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda"))
    assert "5x3x8x24xf32" in cpu
    assert "5x3x8x24xf32" not in gpu
