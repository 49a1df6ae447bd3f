import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import debug_checks
from lossbench.losses.blob import blob, component_map
from lossbench.losses.dice import dice
from tests.losses import agreement, components
from tests.losses.reference import sigmoid

RNG = np.random.default_rng(8)
STATIC = ("activation", "absent", "connectivity", "include_background")
quick = jax.jit(blob, static_argnames=STATIC)
quick_map = jax.jit(component_map, static_argnames=("classes", "connectivity"))


def formula(logits, targets, *, connectivity=None, **options):
    def parts(mask, counted):
        every = components.components(mask, connectivity)
        others = [union_but(every, k) for k in range(len(every))]
        return [(own, counted & ~other) for own, other in zip(every, others, strict=True)]

    return components.by_class(parts, logits, targets, **options)


def union_but(masks, but):
    """The pixels of all masks but one."""
    union = np.zeros_like(masks[0])
    for k, mask in enumerate(masks):
        union |= mask if k != but else False
    return union


@pytest.mark.parametrize("name", components.SHARED)
def test_the_loss_is_the_formula(name):
    case, options = components.SHARED[name]
    agreement.agree(quick, formula, components.CASES[case], options, directions=2)


def test_one_component_is_the_dice_loss():
    labels = jnp.zeros((1, 6, 5), bool).at[0, 2:5, 1:4].set(True)
    logits = jnp.asarray(RNG.normal(size=(1, 6, 5, 1)), jnp.float32)
    wanted = dice(logits, labels, activation="sigmoid")
    np.testing.assert_allclose(quick(logits, labels, activation="sigmoid"), wanted, rtol=1e-6)


def test_a_missed_small_component_costs_as_much_as_a_large_one():
    labels = np.zeros((2, 12, 12), bool)
    labels[:, :6, :6] = labels[:, 10, 10] = True
    found = labels.copy()
    found[0, :6, :6] = found[1, 10, 10] = False
    p = jnp.asarray(found, jnp.float32)[..., None]
    value = quick(p, jnp.asarray(labels), activation="identity")
    np.testing.assert_allclose(value, 0.5, rtol=1e-4)
    of_all = dice(p, jnp.asarray(labels), activation="identity")
    assert of_all[0] > 0.9
    assert of_all[1] < 0.05


def test_components_computed_before_give_the_same():
    case, options = components.CASES["scattered"], {"include_background": True, "connectivity": 1}
    logits, labels = jnp.asarray(case.logits, jnp.float32), jnp.asarray(case.labels)
    maps = quick_map(labels, classes=3, connectivity=1)
    wanted = quick(logits, labels, **options)
    np.testing.assert_allclose(quick(logits, labels, components=maps, **options), wanted, rtol=1e-6)
    exclusive = maps.sum(-1)  # of classes that share no pixel one map says as much
    given = quick(logits, labels, components=exclusive, **options)
    np.testing.assert_allclose(given, wanted, rtol=1e-6)


def test_a_map_of_many_classes_or_of_masks():
    labels = jnp.asarray(RNG.integers(0, 7, (2, 6, 5)))
    maps = quick_map(labels, classes=7)
    masks = jnp.equal(labels[..., None], jnp.arange(7)[None, None, None])
    np.testing.assert_array_equal(quick_map(masks, classes=7), maps)
    for b, c in np.ndindex(2, 7):
        every = components.components(np.asarray(labels[b] == c))
        wanted = sum(((k + 1) * own for k, own in enumerate(every)), np.zeros((6, 5), int))
        np.testing.assert_array_equal(maps[b, ..., c], wanted)
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 7)), jnp.float32)
    given = quick(logits, labels, components=maps)
    np.testing.assert_allclose(given, quick(logits, labels), rtol=1e-6)
    hidden = quick_map(labels, classes=7, where=labels != 2)
    np.testing.assert_array_equal(hidden, maps.at[..., 2].set(0))


def test_instances_of_one_s_own():
    """Two that touch are two; a pixel without an id counts as outside."""
    labels = jnp.array([[True, True, True, True, True, False]])
    ids = jnp.array([[2, 2, 6, 6, 0, 0]], jnp.int16)
    logits = jnp.asarray(RNG.normal(size=(1, 6, 1)), jnp.float32)
    p = sigmoid(logits)[0, :, 0]
    outside = p[4] + p[5]
    costs = [1 - 2 * both / (both + outside + 2) for both in (p[0] + p[1], p[2] + p[3])]
    value = quick(logits, labels, activation="sigmoid", components=ids, smooth=0.0)
    np.testing.assert_allclose(value, np.mean(costs), rtol=1e-5)
    with debug_checks():
        error, _ = jax.experimental.checkify.checkify(quick)(
            logits, labels, activation="sigmoid", components=ids + 1
        )
    assert "components: an id is outside 0..6" in (error.get() or "")


def test_ids_of_a_type_that_holds_fewer_than_there_are_pixels():
    labels = jnp.arange(300)[None] < 100
    logits = jnp.asarray(RNG.normal(size=(1, 300, 1)), jnp.float32)
    ids = jnp.where(jnp.arange(300) < 40, 3, 255)[None]
    options = {"activation": "sigmoid"}
    small = quick(logits, labels, components=ids.astype(jnp.uint8), **options)
    np.testing.assert_array_equal(small, quick(logits, labels, components=ids, **options))


@pytest.mark.long
@pytest.mark.parametrize("case", ["scattered line", "twenty classes"])
def test_derivatives_of_second_order(case):
    components.assert_derivatives(blob, components.CASES[case], absent="smooth")


def test_smoothing_may_be_traced_and_has_a_derivative():
    labels = jnp.asarray(RNG.integers(0, 3, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 7)), jnp.float32)

    def value(s):
        return blob(logits, labels, smooth=(s, 2 * s), absent="smooth").sum()

    sweep = jax.jit(jax.vmap(jax.value_and_grad(value)))
    swept, slopes = sweep(jnp.array([0.99, 1.0, 1.01]))
    np.testing.assert_allclose(slopes[1], (swept[2] - swept[0]) / 0.02, rtol=1e-2)


def test_value_and_gradient_are_finite():
    agreement.assert_finite(blob, absent="smooth")
    agreement.assert_finite(blob, activation="sigmoid", classes=7, absent="suppress")


def test_empty_full_and_one_pixel_masks():
    masks = np.zeros((4, 5, 6), bool)
    masks[1] = True
    masks[2, 2, 3] = True
    masks[3] = ~masks[2]
    logits = RNG.normal(size=(4, 5, 6, 1))
    case = agreement.Case(logits, masks, masks[..., None].astype(float))
    agreement.agree(quick, formula, case, {"activation": "sigmoid", "absent": "smooth"})
    certain = jnp.where(masks, 1e4, -1e4)[..., None]
    perfect = quick(certain, jnp.asarray(masks), activation="sigmoid", absent="smooth")
    np.testing.assert_allclose(perfect, 0, atol=1e-6)


@pytest.mark.parametrize("classes", [3, 7])
def test_nan_under_the_mask_stays_there(classes):
    components.assert_nan_under_the_mask_stays_there(blob, classes)


def test_masked_rows_equal_removed_ones():
    labels = jnp.asarray(RNG.integers(0, 3, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 3)), jnp.float32)
    where = jnp.zeros((2, 6, 5), bool).at[:, 1:5].set(True)
    kept = quick(logits[:, 1:5], labels[:, 1:5])
    np.testing.assert_allclose(quick(logits, labels, where=where), kept, rtol=1e-6)


def test_millions_of_equal_probabilities_are_summed():
    """A running sum of float32 would be wrong by a tenth."""
    labels = jnp.ones((1, 3000, 3000), bool)
    logits = jnp.full((1, 3000, 3000, 1), 0.847298)  # p = 0.7
    p = float(sigmoid(0.847298))
    value = quick(logits, labels, activation="sigmoid", components=labels.astype(jnp.int32))
    np.testing.assert_allclose(value, 1 - 2 * p / (p + 1), rtol=2e-6)


def test_half_precision_is_computed_in_float32():
    components.assert_half_precision_is_computed_in_float32(blob)


def test_vmap_scan_sharding_and_no_callback():
    components.assert_transformed_alike(blob, quick)


def test_many_classes_take_little_memory_besides_the_gradient():
    assert components.memory_besides_logits(blob) < 1.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connectivity": 3}, "connectivity: expected 1 to 2 or None, got 3"),
        ({"absent": "zero"}, "absent: expected one of 'skip', 'smooth', 'suppress'"),
        ({"components": np.zeros((3, 4, 4), int)}, r"components: expected shape \(3, 4, 5\)"),
        ({"components": np.zeros((3, 4, 5))}, "components: expected an integer dtype"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(blob, options, message)


def test_soft_labels_are_refused():
    agreement.assert_refused(blob, {}, "labels: blob loss needs hard labels", case="soft")
