import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.losses.distance_weighted import distance_weighted_cross_entropy, unet_weight_map
from tests.losses import agreement, distances, reference

RNG = np.random.default_rng(8)


def nearness(mask, counted, spacing):
    """1 at the boundary of a mask, 0 at its deepest pixel; 0 outside and without a boundary."""
    others = counted & ~mask
    if not others.any() or not mask.any():
        return np.zeros(mask.shape)
    d = distances.edt(~others, spacing)
    deepest, nearest = d[mask].max(), d[mask].min()
    near = (deepest - d) / (deepest - nearest) if deepest > nearest else np.ones(mask.shape)
    return np.where(mask, near, 0)


def weights_of(targets, where, activation, strength, spacing):
    """One value a class."""
    near = np.zeros(targets.shape)
    for b in range(len(targets)):
        counted = np.ones(targets.shape[1:-1], bool) if where is None else where[b]
        for c in range(targets.shape[-1]):
            mask = (targets[b, ..., c] > 0.5) & counted
            near[b, ..., c] = nearness(mask, counted, spacing)
            if activation == "sigmoid":
                near[b, ..., c] += nearness(counted & ~mask, counted, spacing)
    if activation == "softmax":
        near = np.broadcast_to(near.sum(-1, keepdims=True), targets.shape)
    return 1 + strength * near


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    strength=1.0,
    spacing=None,
    weight_map=None,
    reduction="mean",
):
    if weight_map is None:
        v = weights_of(targets, where, activation, strength, spacing)
    else:
        v = np.broadcast_to(weight_map[..., None], targets.shape)
    w = np.ones(targets.shape[-1]) if class_weights is None else class_weights
    if activation == "softmax":
        costs = -(targets * w * v * reference.log_softmax(logits)).sum(-1)
    else:
        p = reference.sigmoid(logits)
        costs = -w * v * (targets * np.log(p) + (1 - targets) * np.log(1 - p))
    counted = np.ones(targets.shape[:-1], bool) if where is None else where
    counted = counted if activation == "softmax" else np.broadcast_to(counted[..., None], v.shape)
    costs = np.where(counted, costs, 0)
    if reduction == "none":
        return costs
    axes = tuple(range(1, costs.ndim))
    total = costs.sum(axes)
    return total if reduction == "sum" else total / np.maximum(counted.sum(axes), 1)


CASES = [
    name
    for name in agreement.pixelwise_cases(distance_weighted_cross_entropy)
    if agreement.INPUTS[agreement.PIXELWISE[name][0]].labels.dtype.kind != "f"
]


@pytest.mark.parametrize("name", CASES)
def test_every_shared_option(name):
    case, shared = agreement.PIXELWISE[name]
    agreement.agree(
        distance_weighted_cross_entropy,
        formula,
        case,
        {**shared, "strength": 2.5},
        **distances.TOLERANCE,
    )


@pytest.mark.parametrize(
    ("case", "spacing"),
    [("line", (0.3,)), ("ids", (2.0, 0.5)), ("volume", (1.0, 3.0, 0.7))],
)
def test_spacing(case, spacing):
    options = {"spacing": spacing}
    agreement.agree(distance_weighted_cross_entropy, formula, case, options, **distances.TOLERANCE)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_weights_computed_before(activation, reduction):
    options = {
        "weight_map": RNG.random((3, *agreement.PLANE)) * 3,
        "activation": activation,
        "reduction": reduction,
        "where": agreement.WHERE,
    }
    agreement.agree(distance_weighted_cross_entropy, formula, "ids", options, **distances.TOLERANCE)


def test_without_strength_or_boundary_it_is_the_cross_entropy():
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 3)), jnp.float32)
    labels = jnp.asarray(RNG.integers(0, 3, (2, 6, 5)))
    plain = losses.cross_entropy(logits, labels)
    none = distance_weighted_cross_entropy(logits, labels, strength=0.0)
    np.testing.assert_allclose(none, plain, rtol=1e-6)
    one = jnp.ones_like(labels)
    everywhere = distance_weighted_cross_entropy(logits, one, strength=3.0)
    np.testing.assert_allclose(everywhere, losses.cross_entropy(logits, one), rtol=1e-6)


def test_value_and_gradient_are_finite():
    agreement.assert_finite(distance_weighted_cross_entropy)
    agreement.assert_finite(distance_weighted_cross_entropy, activation="sigmoid", classes=7)


def test_nan_under_the_mask_stays_there():
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), jnp.float32)
    where = jnp.asarray(RNG.random((2, 6, 5)) < 0.7)
    weights = jnp.asarray(RNG.random((2, 6, 5)), jnp.float32)
    for clean in (None, weights):
        dirty = None if clean is None else jnp.where(where, clean, jnp.nan)

        def total(x, y, v):
            loss = distance_weighted_cross_entropy(x, y, where=where, weight_map=v)
            return loss.sum()

        value, gradient = jax.value_and_grad(total)(
            jnp.where(where[..., None], logits, jnp.nan), jnp.where(where, labels, 255), dirty
        )
        wanted, slope = jax.value_and_grad(total)(logits, labels, clean)
        np.testing.assert_allclose(value, wanted, rtol=1e-6)
        np.testing.assert_allclose(gradient, slope, atol=1e-7)


def unet_formula(instances, most, w0, sigma, balance, spacing):
    weights = np.zeros(instances.shape)
    for b, ids in enumerate(instances):
        far = [distances.edt(ids != k, spacing) for k in range(1, most + 1) if np.any(ids == k)]
        weights[b] = np.where(ids == 0, *balance)
        if len(far) > 1:
            first, second = np.sort(far, axis=0)[:2]
            weights[b] += w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return weights


@pytest.mark.parametrize("space", [(12,), (9, 10), (5, 6, 4)], ids=str)
@pytest.mark.parametrize("anisotropic", [False, True])
def test_the_weights_of_the_unet(space, anisotropic):
    spacing = tuple(0.5 + k for k in range(len(space))) if anisotropic else None
    instances = RNG.integers(0, 5, (4, *space)) * (RNG.random((4, *space)) < 0.3)
    instances[1] = np.minimum(instances[1], 1)  # a single instance
    instances[2] = 0  # none
    found = unet_weight_map(
        jnp.asarray(instances), most=4, w0=7.0, sigma=2.0, balance=(0.5, 2.0), spacing=spacing
    )
    wanted = unet_formula(instances, 4, 7.0, 2.0, (0.5, 2.0), spacing)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_more_instances_than_said_are_left_out():
    instances = jnp.array([[1, 0, 2, 0, 3]])
    two = unet_weight_map(jnp.array([[1, 0, 2, 0, 0]]), most=2)
    found = unet_weight_map(instances, most=2)
    np.testing.assert_allclose(found, two)
    assert np.all(unet_weight_map(instances, most=3)[:, 3] > two[:, 3])


def test_vmap_jit_and_no_callback():
    labels = jnp.asarray(RNG.integers(0, 3, (3, 2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(3, 2, 6, 5, 3)), jnp.float32)
    mapped = jax.jit(jax.vmap(distance_weighted_cross_entropy))(logits, labels)
    one = [
        jax.jit(distance_weighted_cross_entropy)(x, y) for x, y in zip(logits, labels, strict=True)
    ]
    np.testing.assert_allclose(mapped, jnp.stack(one), rtol=1e-5)
    gradient = jax.grad(lambda x: distance_weighted_cross_entropy(x, labels[0]).sum())
    assert not distances.callbacks(gradient, logits[0])


def test_half_precision_is_computed_in_float32():
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), jnp.bfloat16)
    value, gradient = jax.value_and_grad(
        lambda x: distance_weighted_cross_entropy(x, labels).sum()
    )(logits)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing": (1.0,)}, "spacing: expected 2 numbers above 0"),
        ({"weight_map": np.ones((3, 4))}, "weight_map: expected shape"),
        ({"reduction": "max"}, "reduction: expected one of"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(distance_weighted_cross_entropy, options, message)


def test_what_has_no_boundary_is_refused():
    message = "labels: a weight by the distance to a boundary needs hard labels"
    agreement.assert_refused(distance_weighted_cross_entropy, {}, message, "soft")
    with pytest.raises(ValueError, match="most: expected at least 1 instance"):
        unet_weight_map(jnp.zeros((1, 4), jnp.int32), most=0)
