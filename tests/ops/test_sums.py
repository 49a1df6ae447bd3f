"""Sums over pixels against float64 NumPy, on both sides of every boundary of their layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.ops import blocks, classes, probabilities, sums

BLOCK = sums.CHUNKS * sums.LANES
# Around one row and two, the longest rows, more partial sums than are added at once, and primes.
PIXELS = [0, 1, 1009, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK + 1, 100_003]
LONG = BLOCK * sums.ROWS
WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(params=["apart", "side by side"])
def form(request, monkeypatch):
    """Runs the test with every class taken apart, and with several blocks of a few pixels."""
    limit = {"apart": 1000, "side by side": 0}[request.param]
    monkeypatch.setattr(classes, "UNROLLED_CLASSES", limit)
    monkeypatch.setattr(blocks, "BLOCK", 30)
    return request.param


def close_to_the_sum(value, x):
    """Float32 within two digits' rounding of the sum of magnitudes."""
    x = np.asarray(x, np.float64)
    np.testing.assert_array_less(np.abs(value - x.sum(-1)), 2e-7 * np.abs(x).sum(-1) + 1e-30)


@pytest.mark.parametrize("pixels", PIXELS)
def test_every_pixel_is_summed_once(pixels):
    """With any leading axes, alone and with several columns at a time, in both modes."""
    rng = np.random.default_rng(pixels)
    x = rng.normal(size=(2, 3, pixels)).astype(np.float32)
    columns = [x[:, 0], x[:, 1], x[:, 2]]

    @jax.jit
    def everything(x, columns):
        weighted = lambda columns: sum(  # noqa: E731
            jnp.sum(WEIGHTS[:, i] * value) for i, value in enumerate(sums.sum_all(columns))
        )
        gradient = jax.grad(lambda x: jnp.sum(WEIGHTS * sums.sum_pixels(x)))(x)
        change = jax.jvp(sums.sum_all, (columns,), (columns[::-1],))
        return sums.sum_pixels(x), gradient, change, jax.grad(weighted)(columns)

    value, gradient, (together, change), gradients = everything(x, columns)
    assert value.dtype == jnp.float32
    close_to_the_sum(value, x)
    np.testing.assert_array_equal(gradient, np.broadcast_to(WEIGHTS[..., None], x.shape))
    for i in range(3):
        close_to_the_sum(together[i], columns[i])
        close_to_the_sum(change[i], columns[2 - i])
        assert together[i].dtype == jnp.float32
        np.testing.assert_array_equal(
            gradients[i], np.broadcast_to(WEIGHTS[:, i, None], (2, pixels))
        )


@pytest.mark.parametrize("pixels", [0, 1, BLOCK + 1, 100_003])
def test_a_mask_is_counted_exactly(pixels):
    mask = np.random.default_rng(pixels).random((2, pixels)) < 0.3
    count = sums.sum_pixels(jnp.asarray(mask))
    assert count.dtype == jnp.float32
    np.testing.assert_array_equal(count, mask.sum(-1))


def test_float64_is_summed_in_float64():
    with jax.enable_x64(True):
        x = jnp.full((1, 3 * BLOCK + 5), 0.1)
        for value in (sums.sum_pixels(x), *sums.sum_all([x])):
            assert value.dtype == jnp.float64
            np.testing.assert_allclose(value, 0.1 * x.size, rtol=1e-14)


def test_more_sums_than_one_under_vmap_are_each_its_own():
    x = np.random.default_rng(0).normal(size=(3, 2, BLOCK + 7)).astype(np.float32)
    columns = jax.jit(jax.vmap(lambda x: sums.sum_all([x, 2 * x])))(x)
    close_to_the_sum(columns[0], x)
    close_to_the_sum(columns[1], 2 * x)


def values_of_bfloat16(pixels):
    rng = np.random.default_rng(0)
    return np.asarray(jnp.asarray(rng.random(pixels), jnp.bfloat16).astype(jnp.float32))


@pytest.mark.long
@pytest.mark.parametrize("pixels", [LONG, 2**24, 16_777_213])
def test_sums_hold_their_digits_at_256_cubed(pixels):
    """A running float32 sum of 0.1 is 15 % off here; a count of ones stops at 2^24.

    Equal values round the same way each time, which is the worst case of a chain.
    """
    both = jax.jit(lambda x: [sums.sum_pixels(x), *sums.sum_all([x])])
    constant, mixed = np.full(pixels, 0.1, np.float32), values_of_bfloat16(pixels)
    for x, accuracy in ((constant, 1e-5), (mixed, 1e-6), (np.ones_like(constant), 1e-7)):
        for value in both(x[None]):
            np.testing.assert_allclose(value, [x.sum(dtype=np.float64)], rtol=accuracy)
    mask = jnp.zeros(2**25, bool).at[1::2].set(True)
    np.testing.assert_array_equal(sums.sum_pixels(mask), 2**24)


def columns(function, activate):
    """What `class_sums` takes: of each class, a function of its prediction and truth."""

    def of(logits, labels):
        true = sums.truth(labels, logits.shape[-1], logits.dtype)
        return [function(p, t) for p, t in zip(activate(logits), true, strict=True)]

    return of


@pytest.mark.long
@pytest.mark.parametrize("pixels", [2**20, 1_048_573], ids=["power", "prime"])
def test_sums_of_many_classes_hold_their_digits(pixels):
    """Side by side the classes are summed block by block, all in one block for a prime size."""
    x = jnp.full((1, pixels, 17), np.log(1 / 9), jnp.float32)
    ids = jnp.arange(pixels, dtype=jnp.int32)[None] % 17
    both = columns(lambda p, t: (p * t, p), probabilities.sigmoid)
    overlap, predicted = jax.jit(lambda x: sums.class_sums(both, x, ids, None))(x)
    p = 1 / (1 + np.exp(-np.float64(x[0, 0, 0])))
    np.testing.assert_allclose(predicted, np.full((1, 17), p * pixels), rtol=1e-5)
    counts = np.bincount(np.asarray(ids[0]))
    np.testing.assert_allclose(overlap, p * counts[None], rtol=1e-5)


def measured(p, t):
    """Three values to sum, none of them linear in both."""
    return p * t, p * p, t


def measured_64(p, t):
    return np.stack([p * t, p * p, t])


def softmax_64(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def reference(x, labels, where, sharpness):
    """One pixel after the other, in float64."""
    batch, pixels, size = x.shape
    result = np.zeros((3, batch, size))
    for b in range(batch):
        for i in range(pixels):
            if where is None or where[b, i]:
                p = softmax_64(sharpness * x[b, i].astype(np.float64))
                one_hot = np.arange(size) == labels[b, i] if labels.ndim == 2 else labels[b, i]
                result[:, b] += measured_64(p, one_hot.astype(np.float64))
    return result


KINDS = ["ids", "masks", "soft"]


def inputs(kind, size, pixels, masked):
    rng = np.random.default_rng(size + pixels)
    x = rng.normal(size=(2, pixels, size)).astype(np.float32)
    labels = {
        # An id outside the classes belongs to none of them.
        "ids": rng.integers(-1, size + 1, (2, pixels)).astype(np.int32),
        "masks": rng.random((2, pixels, size)) < 0.4,
        "soft": rng.dirichlet(np.ones(size), (2, pixels)).astype(np.float32),
    }[kind]
    where = rng.random((2, pixels)) < 0.6 if masked else None
    return x, labels, where


def class_sums(x, labels, where, sharpness):
    counted = None if where is None else jnp.asarray(where, x.dtype)
    activate = lambda logits: probabilities.softmax(logits * sharpness)  # noqa: E731
    return sums.class_sums(columns(measured, activate), x, jnp.asarray(labels), counted)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("kind", KINDS)
def test_class_sums_are_the_loop(form, kind, masked):
    """60 pixels in several blocks; every kind of labels, with and without a mask."""
    x, labels, where = inputs(kind, 3, 60, masked)
    result = jax.jit(class_sums)(x, labels, where, jnp.float32(1.5))
    assert all(value.shape == (2, 3) and value.dtype == jnp.float32 for value in result)
    np.testing.assert_allclose(np.stack(result), reference(x, labels, where, 1.5), rtol=2e-6)


@pytest.mark.parametrize(
    ("size", "pixels"), [(3, 1), (3, BLOCK - 1), (3, 2 * BLOCK + 1), (17, 7), (40, 30)]
)
def test_class_sums_are_the_loop_on_both_sides_of_every_limit(size, pixels):
    x, labels, where = inputs("ids", size, pixels, True)
    result = jax.jit(class_sums)(x, labels, where, jnp.float32(1.0))
    expected = reference(x, labels, where, 1.0)
    np.testing.assert_allclose(np.stack(result), expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_one_more_sum_of_pixels_comes_last_with_its_gradient(form, masked):
    x, ids, where = inputs("ids", 3, 60, masked)
    counted = None if where is None else jnp.asarray(where, jnp.float32)

    def also(logits, labels):
        return jnp.sum(jnp.square(logits), axis=-1) * labels

    def run(x):
        overlap = columns(lambda p, t: (p * t, p), probabilities.sigmoid)
        return sums.class_sums(overlap, x, jnp.asarray(ids), counted, also=also)

    (overlap, predicted, last), gradient = jax.jit(
        lambda x: (run(x), jax.grad(lambda x: jnp.sum(run(x)[2]))(x))
    )(x)
    weights = ids * (1.0 if where is None else where.astype(np.float64))
    np.testing.assert_allclose(last, (weights * (x.astype(float) ** 2).sum(-1)).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(gradient, 2 * x * weights[..., None], rtol=1e-6)
    p = 1 / (1 + np.exp(-x.astype(float))) * (1 if where is None else where[..., None])
    member = ids[..., None] == np.arange(3)
    np.testing.assert_allclose(predicted, p.sum(1), rtol=2e-6)
    np.testing.assert_allclose(overlap, (p * member).sum(1), rtol=2e-6)


def test_class_sums_of_nothing_are_zero(form):
    x, labels, _ = inputs("ids", 3, 12, False)
    none = np.zeros((2, 12), bool)
    np.testing.assert_array_equal(class_sums(jnp.asarray(x), labels, none, jnp.float32(1.0)), 0)


def test_derivatives_of_class_sums_are_those_of_the_loop(form):
    """By differences: of the logits, of soft labels and of what is closed over, in both modes."""
    x, labels, where = inputs("soft", 3, 10, True)
    weights = np.random.default_rng(3).normal(size=(3, 2, 3))
    arguments = [x.astype(np.float64), labels.astype(np.float64), np.float64(1.3)]
    moves = [np.random.default_rng(i).normal(size=np.shape(a)) for i, a in enumerate(arguments)]

    def scalar(x, labels, sharpness):
        values = class_sums(x, labels, where, sharpness)
        return sum(jnp.sum(w * value) for w, value in zip(weights, values, strict=True))

    def scalar_64(x, labels, sharpness):
        return np.sum(weights * reference(x, labels, where, sharpness))

    with jax.enable_x64(True):
        arguments = [jnp.asarray(a) for a in arguments]
        gradients, along = jax.jit(
            lambda *a: (
                jax.grad(scalar, argnums=(0, 1, 2))(*a),
                [
                    jax.jvp(lambda one, i=i: scalar(*a[:i], one, *a[i + 1 :]), (a[i],), (moves[i],))
                    for i in range(3)
                ],
            )
        )(*arguments)
        for i in range(3):
            steps = [np.zeros(np.shape(a)) for a in arguments]
            steps[i] = 1e-5 * moves[i]
            ends = [
                scalar_64(
                    *(np.asarray(a) + sign * s for a, s in zip(arguments, steps, strict=True))
                )
                for sign in (1, -1)
            ]
            expected = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(np.sum(gradients[i] * moves[i]), expected, rtol=1e-7)
            np.testing.assert_allclose(along[i][1], expected, rtol=1e-7)


def test_second_derivatives_of_class_sums_are_those_of_the_loop(form):
    """Of squared sums, by second differences, forward over reverse and the other way round."""
    x, labels, where = inputs("ids", 3, 4, True)
    weights = np.random.default_rng(3).normal(size=(3, 2, 3))

    def scalar(x):
        values = class_sums(x, labels, where, jnp.asarray(1.3, x.dtype))
        return sum(jnp.sum(w * value**2) for w, value in zip(weights, values, strict=True))

    twice = (lambda f: jax.jacfwd(jax.jacrev(f)), lambda f: jax.jacrev(jax.jacfwd(f)))
    with jax.enable_x64(True):
        x = jnp.asarray(x, jnp.float64)
        gradient, hessians = jax.jit(
            lambda x: (jax.grad(scalar)(x), [of(scalar)(x) for of in twice])
        )(x)
        assert gradient.shape == x.shape
        expected = second_differences(
            lambda x: np.sum(weights * reference(x, labels, where, 1.3) ** 2), np.asarray(x)
        )
        for hessian in hessians:
            hessian = hessian.reshape(x.size, x.size)
            np.testing.assert_allclose(hessian, expected, rtol=1e-5, atol=1e-5)


def second_differences(function, x, step=1e-3):
    steps = step * np.eye(x.size).reshape(x.size, *x.shape)
    signs = [(s, t) for s in (1, -1) for t in (1, -1)]
    return [
        [sum(s * t * function(x + s * a + t * b) for s, t in signs) / (4 * step**2) for b in steps]
        for a in steps
    ]


def test_truth_is_one_hot_for_ids_and_the_labels_themselves_else(form):
    for kind in KINDS:
        _, labels, _ = inputs(kind, 3, 20, False)
        parts = sums.truth(jnp.asarray(labels), 3, jnp.float32)
        expected = labels[..., None] == np.arange(3) if kind == "ids" else labels
        value = classes.together(parts, 3)
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, expected.astype(np.float32))


def test_one_pass_changes_nothing_but_minus_infinity():
    x = jnp.array([[1.0, -3.0, jnp.inf, jnp.nan, 0.0]])
    np.testing.assert_array_equal(sums.in_one_pass(x), x)
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(sums.in_one_pass(x)))(x), 1)
