import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lossbench.losses.skeleton_recall import skeleton_recall, tubed_skeleton
from lossbench.ops.thinning import skeleton
from tests.losses import agreement, distances, reference

RNG = np.random.default_rng(6)
STATIC = ("activation", "include_background", "pool", "absent", "radius")
quick = jax.jit(skeleton_recall, static_argnames=STATIC)
quick_tube = jax.jit(tubed_skeleton, static_argnames=("classes", "include_background", "radius"))
thin = jax.jit(skeleton)


def widened(foreground, radius=2):
    """Of one image; the skeleton itself is that of `ops.skeleton`, which has tests of its own."""
    line = np.asarray(thin(jnp.asarray(foreground)[None]))[0]
    return ndimage.binary_dilation(line, iterations=radius) if radius else line


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=False,
    pool="example",
    absent="skip",
    radius=2,
    smooth=1.0,
):
    p, t = reference.activate(logits, activation), np.asarray(targets, float)
    classes = p.shape[-1]
    counted = np.ones(p.shape[:-1], bool) if where is None else np.asarray(where)
    first = 0 if include_background or classes == 1 else 1
    foreground = np.any(t[..., first:] == 1, axis=-1) & counted
    tube = np.stack([widened(one, radius) for one in foreground]) & counted
    above, below = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    weights = np.ones(classes) if class_weights is None else np.array(class_weights, float)
    weights[:first] = 0

    def pooled(examples):
        if not counted[examples].any():
            return 0.0
        costs, kept = np.zeros(classes), weights.copy()
        for c in np.flatnonzero(weights):
            p_c, t_c = p[examples][..., c], t[examples][..., c]
            inside, all_of_it = tube[examples], counted[examples]
            found, whole = (p_c * t_c)[inside].sum(), t_c[inside].sum()
            costs[c] = 1 - (found + above) / (whole + below) if whole + below else 0.0
            if whole == 0 and absent == "skip":
                kept[c] = 0
            if t_c[all_of_it].sum() == 0 and absent == "suppress":
                costs[c] = p_c[all_of_it].mean()
        return np.dot(kept, costs) / kept.sum() if kept.sum() else 0.0

    if pool == "batch":
        return pooled(list(range(len(p))))
    return np.array([pooled([b]) for b in range(len(p))])


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "line",
        "volume",
        "twenty classes",
        "sigmoid",
        "one class",
        "probabilities",
        "batch, masked",
        "weights",
        "skip, masks",
        "suppress",
        "suppress, masked",
        "smooth pair",
        "not smooth",
    ],
)
def test_skeleton_recall_is_the_formula(name):
    agreement.region_agrees(skeleton_recall, formula, name)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("ids", {"radius": 0}),
        ("ids", {"absent": "smooth", "radius": 1}),
        ("masks", {"activation": "sigmoid", "include_background": True}),
    ],
)
def test_further_options_are_the_formula(case, options):
    agreement.agree(skeleton_recall, formula, case, options, directions=1)


def scene():
    """Two vessels of class 1 and 2, five and one pixels wide."""
    labels = np.zeros((1, 20, 24), np.int32)
    labels[0, 2:7, 2:20] = 1
    labels[0, 12, 3:22] = 2
    return labels


def test_the_tube_is_the_widened_skeleton_of_the_foreground():
    labels = np.concatenate([scene(), np.zeros((1, 20, 24), np.int32), scene() * 0 + 1])
    wanted = np.stack([widened(one > 0) for one in labels])
    found = quick_tube(jnp.asarray(labels), classes=3)
    np.testing.assert_array_equal(found, wanted)
    one_hot = jnp.asarray(labels)[..., None] == jnp.arange(3)[None, None, None]
    np.testing.assert_array_equal(quick_tube(one_hot, classes=3), wanted)
    np.testing.assert_array_equal(quick_tube(jnp.asarray(labels > 0), classes=1), wanted)
    assert found[0].sum() == ndimage.binary_dilation(widened(scene()[0] > 0, 0), iterations=2).sum()
    assert not np.any(found[1])


def test_a_thin_vessel_counts_as_a_thick_one():
    """Half of each is missed: the costs are alike though one has five times the pixels."""
    labels = scene()
    one_hot = reference.one_hot(labels, 3)
    costs = []
    for c in (1, 2):
        p = one_hot.copy()
        p[:, :, 12:, c] = 0
        options = {"activation": "identity", "smooth": 0.0, "absent": "smooth"}
        costs.append(
            2 * float(quick(jnp.asarray(p, jnp.float32), jnp.asarray(labels), **options)[0])
        )
    assert abs(costs[0] - costs[1]) < 0.1
    assert min(costs) > 0.35


def test_a_skeleton_computed_before_gives_the_same():
    labels = jnp.asarray(RNG.integers(0, 3, (2, 9, 8)))
    logits = jnp.asarray(RNG.normal(size=(2, 9, 8, 3)), jnp.float32)
    where = jnp.asarray(RNG.random((2, 9, 8)) < 0.8)
    tube = quick_tube(labels, classes=3, where=where)
    for options in ({}, {"pool": "batch", "absent": "suppress"}):
        wanted = quick(logits, labels, where=where, **options)
        given = quick(logits, labels, where=where, skeleton=tube | ~where, **options)
        np.testing.assert_allclose(given, wanted, rtol=1e-6)


def test_classes_without_a_tube():
    p = jnp.full((1, 9, 9, 3), 1 / 3)
    empty = jnp.zeros((1, 9, 9), jnp.int32)
    options = {"activation": "identity"}
    for smooth in (0.0, 1.0):
        for absent, cost in {"skip": 0, "smooth": 0, "suppress": 1 / 3}.items():
            value = quick(p, empty, absent=absent, smooth=smooth, **options)
            np.testing.assert_allclose(value, [cost], rtol=1e-6)
    # A rim of class 2, labeled but beside the tube of both: it takes no part.
    beside = empty.at[0, 1:8, :].set(1).at[0, 1, :].set(2)
    tube = quick_tube(beside, classes=3, radius=0)
    assert not np.any(tube & (beside == 2))
    skipped = quick(p, beside, radius=0, smooth=0.0, **options)
    np.testing.assert_allclose(skipped, [2 / 3], rtol=1e-6)
    suppressed = quick(p, beside, radius=0, smooth=0.0, absent="suppress", **options)
    np.testing.assert_allclose(suppressed, [1 / 3], rtol=1e-6)


def test_value_and_gradient_are_finite():
    agreement.assert_finite(skeleton_recall)
    agreement.assert_finite(skeleton_recall, smooth=0.0, absent="suppress", activation="sigmoid")


def test_masked_equals_removed_and_nan_stays_there():
    logits = jnp.asarray(RNG.normal(size=(2, 8, 7, 2)), jnp.float32)
    labels = jnp.asarray(RNG.integers(0, 2, (2, 8, 7)))
    where = jnp.zeros((2, 8, 7), bool).at[:, :5, 1:].set(True)
    derivative = jax.jit(jax.value_and_grad(lambda x, y, w: skeleton_recall(x, y, where=w).sum()))
    dirty = jnp.where(where[..., None], logits, jnp.nan), jnp.where(where, labels, 255)
    value, gradient = derivative(*dirty, where)
    crop = logits[:, :5, 1:], labels[:, :5, 1:]
    wanted, slope = derivative(*crop, jnp.ones((2, 5, 6), bool))
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, :5, 1:], slope, atol=1e-7)
    np.testing.assert_array_equal(jnp.where(where[..., None], 0, gradient), 0)


def test_half_precision_is_computed_in_float32():
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), jnp.bfloat16)
    derivative = jax.jit(jax.value_and_grad(lambda x: skeleton_recall(x, labels).sum()))
    value, gradient = derivative(logits)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    wanted = quick(logits.astype(jnp.float32), labels).sum()
    np.testing.assert_allclose(value, wanted, rtol=1e-6)


def test_vmap_scan_and_no_callback():
    labels = jnp.asarray(RNG.integers(0, 3, (3, 2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(3, 2, 6, 5, 3)), jnp.float32)
    one_by_one = jnp.stack([quick(x, y) for x, y in zip(logits, labels, strict=True)])
    mapped = jax.jit(jax.vmap(skeleton_recall))(logits, labels)
    np.testing.assert_allclose(mapped, one_by_one, rtol=1e-5)
    derivative = jax.grad(lambda x, y: skeleton_recall(x, y).sum())
    _, slopes = jax.lax.scan(lambda _, xy: (None, derivative(*xy)), None, (logits, labels))
    np.testing.assert_allclose(slopes[0], jax.jit(derivative)(logits[0], labels[0]), atol=1e-6)
    assert not distances.callbacks(derivative, logits[0], labels[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -1}, "radius: expected at least 0, got -1"),
        ({"pool": "image"}, "pool: expected one of 'example', 'batch'"),
        ({"activation": "relu"}, "activation: expected one of"),
        ({"skeleton": np.zeros((3, 4, 6), bool)}, "skeleton: expected shape"),
        ({"skeleton": np.zeros((3, 4, 5))}, "skeleton: expected bool"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(skeleton_recall, options, message)


def test_probabilities_have_no_skeleton():
    message = "labels: the skeleton recall loss needs hard labels"
    agreement.assert_refused(skeleton_recall, {}, message, "soft")
