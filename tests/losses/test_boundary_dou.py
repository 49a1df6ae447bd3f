import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lossbench.losses.boundary_dou import boundary_dou
from tests.losses import agreement, distances, reference

RNG = np.random.default_rng(10)


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=True,
    pool="example",
    absent="smooth",
    smooth=(0.0, 1e-5),
    limit=0.8,
):
    """Sun et al. 2023, with the sums of `pool`."""
    s_n, s_d = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    p = reference.activate(logits, activation)
    batch, classes = p.shape[0], p.shape[-1]
    where = np.ones(p.shape[:-1], bool) if where is None else where
    weights = np.ones(classes) if class_weights is None else np.array(class_weights, float)
    weights = weights * (np.arange(classes) > 0) if not include_background else weights

    def of_pool(examples):
        costs, counts = [], []
        keep = where[examples]
        for c in range(classes):
            q, t = p[examples][..., c][keep], targets[examples][..., c][keep]
            masks = [(targets[b, ..., c] > 0.5) & where[b] for b in examples]
            size = sum(m.sum() for m in masks)
            edge = sum((m & ~ndimage.binary_erosion(m)).sum() for m in masks)
            alpha = min(1 - 2 * (edge / size if size else 1.0), limit)
            both, sizes = (q * t).sum(), (q * q).sum() + (t * t).sum()
            bottom = sizes - (1 + alpha) * both + s_d
            cost = (sizes - 2 * both + s_n) / bottom if bottom else 0.0
            missing = t.sum() == 0
            costs.append((q * q).mean() if missing and absent == "suppress" else cost)
            counts.append(not (missing and absent == "skip"))
        w = weights * counts
        return np.dot(w, costs) / w.sum() if w.sum() and keep.any() else 0.0

    pools = [list(range(batch))] if pool == "batch" else [[b] for b in range(batch)]
    values = np.array([of_pool(examples) for examples in pools])
    return values[0] if pool == "batch" else values


NAMES = [
    name
    for name in agreement.region_cases(boundary_dou)
    if name not in ("hundred classes", "twenty classes, sigmoid")
]


@pytest.mark.parametrize("name", NAMES)
def test_every_shared_option(name):
    agreement.region_agrees(boundary_dou, formula, name)


def disk(space=(24, 24)):
    mask = distances.blob(space, radius=0.4)
    logits = RNG.normal(size=(1, *space, 2)) + 3 * (mask[None, ..., None] == np.arange(2))
    return agreement.Case(logits, mask[None].astype(int), reference.one_hot(mask[None] * 1, 2))


@pytest.mark.parametrize("limit", [0.8, 0.3, 0.0])
@pytest.mark.parametrize("space", [(40,), (24, 24), (10, 10, 10)], ids=str)
def test_large_objects(space, limit):
    agreement.agree(boundary_dou, formula, disk(space), {"limit": limit}, slope_rtol=1e-5)


def test_with_alpha_minus_one_it_is_dice_and_with_zero_jaccard():
    from lossbench import losses

    case = disk()
    value = agreement.value_of(boundary_dou, case, limit=-1.0, smooth=0.0)
    dice = agreement.value_of(losses.dice, case, denominator="squared", smooth=0.0)
    np.testing.assert_allclose(value, dice, rtol=1e-5)


def test_the_larger_the_object_the_more_an_error_costs():
    """The same share of errors, of objects with more inside."""
    values = []
    for size in (8, 32, 96):
        mask = distances.blob((size, size), radius=0.4)
        p = jnp.asarray(mask, jnp.float32)[None, ..., None] * 0.8
        options = {"activation": "identity", "limit": 1.0}
        values.append(boundary_dou(p, jnp.asarray(mask)[None], **options)[0])
    assert values[0] < values[1] < values[2]


def test_soft_labels_are_their_own_optimum():
    soft = jnp.asarray(RNG.dirichlet(np.ones(3), (2, 6, 5)), jnp.float32)
    itself = boundary_dou(soft, soft, activation="identity")
    np.testing.assert_allclose(itself, 0, atol=1e-6)


def test_value_and_gradient_are_finite():
    for absent in ("smooth", "skip", "suppress"):
        agreement.assert_finite(boundary_dou, absent=absent)
    agreement.assert_finite(boundary_dou, smooth=0.0)
    agreement.assert_finite(boundary_dou, activation="sigmoid", classes=7)
    agreement.assert_finite_near_nothing(boundary_dou)


def test_vmap_jit_half_precision_and_no_callback():
    labels = jnp.asarray(RNG.integers(0, 3, (3, 2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(3, 2, 6, 5, 3)), jnp.bfloat16)
    mapped = jax.jit(jax.vmap(boundary_dou))(logits, labels)
    one = [jax.jit(boundary_dou)(x, y) for x, y in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(mapped, jnp.stack(one), rtol=1e-5)
    gradient = jax.grad(lambda x: boundary_dou(x, labels[0]).sum())
    assert not distances.callbacks(gradient, logits[0])
    assert gradient(logits[0]).dtype == jnp.bfloat16


def test_wrong_options_are_named():
    agreement.assert_refused(boundary_dou, {"pool": "image"}, "pool: expected one of")
    agreement.assert_refused(boundary_dou, {"absent": "zero"}, "absent: expected one of")
