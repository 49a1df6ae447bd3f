"""Float64 references of losses per connected component: SciPy's components, and plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from scipy import ndimage

from tests.losses import agreement, distances, reference


def components(mask, connectivity=None):
    """The components of one mask, each as a mask."""
    structure = ndimage.generate_binary_structure(mask.ndim, connectivity or mask.ndim)
    labels, count = ndimage.label(mask, structure)
    return [labels == k for k in range(1, count + 1)]


def mean_dice(parts, p, smooth):
    """The mean of one minus the Dice of p, over pairs of a component and where it is compared."""
    s_n, s_d = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    total = 0.0
    for own, compared in parts:
        overlap, size = p[own].sum(), p[compared].sum() + own.sum()
        total += 1 - reference.ratio(2 * overlap + s_n, size + s_d)
    return total / len(parts)


def by_class(
    parts_of,
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=False,
    absent="skip",
    smooth=1e-5,
):
    """The weighted mean over classes; `parts_of(mask, counted)` are the pairs of `mean_dice`."""
    p = reference.activate(logits, activation)
    classes = p.shape[-1]
    values = []
    for b in range(len(p)):
        counted = np.ones(p.shape[1:-1], bool) if where is None else np.asarray(where[b])
        top = bottom = 0.0
        for c in range(classes):
            weight = 1.0 if class_weights is None else class_weights[c]
            if c == 0 and classes > 1 and not include_background:
                continue
            parts = parts_of((targets[b, ..., c] > 0.5) & counted, counted)
            if parts:
                cost = mean_dice(parts, p[b, ..., c], smooth)
            elif absent == "skip" or not counted.any():
                cost, weight = 0.0, weight * (absent != "skip")
            elif absent == "suppress":
                cost = p[b, ..., c][counted].mean()
            else:
                cost = mean_dice([(np.zeros_like(counted), counted)], p[b, ..., c], smooth)
            top, bottom = top + weight * cost, bottom + weight
        values.append(top / bottom if bottom else 0.0)
    return np.array(values)


def scattered(space, classes, *, batch=3, seed=0):
    """Several components of unequal sizes a class; the last class is absent from one example."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(batch, *space)), (0, *[0.7] * len(space)))
    edges = np.quantile(smooth, np.linspace(0.5, 1, classes)[:-1])
    labels = np.digitize(smooth, edges)
    labels[1] = np.minimum(labels[1], classes - 2)
    logits = 2 * rng.normal(size=(batch, *space, classes))
    return agreement.Case(logits, labels, reference.one_hot(labels, classes))


SPACE = (9, 8)
CASES = {
    **agreement.INPUTS,
    "scattered": scattered(SPACE, 3),
    "scattered volume": scattered((5, 6, 4), 3),
    "scattered line": scattered((23,), 3),
}
WHERE = np.random.default_rng(4).random((3, *SPACE)) < 0.8
# The options that both losses have.
SHARED = {
    "twenty classes": ("twenty classes", {"include_background": True, "absent": "suppress"}),
    "twenty classes, sigmoid": (
        "twenty classes",
        {"activation": "sigmoid", "absent": "smooth", "smooth": (0.5, 2.0)},
    ),
    "masks": ("masks", {"activation": "sigmoid", "include_background": True}),
    "probabilities": ("probabilities", {"activation": "identity"}),
    "scattered, line": ("scattered line", {}),
    "scattered, connectivity 1": ("scattered", {"connectivity": 1, "smooth": 1.5}),
    "scattered, connectivity 2": (
        "scattered volume",
        {"connectivity": 2, "absent": "smooth", "smooth": 0.0},
    ),
    "scattered, weights, masked": (
        "scattered",
        {
            "where": WHERE,
            "class_weights": agreement.WEIGHTS,
            "include_background": True,
            "smooth": (0.5, 2.0),
            "absent": "suppress",
        },
    ),
}


def assert_derivatives(loss, case, **options):
    """Both modes and their compositions against differences, in float64."""
    labels = jnp.asarray(case.labels[:2])
    with jax.enable_x64(True):
        x = jnp.asarray(case.logits[:2], jnp.float64)
        mean = jax.jit(lambda x: loss(jnp.asarray(x), labels, **options).mean())
        check_grads(mean, (x,), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-5)


def assert_transformed_alike(loss, quick):
    """The same under `vmap`, in a `scan` and on four devices; nothing leaves the device."""
    rng = np.random.default_rng(9)
    labels = jnp.asarray(rng.integers(0, 3, (3, 4, 6, 5)))
    logits = jnp.asarray(rng.normal(size=(3, 4, 6, 5, 3)), jnp.float32)
    mapped = jax.jit(jax.vmap(loss))(logits, labels)
    _, scanned = jax.lax.scan(lambda _, xy: (None, loss(*xy)), None, (logits, labels))
    np.testing.assert_allclose(scanned, mapped, rtol=1e-5)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put((logits[0], labels[0]), jax.NamedSharding(mesh, jax.P("data")))
    np.testing.assert_allclose(quick(*spread), mapped[0], rtol=1e-5)
    gradient = jax.grad(lambda x: loss(x, labels[0]).sum())
    with jax.numpy_dtype_promotion("strict"):
        assert not distances.callbacks(gradient, logits[0])


def assert_nan_under_the_mask_stays_there(loss, classes):
    """In value and gradient; and what is masked has no gradient."""
    rng = np.random.default_rng(10)
    labels = jnp.asarray(rng.integers(0, 3, (2, 6, 5)))
    logits = jnp.asarray(rng.normal(size=(2, 6, 5, classes)), jnp.float32)
    where = jnp.asarray(rng.random((2, 6, 5)) < 0.7)
    derivative = jax.jit(jax.value_and_grad(lambda x, y: loss(x, y, where=where).sum()))
    value, gradient = derivative(
        jnp.where(where[..., None], logits, jnp.nan), jnp.where(where, labels, 255)
    )
    clean, slope = derivative(logits, labels)
    np.testing.assert_allclose(value, clean, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-7)
    np.testing.assert_array_equal(gradient[~where], 0)


def assert_half_precision_is_computed_in_float32(loss):
    """Value and gradient of logits that the half types hold."""
    rng = np.random.default_rng(11)
    labels = jnp.asarray(rng.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(rng.integers(-9, 9, (2, 6, 5, 2)) / 4, jnp.float32)
    of_logits = jax.value_and_grad(lambda x: loss(x, labels).sum())
    types = [jnp.float32, jnp.bfloat16, jnp.float16]
    derivatives = jax.jit(lambda x: [of_logits(x.astype(dtype)) for dtype in types])
    (wanted, slope), *halves = derivatives(logits)
    for dtype, (value, gradient) in zip(types[1:], halves, strict=True):
        assert value.dtype == jnp.float32
        assert gradient.dtype == dtype
        np.testing.assert_allclose(value, wanted, 1e-6)
        np.testing.assert_allclose(gradient.astype(jnp.float32), slope, atol=1e-3)


def memory_besides_logits(loss):
    """Temporary memory of value and gradient of a hundred classes, in logits."""
    step = jax.jit(jax.value_and_grad(lambda x, y: jnp.mean(loss(x, y))))
    logits = jax.ShapeDtypeStruct((1, 32, 32, 16, 100), jnp.float32)
    labels = jax.ShapeDtypeStruct((1, 32, 32, 16), jnp.int32)
    memory = step.lower(logits, labels).compile().memory_analysis()
    return memory.temp_size_in_bytes / (4 * np.prod(logits.shape))
