import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lossbench.losses.blob import blob
from lossbench.losses.cc_dice import cc_dice, component_regions
from tests.losses import agreement, components

RNG = np.random.default_rng(12)
STATIC = ("activation", "absent", "connectivity", "include_background")
quick = jax.jit(cc_dice, static_argnames=STATIC)
quick_regions = jax.jit(component_regions, static_argnames=("classes", "connectivity"))


def voronoi(mask, connectivity, spacing):
    """The nearest component of each pixel; of several, the one that the library takes."""
    every = components.components(mask, connectivity)
    far = np.stack([ndimage.distance_transform_edt(~own, sampling=spacing) for own in every])
    near = np.isclose(far, far.min(0), rtol=1e-6)
    taken = quick_regions(
        jnp.asarray(mask)[None], classes=1, connectivity=connectivity, spacing=spacing
    )
    taken = np.asarray(taken)[0, ..., 0] - 1
    assert np.take_along_axis(near, taken[None], 0).all()
    return [(own, np.where(near.sum(0) > 1, taken == k, near[k])) for k, own in enumerate(every)]


def formula(logits, targets, *, connectivity=None, spacing=None, **options):
    def parts(mask, counted):
        if not mask.any():
            return []
        cells = voronoi(mask, connectivity, spacing)
        return [(own, cell & counted) for own, cell in cells]

    return components.by_class(parts, logits, targets, **options)


@pytest.mark.parametrize("name", components.SHARED)
def test_the_loss_is_the_formula(name):
    case, options = components.SHARED[name]
    agreement.agree(quick, formula, components.CASES[case], options, directions=2)


@pytest.mark.parametrize(
    ("case", "spacing"),
    [("scattered", (2.0, 0.7)), ("scattered volume", (1.0, 3.0, 0.7))],
)
def test_spacing(case, spacing):
    options = {"spacing": spacing}
    agreement.agree(quick, formula, components.CASES[case], options, directions=1)


def test_spacing_changes_the_regions_and_may_be_traced():
    labels = np.zeros((1, 9, 9), bool)
    labels[0, 0, 0] = labels[0, 6, 4] = True
    labels = jnp.asarray(labels)
    regions = [
        quick_regions(labels, classes=1, spacing=spacing)
        for spacing in (jnp.array([1.0, 5.0]), jnp.array([1.0, 1.0]))
    ]
    assert [int(r[0, 6, 0, 0]) for r in regions] == [1, 2]
    logits = jnp.asarray(RNG.normal(size=(1, 9, 9, 1)), jnp.float32)
    sweep = jax.jit(jax.vmap(lambda s: cc_dice(logits, labels, activation="sigmoid", spacing=s)))
    values = sweep(jnp.array([[1.0, 5.0], [1.0, 1.0]]))
    assert values[0] != values[1]


def test_a_wrong_pixel_costs_in_one_region_only():
    labels = np.zeros((2, 20), bool)
    labels[:, [2, 3, 16, 17]] = True
    p = labels.astype(np.float32)
    p[1, 5] = 1  # nearer to the first
    arrays = jnp.asarray(p)[..., None], jnp.asarray(labels)
    options = {"activation": "identity", "smooth": 0.0}
    np.testing.assert_allclose(quick(*arrays, **options), [0, (1 - 4 / 5) / 2], atol=1e-6)
    of_all = jax.jit(blob, static_argnames="activation")(*arrays, **options)
    np.testing.assert_allclose(of_all, [0, 1 - 4 / 5], atol=1e-6)


def test_one_component_is_the_blob_loss():
    labels = jnp.zeros((1, 6, 5), bool).at[0, 2:5, 1:4].set(True)
    logits = jnp.asarray(RNG.normal(size=(1, 6, 5, 1)), jnp.float32)
    wanted = jax.jit(blob, static_argnames="activation")(logits, labels, activation="sigmoid")
    np.testing.assert_allclose(quick(logits, labels, activation="sigmoid"), wanted, rtol=1e-6)


def test_regions_computed_before_give_the_same():
    given = components.CASES["twenty classes"]
    logits, labels = jnp.asarray(given.logits, jnp.float32), jnp.asarray(given.labels)
    masks = jnp.equal(labels[..., None], jnp.arange(20)[None, None, None])
    maps = quick_regions(masks, classes=20)
    wanted = quick(logits, labels)
    np.testing.assert_allclose(quick(logits, labels, regions=maps), wanted, rtol=1e-6)


def test_regions_of_one_s_own():
    """Of one class a map without an axis of classes is enough; an id of 0 counts nowhere."""
    labels = jnp.array([[True, True, True, False, True, False]])
    regions = jnp.array([[4, 4, 2, 2, 0, 0]], jnp.int16)
    p = jnp.asarray(RNG.random((1, 6)), jnp.float32)
    costs = [
        1 - 2 * (p[0, 0] + p[0, 1]) / (p[0, 0] + p[0, 1] + 2),
        1 - 2 * p[0, 2] / (p[0, 2] + p[0, 3] + 1),
    ]
    value = quick(p[..., None], labels, activation="identity", regions=regions, smooth=0.0)
    np.testing.assert_allclose(value, np.mean(costs), rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("case", ["scattered line", "twenty classes"])
def test_derivatives_of_second_order(case):
    components.assert_derivatives(cc_dice, components.CASES[case], absent="smooth")


def test_value_and_gradient_are_finite():
    agreement.assert_finite(cc_dice, absent="smooth")
    agreement.assert_finite(cc_dice, activation="sigmoid", classes=7, absent="suppress")


def test_empty_full_and_one_pixel_masks():
    masks = np.zeros((4, 5, 6), bool)
    masks[1] = True
    masks[2, 2, 3] = True
    masks[3] = ~masks[2]
    logits = RNG.normal(size=(4, 5, 6, 1))
    case = agreement.Case(logits, masks, masks[..., None].astype(float))
    agreement.agree(quick, formula, case, {"activation": "sigmoid", "absent": "smooth"})
    np.testing.assert_array_equal(quick_regions(jnp.asarray(masks), classes=1)[0], 0)


@pytest.mark.parametrize("classes", [3, 7])
def test_nan_under_the_mask_stays_there(classes):
    components.assert_nan_under_the_mask_stays_there(cc_dice, classes)


def test_half_precision_is_computed_in_float32():
    components.assert_half_precision_is_computed_in_float32(cc_dice)


def test_vmap_scan_sharding_and_no_callback():
    components.assert_transformed_alike(cc_dice, quick)


def test_many_classes_take_little_memory_besides_the_gradient():
    assert components.memory_besides_logits(cc_dice) < 1.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connectivity": 0}, "connectivity: expected 1 to 2 or None, got 0"),
        ({"spacing": (1.0,)}, "spacing: expected 2 numbers"),
        ({"absent": "zero"}, "absent: expected one of 'skip', 'smooth', 'suppress'"),
        ({"regions": np.zeros((3, 4, 5), int)}, "regions: expected one map a class"),
        ({"regions": np.zeros((3, 5, 4), int)}, r"regions: expected shape \(3, 4, 5\)"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(cc_dice, options, message)


def test_soft_labels_are_refused():
    agreement.assert_refused(cc_dice, {}, "labels: CC-Dice needs hard labels", case="soft")
