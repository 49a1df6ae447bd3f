import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.losses.boundary import signed_distance_map
from lossbench.losses.hausdorff import hausdorff_dt, hausdorff_er, log_hausdorff_dt
from tests.losses import agreement, distances

RNG = np.random.default_rng(6)
quick = distances.compiled(hausdorff_dt)


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=False,
    alpha=2.0,
    spacing=None,
    normalize=True,
):
    def cost(p, t, counted):
        far = distances.other_side((p > 0.5) & counted, counted, spacing) ** alpha
        far += distances.other_side(t > 0.5, counted, spacing) ** alpha
        if normalize:
            far /= distances.diagonal(counted, spacing) ** alpha
        return ((p - t) ** 2 * far)[counted].mean()

    return distances.by_class(
        cost,
        logits,
        targets,
        where=where,
        activation=activation,
        class_weights=class_weights,
        include_background=include_background,
    )


def log_formula(logits, targets, *, normalize=False, **options):
    return np.log(1 + formula(logits, targets, normalize=normalize, **options))


def soft(name):
    case, options = distances.SHARED[name]
    return ("soft" if case == "ids" else case), options


@pytest.mark.parametrize("name", distances.SHARED)
def test_hausdorff_dt_is_the_formula(name):
    case, options = distances.SHARED[name]
    agreement.agree(hausdorff_dt, formula, case, options, **distances.TOLERANCE)


@pytest.mark.parametrize("name", ["plain", "weights, masked"])
def test_soft_labels(name):
    agreement.agree(hausdorff_dt, formula, *soft(name), **distances.TOLERANCE)


@pytest.mark.parametrize("name", ["plain", "one class", "weights, masked"])
def test_log_hausdorff_dt_is_the_formula(name):
    case, options = distances.SHARED[name]
    agreement.agree(log_hausdorff_dt, log_formula, case, options, **distances.TOLERANCE)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("normalize", [True, False])
def test_powers_of_distances(alpha, normalize):
    options = {"alpha": alpha, "normalize": normalize}
    agreement.agree(hausdorff_dt, formula, "ids", options, directions=1, **distances.TOLERANCE)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("case", "spacing"),
    [("line", (0.3,)), ("ids", (2.0, 0.5)), ("volume", (1.0, 3.0, 0.7))],
)
def test_spacing(case, spacing, normalize):
    options = {"spacing": spacing, "normalize": normalize}
    agreement.agree(hausdorff_dt, formula, case, options, directions=1, **distances.TOLERANCE)


def test_degenerate_masks_of_labels_and_predictions():
    masks = np.zeros((5, 6, 7), bool)
    masks[1] = True
    masks[2, 2, 3] = True
    masks[3] = ~masks[2]
    masks[4, 0, 0] = True
    labels, predictions = np.repeat(masks, 5, 0), np.tile(masks, (5, 1, 1))
    logits = (np.where(predictions, 2.0, -2.0) + RNG.random(labels.shape))[..., None]
    case = agreement.Case(logits, labels, labels[..., None].astype(float))
    agreement.agree(hausdorff_dt, formula, case, {"activation": "sigmoid"}, **distances.TOLERANCE)


@pytest.mark.parametrize("loss", [hausdorff_dt, log_hausdorff_dt, hausdorff_er])
def test_value_and_gradient_are_finite(loss):
    agreement.assert_finite(loss)
    agreement.assert_finite(loss, activation="sigmoid", classes=7)


def test_a_traced_power_is_the_same_and_has_a_derivative():
    case = agreement.INPUTS["ids"]
    value = lambda alpha: agreement.value_of(hausdorff_dt, case, alpha=alpha).sum()  # noqa: E731
    alphas = jnp.array([1.0, 1.99, 2.0, 2.01, 2.5])
    swept = jax.jit(jax.vmap(value))(alphas)
    np.testing.assert_allclose(swept[2], value(2.0), rtol=1e-5)
    slope = (swept[3] - swept[1]) / 0.02
    np.testing.assert_allclose(jax.jit(jax.grad(value))(alphas[2]), slope, rtol=1e-2)


def test_a_map_computed_before_gives_the_same():
    labels = jnp.asarray(RNG.integers(0, 3, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 3)), jnp.float32)
    spacing = (2.0, 0.7)
    maps = signed_distance_map(labels, classes=3, spacing=spacing, inside="plain")
    for alpha in (2.0, 1.5):
        options = {"spacing": spacing, "alpha": alpha}
        given = quick(logits, labels, distance_map=maps, **options)
        np.testing.assert_allclose(given, quick(logits, labels, **options), rtol=1e-5)


@pytest.mark.parametrize("loss", [hausdorff_dt, hausdorff_er])
def test_nan_under_the_mask_stays_there(loss):
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), jnp.float32)
    where = jnp.asarray(RNG.random((2, 6, 5)) < 0.7)
    derivative = jax.jit(jax.value_and_grad(lambda x, y: loss(x, y, where=where).sum()))
    value, gradient = derivative(
        jnp.where(where[..., None], logits, jnp.nan), jnp.where(where, labels, 255)
    )
    clean, slope = derivative(logits, labels)
    np.testing.assert_allclose(value, clean, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-7)


def test_the_same_shape_at_another_scale_and_in_another_unit_costs_the_same():
    def value(size, **options):
        labels = jnp.asarray(distances.blob((size, size)))[None]
        p = jnp.asarray(distances.blob((size, size), at=0.6), jnp.float32)[None, ..., None]
        return float(quick(p, labels, activation="identity", **options)[0])

    assert abs(value(192) / value(96) - 1) < 0.06
    np.testing.assert_allclose(value(48, spacing=(2.5, 2.5)), value(48), rtol=1e-5)
    assert 3.7 < value(192, normalize=False) / value(96, normalize=False) < 4.3


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_half_precision_is_computed_in_float32(dtype):
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), dtype)
    for loss in (hausdorff_dt, hausdorff_er):
        value, gradient = jax.value_and_grad(lambda x, f=loss: f(x, labels).sum())(logits)
        assert value.dtype == jnp.float32
        assert gradient.dtype == dtype
        np.testing.assert_allclose(value, loss(logits.astype(jnp.float32), labels).sum(), 1e-6)


def test_vmap_jit_and_no_callback():
    labels = jnp.asarray(RNG.integers(0, 3, (3, 2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(3, 2, 6, 5, 3)), jnp.float32)
    for loss in (hausdorff_dt, hausdorff_er):
        mapped = jax.jit(jax.vmap(loss))(logits, labels)
        one_by_one = [jax.jit(loss)(x, y) for x, y in zip(logits, labels, strict=True)]
        np.testing.assert_allclose(mapped, jnp.stack(one_by_one), rtol=1e-5)
        gradient = jax.grad(lambda x, f=loss: f(x, labels[0]).sum())
        assert not distances.callbacks(gradient, logits[0])


def eroded(e):
    padded = np.pad(e, 1)
    middle = tuple(slice(1, -1) for _ in e.shape)
    total = padded[middle].copy()
    for axis in range(e.ndim):
        for shift in (-1, 1):
            total += np.roll(padded, shift, axis)[middle]
    e = np.maximum(total / (1 + 2 * e.ndim) - 0.5, 0)
    return (e - e.min()) / np.ptp(e) if np.ptp(e) > 0 else e


def er_formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=False,
    alpha=2.0,
    iterations=10,
):
    def cost(p, t, counted):
        e, value = (p - t) ** 2 * counted, 0.0
        for k in range(1, iterations + 1):
            e = eroded(e)
            value += k**alpha * e[counted].mean()
        return value

    return distances.by_class(
        cost,
        logits,
        targets,
        where=where,
        activation=activation,
        class_weights=class_weights,
        include_background=include_background,
    )


@pytest.mark.parametrize(
    "name",
    ["plain", "background", "line", "volume", "one class", "weights, masked", "twenty classes"],
)
def test_hausdorff_er_is_the_formula(name):
    """Errors of certain predictions, where the first erosion leaves something."""
    case, options = distances.SHARED[name]
    case = agreement.INPUTS[case]
    certain = case._replace(logits=3 * case.logits)
    for more in ({"iterations": 2}, {"iterations": 4, "alpha": 1.3}):
        agreement.agree(hausdorff_er, er_formula, certain, {**options, **more}, directions=2)


def test_wrong_options_are_named():
    agreement.assert_refused(hausdorff_er, {"iterations": 0}, "iterations: expected at least 1")
    agreement.assert_refused(hausdorff_dt, {"spacing": (1.0,)}, "spacing: expected 2 numbers")
    message = "distance_map: expected shape"
    agreement.assert_refused(hausdorff_dt, {"distance_map": np.zeros((3, 4, 5))}, message)


def test_what_is_masked_has_no_error_and_no_part_in_the_erosions():
    """Saturated errors: the smallest of them, which a mask must not lower, is not 0."""
    inside = np.s_[:, 2:7, 2:7]
    p, labels = jnp.ones((1, 5, 5, 1)), jnp.zeros((1, 5, 5), bool)
    wide = jnp.full((1, 9, 9, 1), jnp.nan).at[inside].set(p)
    where = jnp.zeros((1, 9, 9), bool).at[inside].set(True)
    options = {"activation": "identity", "iterations": 3}
    value = hausdorff_er(p, labels, **options)
    masked = hausdorff_er(wide, ~where, where=where, **options)
    assert value[0] > 1
    np.testing.assert_allclose(masked, value, rtol=1e-6)
