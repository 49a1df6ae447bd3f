import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lossbench.losses.cl_dice import cl_dice
from lossbench.losses.dice import dice
from tests.compat import stored
from tests.losses import agreement, distances, peer_cl_dice, reference

RNG = np.random.default_rng(5)
STATIC = ("activation", "include_background", "pool", "absent", "iterations")
quick = jax.jit(cl_dice, static_argnames=STATIC)


def soft_skeleton(x, counted, iterations):
    """The paper's algorithm with SciPy's filters; what does not count is beyond the border."""
    cross, cube = (ndimage.generate_binary_structure(x.ndim, c) for c in (1, x.ndim))
    image, skeleton = np.where(counted, x, 0.0), np.zeros(x.shape)
    for _ in range(iterations + 1):
        least = np.where(counted, image, np.inf)
        eroded = ndimage.grey_erosion(least, footprint=cross, mode="constant", cval=np.inf)
        largest = np.where(counted, eroded, -np.inf)
        opened = ndimage.grey_dilation(largest, footprint=cube, mode="constant", cval=-np.inf)
        lost = np.maximum(image - np.where(counted, opened, np.inf), 0)
        skeleton = skeleton + np.maximum(lost - skeleton * lost, 0)
        image = np.where(counted, eroded, 0)
    return skeleton


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=False,
    pool="example",
    absent="smooth",
    iterations=10,
    smooth=1.0,
    harmonic_smooth=0.0,
):
    p, t = reference.activate(logits, activation), np.asarray(targets, float)
    batch, classes = len(p), p.shape[-1]
    counted = np.ones(p.shape[:-1], bool) if where is None else np.asarray(where)
    above, below = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    weights = np.ones(classes) if class_weights is None else np.array(class_weights, float)
    if not include_background and classes > 1:
        weights[0] = 0

    def ratio(numerator, denominator):
        return (numerator + above) / (denominator + below) if denominator + below else 1.0

    def pooled(examples):
        if not counted[examples].any():
            return 0.0
        costs, kept = np.zeros(classes), weights.copy()
        for c in np.flatnonzero(weights):
            sums = np.zeros(6)
            for b in examples:
                p_b, t_b = (np.where(counted[b], a[b, ..., c], 0) for a in (p, t))
                of_p, of_t = (soft_skeleton(a, counted[b], iterations) for a in (p_b, t_b))
                parts = (of_p * t_b, of_p, of_t * p_b, of_t, p_b, t_b)
                sums += [part.sum() for part in parts]
            u, v = ratio(*sums[:2]), ratio(*sums[2:4])
            costs[c] = 1 - 2 * u * v / (u + v + harmonic_smooth)
            if sums[5] == 0 and absent == "suppress":
                costs[c] = sums[4] / counted[examples].sum()
            if sums[5] == 0 and absent == "skip":
                kept[c] = 0
        return np.dot(kept, costs) / kept.sum() if kept.sum() else 0.0

    if pool == "batch":
        return pooled(list(range(batch)))
    return np.array([pooled([b]) for b in range(batch)])


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "line",
        "twenty classes",
        "one class",
        "soft",
        "batch, masked",
        "skip, masks",
        "all at once",
    ],
)
def test_cl_dice_is_the_formula(name):
    agreement.region_agrees(quick, formula, name, iterations=2)


def test_a_term_of_the_harmonic_mean():
    options = {"iterations": 2, "harmonic_smooth": 0.3, "smooth": (0.5, 2.0)}
    agreement.agree(quick, formula, "ids", options, directions=1)


@pytest.mark.parametrize(
    ("case", "answer"),
    list(zip(peer_cl_dice.CASES, peer_cl_dice.load(), strict=True)),
    ids=[peer_cl_dice.name(case) for case in peer_cl_dice.CASES],
)
def test_the_peer_answers_the_same(case, answer):
    logits, labels = (jnp.asarray(x) for x in stored.array(list(case.inputs)))
    of_dice = {"include_background": False, "smooth": 1.0}

    @functools.partial(jax.jit, compiler_options=stored.QUICK)
    @jax.value_and_grad
    def ask(x):
        value = case.alpha * jnp.mean(cl_dice(x, labels, **case.options))
        if case.alpha == 1:
            return value
        return value + (1 - case.alpha) * jnp.mean(dice(x, labels, **of_dice))

    value, gradient = ask(logits)
    np.testing.assert_allclose(value, answer["value"], rtol=1e-5)
    wanted = np.array(answer["gradient"])
    np.testing.assert_allclose(np.ravel(gradient), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def vessel(width=3, length=16):
    mask, top = np.zeros((1, 13, 20), bool), 6 - width // 2
    mask[0, top : top + width, 2 : 2 + length] = True
    return mask


def cost(prediction, label, **options):
    options = {"activation": "identity", "smooth": 0.0, "iterations": 4, **options}
    p = jnp.asarray(prediction, jnp.float32)[..., None]
    return float(quick(p, jnp.asarray(label), **options)[0])


def test_what_breaks_costs_whatever_the_width():
    for width in (1, 3, 5):
        label = vessel(width)
        assert cost(label, label) == 0
        broken = label.copy()
        broken[..., 8:12] = False
        assert 0.1 < cost(broken, label) < 0.3
        np.testing.assert_allclose(cost(label, broken), cost(broken, label), atol=1e-6)
    thin, thick = vessel(1), ndimage.binary_dilation(vessel(1), np.ones((1, 3, 3)))
    assert cost(thick, thin) < 0.1 < cost(np.roll(thin, 4, axis=1), thin)


def test_what_is_thicker_than_the_iterations_has_no_centerline():
    label = vessel(9)
    assert cost(np.zeros_like(label), label, iterations=2) == 0
    assert cost(np.zeros_like(label), label, iterations=4) == 1


def test_absent_classes():
    line = vessel(1)
    nothing = np.zeros_like(line)
    for smooth in (0.0, 1.0):
        assert cost(nothing, nothing, smooth=smooth) == 0
        assert cost(line, nothing, smooth=smooth, absent="skip") == 0
        expected = line.mean()
        np.testing.assert_allclose(cost(line, nothing, smooth=smooth, absent="suppress"), expected)
    assert cost(line, nothing) == 1
    np.testing.assert_allclose(cost(line, nothing, smooth=1.0), 1 - 2 / (17 + 1), rtol=1e-6)
    assert cost(nothing, line) == 1


def test_a_pixel_without_space_is_its_own_skeleton():
    logits = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    labels = jnp.array([0, 1, 2, 1])
    p = jax.nn.softmax(logits)[:, 1:]
    t = jax.nn.one_hot(labels, 3)[:, 1:]
    u, v = (p * t + 1) / (p + 1), (p * t + 1) / (t + 1)
    np.testing.assert_allclose(
        cl_dice(logits, labels), (1 - 2 * u * v / (u + v)).mean(1), rtol=1e-6
    )


def test_value_and_gradient_are_finite():
    agreement.assert_finite(cl_dice, iterations=2, smooth=0.0)


def test_many_classes_are_those_of_few():
    """One after the other, or side by side."""
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 6)), jnp.float32)
    labels = jnp.asarray(RNG.integers(0, 6, (2, 6, 5)))
    where = jnp.asarray(RNG.random((2, 6, 5)) < 0.8)
    p = jax.nn.softmax(logits)
    for mask in (None, where):
        options = {"where": mask, "activation": "identity", "iterations": 2}
        one_by_one = [quick(p[..., c : c + 1], labels == c, **options) for c in range(1, 6)]
        found = quick(logits, labels, where=mask, iterations=2)
        np.testing.assert_allclose(found, np.mean(one_by_one, axis=0), rtol=1e-5)


def test_masked_equals_removed_and_nan_stays_there():
    logits = jnp.asarray(RNG.normal(size=(2, 8, 7, 2)), jnp.float32)
    labels = jnp.asarray(RNG.integers(0, 2, (2, 8, 7)))
    where = jnp.zeros((2, 8, 7), bool).at[:, :5, 1:].set(True)
    derivative = jax.jit(
        jax.value_and_grad(lambda x, y, w: cl_dice(x, y, where=w, iterations=3).sum())
    )
    dirty = jnp.where(where[..., None], logits, jnp.nan), jnp.where(where, labels, 255)
    value, gradient = derivative(*dirty, where)
    crop = logits[:, :5, 1:], labels[:, :5, 1:]
    wanted, slope = derivative(*crop, jnp.ones((2, 5, 6), bool))
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, :5, 1:], slope, atol=1e-7)
    np.testing.assert_array_equal(jnp.where(where[..., None], 0, gradient), 0)
    np.testing.assert_allclose(quick(*crop, iterations=3).sum(), wanted, rtol=1e-6)


def test_half_precision_is_computed_in_float32():
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), jnp.bfloat16)
    derivative = jax.jit(jax.value_and_grad(lambda x: cl_dice(x, labels, iterations=2).sum()))
    value, gradient = derivative(logits)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    wanted = quick(logits.astype(jnp.float32), labels, iterations=2).sum()
    np.testing.assert_allclose(value, wanted, rtol=1e-6)


def test_many_iterations_keep_few_arrays_for_the_gradient():
    logits, labels = jnp.zeros((1, 64, 64, 1)), jnp.zeros((1, 64, 64), bool)

    def kept(iterations):
        loss = functools.partial(cl_dice, activation="sigmoid", iterations=iterations)
        step = jax.jit(jax.value_and_grad(lambda x, y: loss(x, y).sum()))
        memory = step.lower(logits, labels).compile().memory_analysis()
        return memory.temp_size_in_bytes / logits.nbytes

    assert kept(63) - kept(15) < 24


def test_vmap_jit_and_no_callback():
    labels = jnp.asarray(RNG.integers(0, 3, (3, 2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(3, 2, 6, 5, 3)), jnp.float32)
    mapped = jax.jit(jax.vmap(functools.partial(cl_dice, iterations=2)))(logits, labels)
    one_by_one = [quick(x, y, iterations=2) for x, y in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(mapped, jnp.stack(one_by_one), rtol=1e-5)
    assert not distances.callbacks(jax.grad(lambda x: cl_dice(x, labels[0]).sum()), logits[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": -1}, "iterations: expected a whole number of at least 0, got -1"),
        ({"pool": "image"}, "pool: expected one of 'example', 'batch'"),
        ({"activation": "relu"}, "activation: expected one of"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(cl_dice, options, message)
