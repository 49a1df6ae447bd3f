"""Block by block against the same function on all pixels at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.ops import blocks

CLASSES = 3
# Pixels that only more blocks than wished divide, and that nothing divides.
PIXELS = [26, 37]
OTHER = 5  # a third axis that is no class axis


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks of 4 pixels, so that there are many."""
    monkeypatch.setattr(blocks, "BLOCK", 4 * CLASSES)
    monkeypatch.setattr(blocks, "BLOCK_ON_ACCELERATOR", 4 * CLASSES)
    monkeypatch.setattr(blocks, "FEWEST", 1)


def a_value_a_pixel(x, ids, soft, mask, scale, table):
    """Of floating and integer arrays and a mask, each used nonlinearly where it can be."""
    pieces = jnp.sin(x * scale) + x * jnp.take(table, ids, mode="clip")[..., None]
    if soft is not None:
        pieces = pieces + jnp.square(soft) * x
    return jnp.where(mask, jnp.sum(pieces, axis=-1), 0.0)


def sums_of_pixels(x, ids, soft, mask, scale, table):
    value = a_value_a_pixel(x, ids, soft, mask, scale, table)
    return jnp.sum(value, axis=1), jnp.sum(x * jnp.exp(x * scale), axis=1)


def values_of_pixels(x, ids, soft, mask, scale, table):
    value = a_value_a_pixel(x, ids, soft, mask, scale, table)
    return value, jnp.stack([value * k for k in range(OTHER)], axis=-1)


def inputs(pixels, batch=2, soft=True, dtype=np.float32):
    rng = np.random.default_rng(pixels)
    x, probabilities = rng.normal(size=(2, batch, pixels, CLASSES)).astype(dtype)
    ids = jnp.asarray(rng.integers(0, CLASSES, (batch, pixels)), jnp.int32)
    mask = jnp.asarray(rng.random((batch, pixels)) < 0.7)
    arrays = (jnp.asarray(x), ids, jnp.asarray(probabilities) if soft else None, mask)
    return arrays, (jnp.asarray(1.3, dtype), jnp.asarray(rng.normal(size=CLASSES), dtype))


FORMS = [
    pytest.param(values_of_pixels, blocks.blockwise, id="values"),
    pytest.param(sums_of_pixels, blocks.sums_blockwise, id="sums"),
]


def in_blocks(function, blockwise):
    """The function closes over what is shared."""
    return lambda arrays, shared: blockwise(lambda *a: function(*a, *shared), *arrays)


def at_once(function):
    return lambda arrays, shared: function(*arrays, *shared)


def floating(run, arrays, shared):
    """As a function of the floating arguments alone, and these by their names."""
    x, ids, soft, mask = arrays
    scale, table = shared
    changing = {"x": x, "soft": soft, "scale": scale, "table": table}
    changing = {name: value for name, value in changing.items() if value is not None}

    def function(changing):
        whole = {"soft": None, **changing}
        return run((whole["x"], ids, whole["soft"], mask), (whole["scale"], whole["table"]))

    return function, changing


def alike(a, b, rtol=1e-5, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), a, b)


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize(("function", "blockwise"), FORMS)
def test_values_and_derivatives_of_both_modes_are_those_of_the_whole(function, blockwise, pixels):
    """Of the logits, of soft labels and of what is shared."""
    arrays, shared = inputs(pixels)
    by_block, changing = floating(in_blocks(function, blockwise), arrays, shared)
    whole, _ = floating(at_once(function), arrays, shared)
    rng = np.random.default_rng(0)
    like = lambda tree: jax.tree.map(  # noqa: E731
        lambda a: jnp.asarray(rng.normal(size=a.shape), jnp.float32), tree
    )
    move, cotangent = like(changing), like(whole(changing))

    def derivatives(function):
        value, change = jax.jvp(function, (changing,), (move,))
        (gradient,) = jax.vjp(function, changing)[1](cotangent)
        return value, change, gradient

    block, expected = jax.jit(lambda: [derivatives(f) for f in (by_block, whole)])()
    assert jax.tree.structure(block) == jax.tree.structure(expected)
    alike(block, expected, atol=1e-4)


@pytest.mark.parametrize(("function", "blockwise"), FORMS)
def test_second_derivatives_in_every_composition_are_those_of_the_whole(function, blockwise):
    arrays, shared = inputs(6)
    by_block, changing = floating(in_blocks(function, blockwise), arrays, shared)
    whole, _ = floating(at_once(function), arrays, shared)
    rng = np.random.default_rng(0)
    moves = [
        jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), jnp.float32), changing)
        for _ in range(2)
    ]

    def second(function):
        scalar = lambda c: sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves(function(c)))  # noqa: E731
        dot = lambda a, b: sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)))  # noqa: E731
        along = lambda c: jax.jvp(scalar, (c,), (moves[0],))[1]  # noqa: E731
        forward_of_forward = jax.jvp(along, (changing,), (moves[1],))[1]
        forward_of_reverse = jax.jvp(jax.grad(scalar), (changing,), (moves[0],))[1]
        reverse_of_forward = jax.grad(along)(changing)
        reverse_of_reverse = jax.grad(lambda c: dot(jax.grad(scalar)(c), moves[0]))(changing)
        return forward_of_forward, forward_of_reverse, reverse_of_forward, reverse_of_reverse

    block, expected = jax.jit(lambda: [second(f) for f in (by_block, whole)])()
    alike(block, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("function", "blockwise"), FORMS)
def test_nothing_is_passed_on_as_nothing(function, blockwise):
    (x, *others), shared = inputs(12, soft=False)

    def both(run):
        return run((x, *others), shared), jax.grad(lambda x: jnp.sum(run((x, *others), shared)[0]))(
            x
        )

    runs = (in_blocks(function, blockwise), at_once(function))
    alike(*jax.jit(lambda: [both(run) for run in runs])())


@pytest.mark.parametrize(("function", "blockwise"), FORMS)
def test_only_what_the_function_closes_over_may_change(function, blockwise):
    arrays, (scale, table) = inputs(12)

    def both(run):
        value = lambda s: jnp.sum(run(arrays, (s, table))[0])  # noqa: E731
        return jax.grad(value)(scale), jax.jvp(value, (scale,), (jnp.float32(2.0),))

    runs = (in_blocks(function, blockwise), at_once(function))
    alike(*jax.jit(lambda: [both(run) for run in runs])())


@pytest.mark.parametrize(("function", "blockwise"), FORMS)
def test_under_vmap_every_example_is_its_own(function, blockwise):
    """Over a sweep of what is closed over, and over examples one by one, with gradients."""
    arrays, (scale, table) = inputs(12)
    scales = scale * jnp.arange(1.0, 4.0)

    def sweep(run):
        value = lambda s: jnp.sum(run(arrays, (s, table))[0])  # noqa: E731
        return jax.vmap(value)(scales), jax.vmap(jax.value_and_grad(value))(scales)

    def examples(run):
        one = lambda *a: jnp.sum(run([b[None] for b in a], (scale, table))[0])  # noqa: E731
        return jax.vmap(jax.value_and_grad(one))(*arrays)

    runs = (in_blocks(function, blockwise), at_once(function))
    alike(*jax.jit(lambda: [(sweep(run), examples(run)) for run in runs])(), atol=1e-4)


@pytest.mark.parametrize(
    ("pixels", "block"),
    [(1, 1), (12, 4), (90, 3), (35, 1), (26, 2), (37, 1), (3, 3), (64, 4)],
)
def test_blocks_are_of_equal_size_and_at_most_as_large_as_wished(pixels, block):
    """The next number of blocks that divides the pixels; a prime number is cut into pixels."""
    seen = set()

    def record(x):
        seen.add(x.shape)
        return jnp.sum(x, axis=-1)

    (x, *_), _ = inputs(pixels)
    np.testing.assert_allclose(blocks.blockwise(record, x), x.sum(-1), rtol=1e-5, atol=1e-6)
    assert seen == {(2, block, CLASSES)}


def test_a_small_image_is_cut_into_the_fewest_blocks_too(monkeypatch):
    """Else its one block, and what its gradient needs, would be as large as the whole."""
    monkeypatch.setattr(blocks, "BLOCK", 2**18)
    monkeypatch.setattr(blocks, "BLOCK_ON_ACCELERATOR", 2**18)
    monkeypatch.setattr(blocks, "FEWEST", 16)
    seen = set()

    def record(x):
        seen.add(x.shape)
        return jnp.sum(x, axis=-1)

    blocks.blockwise(record, inputs(64)[0][0])
    assert seen == {(2, 4, CLASSES)}


def test_a_large_prime_is_one_block_and_not_one_a_pixel(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 2**20)
    monkeypatch.setattr(blocks, "BLOCK_ON_ACCELERATOR", 2**20)
    seen = set()

    def record(x):
        seen.add(x.shape)
        return jnp.sum(x, axis=-1)

    x = jnp.ones((1, 10_007, CLASSES))
    np.testing.assert_array_equal(jax.jit(lambda x: blocks.blockwise(record, x))(x), CLASSES)
    assert seen == {(1, 10_007, CLASSES)}


def temporary_bytes(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("batch", [1, 2])
def test_the_memory_of_a_gradient_is_one_array_of_the_logits(batch, monkeypatch):
    """100 classes: probabilities of all pixels at once would take another array, or several."""
    monkeypatch.setattr(blocks, "BLOCK", 2**12)
    monkeypatch.setattr(blocks, "BLOCK_ON_ACCELERATOR", 2**12)
    x = jax.ShapeDtypeStruct((batch, 16**3, 100), jnp.float32)
    ids = jax.ShapeDtypeStruct((batch, 16**3), jnp.int32)

    def loss(x, ids):
        def function(x, ids):
            p = jax.nn.softmax(x, axis=-1)
            return jnp.sum(jnp.square(p), axis=1), jnp.sum(p * (p + ids[..., None]), axis=1)

        squares, products = blocks.sums_blockwise(function, x, ids)
        return jnp.sum(jnp.sqrt(squares) * products)

    def nats(x, ids):
        take = lambda x, ids: jnp.take_along_axis(  # noqa: E731
            jax.nn.log_softmax(x, axis=-1), ids[..., None], axis=-1, mode="clip"
        )
        return -jnp.sum(blocks.blockwise(take, x, ids))

    logits = 4 * batch * 16**3 * 100
    for function in (loss, nats):
        temporary = temporary_bytes(jax.value_and_grad(function), x, ids)
        assert temporary <= 1.1 * logits, (function.__name__, temporary / logits)
