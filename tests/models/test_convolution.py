import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import convolution
from lossbench.models.convolution import convolve, correlate, native, on_slabs


def arrays(image_shape, window, features):
    keys = jax.random.split(jax.random.key(0), 3)
    image = jax.random.normal(keys[0], image_shape)
    scale = np.prod(window) * image_shape[-1]
    kernel = jax.random.normal(keys[1], (*window, image_shape[-1], features)) / np.sqrt(scale)
    return image, kernel, jax.random.normal(keys[2], (*image_shape[:-1], features))


def by_hand(image, kernel):
    """The sum over all taps of the zero-padded image, in float64."""
    image, kernel = np.asarray(image, np.float64), np.asarray(kernel, np.float64)
    window, space = kernel.shape[:-2], image.shape[1:-1]
    padded = np.pad(image, [(0, 0), *[(n // 2, n // 2) for n in window], (0, 0)])
    out = np.zeros((*image.shape[:-1], kernel.shape[-1]))
    for tap in np.ndindex(*window):
        at = tuple(slice(t, t + n) for t, n in zip(tap, space, strict=True))
        out += padded[(slice(None), *at)] @ kernel[tap]
    return out


CASES = [
    ((2, 8, 6, 4, 1), (3, 3, 3), 8),
    ((1, 7, 5, 3, 2), (3, 3, 3), 5),
    ((3, 6, 4, 5, 4), (3, 3, 3), 2),
    ((3, 4, 4, 4, 3), (1, 3, 3), 3),
    ((1, 5, 6, 7, 2), (5, 1, 3), 4),
    ((1, 1, 2, 2, 1), (3, 3, 3), 1),
]


@pytest.mark.parametrize("slices_in_slab", [2, None])
@pytest.mark.parametrize(("shape", "window", "features"), CASES)
def test_slabs_equal_the_native_form(monkeypatch, shape, window, features, slices_in_slab):
    if slices_in_slab:
        divides = shape[1] % slices_in_slab == 0
        monkeypatch.setattr(convolution, "_slab", lambda *_: slices_in_slab if divides else 1)
    image, kernel, cotangent = arrays(shape, window, features)

    @jax.jit
    def both(image, kernel, cotangent):
        results = []
        for form in (on_slabs, native):
            value, pull = jax.vjp(form, image, kernel)
            results.append((value, *pull(cotangent)))
        return results

    for ours, theirs in zip(*both(image, kernel, cotangent), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_a_slab_divides_the_depth_within_the_budget():
    budget = convolution._SLAB_BYTES
    assert convolution._slab(48, budget // 12) == 12
    assert convolution._slab(48, budget // 11) == 8
    assert convolution._slab(47, budget // 12) == 1
    assert convolution._slab(6, 10 * budget) == 1
    assert convolution._slab(6, 1) == 6


@pytest.mark.parametrize(("shape", "window", "features"), CASES)
def test_both_forms_are_the_sum_over_taps(shape, window, features):
    image, kernel, _ = arrays(shape, window, features)
    for form in (native, convolve):
        got = jax.jit(form)(image, kernel)
        np.testing.assert_allclose(got, by_hand(image, kernel), atol=1e-5)


def test_two_dimensions_and_even_windows_are_native():
    for shape, window in [((2, 6, 5, 3), (3, 3)), ((1, 4, 4, 4, 2), (2, 2, 2))]:
        image, kernel, _ = arrays(shape, window, 4)
        np.testing.assert_array_equal(convolve(image, kernel), native(image, kernel))


def test_only_the_cpu_program_has_slabs():
    image, kernel, _ = arrays((1, 4, 4, 4, 2), (3, 3, 3), 4)
    traced = jax.jit(convolve).trace(image, kernel)
    cpu, gpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda"))
    assert "stablehlo.while" in cpu
    assert "stablehlo.while" not in gpu


def test_correlation_may_swap_its_sides():
    a, _, b = arrays((2, 4, 5, 3, 2), (3, 3, 3), 3)
    mirrored = correlate(b, a, (3, 1, 3))[::-1, ::-1, ::-1].swapaxes(3, 4)
    np.testing.assert_allclose(correlate(a, b, (3, 1, 3)), mirrored, atol=1e-4)


def test_half_precision_sums_in_single():
    image, kernel, _ = arrays((1, 4, 4, 4, 16), (3, 3, 3), 8)
    half = on_slabs(image.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    rounded = (v.astype(jnp.bfloat16).astype(jnp.float32) for v in (image, kernel))
    exact = by_hand(*rounded)
    np.testing.assert_allclose(half.astype(jnp.float32), exact, rtol=2**-8, atol=1e-5)


def test_vmap_and_forward_over_reverse():
    image, kernel, _ = arrays((2, 4, 4, 4, 2), (3, 3, 3), 3)

    def loss(form, kernel):
        return jnp.sum(jnp.tanh(form(image, kernel)))

    kernels, results = jnp.stack([kernel, -2 * kernel]), []
    for form in (convolve, native):
        gradient = jax.grad(functools.partial(loss, form))
        products = lambda k, g=gradient: jax.jvp(g, (k,), (jnp.ones_like(k),))  # noqa: E731
        results.append(jax.jit(jax.vmap(products))(kernels))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_a_batch_over_devices_needs_no_gathering():
    devices = jax.device_count()
    image, kernel, _ = arrays((devices, 4, 4, 4, 2), (3, 3, 3), 3)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(image, jax.NamedSharding(mesh, jax.P("data")))
    kernel = jax.device_put(kernel, jax.NamedSharding(mesh, jax.P()))

    def loss(kernel, image):
        return jnp.sum(convolve(image, kernel) ** 2)

    step = jax.jit(jax.grad(loss)).lower(kernel, spread).compile()
    assert "all-gather" not in step.as_text()
    expected = jax.grad(lambda kernel: jnp.sum(native(image, kernel) ** 2))(kernel)
    np.testing.assert_allclose(step(kernel, spread), expected, rtol=1e-4, atol=1e-3)
