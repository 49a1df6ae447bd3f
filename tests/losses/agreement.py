"""A loss against its float64 reference, in value and gradient, over one table of inputs."""

import functools
import inspect
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses import reference


class Case(NamedTuple):
    """Inputs of a loss: the labels in a form that it takes, and the same as one value a class."""

    logits: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


def _ids(space, classes, *, batch=3, seed=0):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(batch, *space, classes))
    labels = rng.integers(0, classes, (batch, *space))
    labels[1] = np.minimum(labels[1], classes - 2)  # the last class is absent there
    return Case(logits, labels, reference.one_hot(labels, classes))


def _soft(space, classes):
    logits, labels, _ = _ids(space, classes)
    soft = np.random.default_rng(1).dirichlet(np.ones(classes), labels.shape)
    return Case(logits, soft, soft)


def _masks(space, classes):
    """Classes that do not exclude one another; the last one is absent from the second example."""
    logits = _ids(space, max(classes, 2)).logits[..., :classes]
    masks = np.random.default_rng(2).random(logits.shape) < 0.4
    if classes > 1:
        masks[1, ..., -1] = False
    return Case(logits, masks, masks.astype(float))


def _given(case):
    return case._replace(logits=reference.softmax(case.logits))


PLANE = (4, 5)
INPUTS = {
    "ids": _ids(PLANE, 3),
    "soft": _soft(PLANE, 3),
    "masks": _masks(PLANE, 3),
    "one class": _masks(PLANE, 1),
    "probabilities": _given(_ids(PLANE, 3)),
    "line": _ids((9,), 4),
    "volume": _ids((2, 3, 4), 2),
    "twenty classes": _ids(PLANE, 20),
    "soft, twenty classes": _soft(PLANE, 20),
    "hundred classes": _ids((6, 5), 100),
}
WHERE = np.random.default_rng(3).random((3, *PLANE)) < 0.6
WEIGHTS = np.array([0.5, 1.0, 3.0])

# The shared options of region losses: the inputs, and the options.
REGION: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("ids", {}),
    "line": ("line", {}),
    "volume": ("volume", {}),
    "twenty classes": ("twenty classes", {}),
    "twenty classes, sigmoid": ("twenty classes", {"activation": "sigmoid"}),
    "hundred classes": ("hundred classes", {"where": np.arange(90).reshape(3, 6, 5) % 7 > 0}),
    "sigmoid": ("masks", {"activation": "sigmoid"}),
    "one class": ("one class", {"activation": "sigmoid"}),
    "probabilities": ("probabilities", {"activation": "identity"}),
    "soft": ("soft", {}),
    "soft, product": ("soft", {"overlap": "product"}),
    "soft, sigmoid, masked": ("soft", {"activation": "sigmoid", "where": WHERE}),
    "hard, product": ("ids", {"overlap": "product"}),
    "masked": ("ids", {"where": WHERE}),
    "batch": ("ids", {"pool": "batch"}),
    "batch, masked": ("ids", {"pool": "batch", "where": WHERE}),
    "weights": ("ids", {"class_weights": WEIGHTS}),
    "no background": ("ids", {"include_background": False}),
    "skip": ("ids", {"absent": "skip"}),
    "skip, masks": ("masks", {"activation": "sigmoid", "absent": "skip"}),
    "suppress": ("ids", {"absent": "suppress"}),
    "suppress, masked": ("ids", {"absent": "suppress", "where": WHERE}),
    "smooth": ("ids", {"smooth": 1.5}),
    "smooth pair": ("ids", {"smooth": (0.5, 2.0)}),
    "smooth pair, batch": ("soft", {"smooth": (0.0, 0.7), "pool": "batch"}),
    "not smooth": ("ids", {"smooth": 0.0}),
    "all at once": (
        "soft",
        {
            "where": WHERE,
            "class_weights": WEIGHTS,
            "include_background": False,
            "pool": "batch",
            "absent": "suppress",
            "smooth": (0.3, 0.9),
        },
    ),
}

# The shared options of pixel-wise losses.
PIXELWISE: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("ids", {}),
    "line": ("line", {}),
    "volume": ("volume", {}),
    "twenty classes": ("twenty classes", {}),
    "hundred classes": ("hundred classes", {}),
    "soft": ("soft", {}),
    "soft, twenty classes": ("soft, twenty classes", {}),
    "masked": ("ids", {"where": WHERE}),
    "sum": ("ids", {"reduction": "sum"}),
    "none, masked": ("ids", {"reduction": "none", "where": WHERE}),
    "weights": ("ids", {"class_weights": WEIGHTS}),
    "soft, weights, masked": ("soft", {"class_weights": WEIGHTS, "where": WHERE}),
    "weights, sum": ("ids", {"class_weights": WEIGHTS, "reduction": "sum"}),
    "weights, none": ("soft", {"class_weights": WEIGHTS, "reduction": "none"}),
    "sigmoid": ("masks", {"activation": "sigmoid"}),
    "sigmoid, ids": ("ids", {"activation": "sigmoid"}),
    "sigmoid, soft, masked": ("soft", {"activation": "sigmoid", "where": WHERE}),
    "sigmoid, weights": ("masks", {"activation": "sigmoid", "class_weights": WEIGHTS}),
    "sigmoid, sum": ("masks", {"activation": "sigmoid", "reduction": "sum"}),
    "sigmoid, none, masked": (
        "masks",
        {"activation": "sigmoid", "reduction": "none", "where": WHERE},
    ),
    "one class": ("one class", {"activation": "sigmoid"}),
    "twenty classes, sigmoid": ("twenty classes", {"activation": "sigmoid"}),
}


def cases_of(loss, table):
    """The rows of a table whose options the loss has."""
    known = set(inspect.signature(loss).parameters)
    return [name for name, (_, options) in table.items() if set(options) <= known]


def region_cases(loss):
    """The rows of `REGION` whose options the loss has."""
    return cases_of(loss, REGION)


def pixelwise_cases(loss):
    """The rows of `PIXELWISE` whose options the loss has."""
    return cases_of(loss, PIXELWISE)


def arrays(options):
    return {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}


def agree(loss, formula, case, options, *, rtol=1e-9, directions=3, slope_rtol=1e-6):
    """Asserts the value of every example, and slopes of their mixture, in float64.

    Args:
        loss: `loss(logits, labels, **options)`.
        formula: `formula(logits, targets, **options)`, the reference.
        case: a `Case`, or its name in `INPUTS`.
        options: of both.
        rtol: of the value.
        directions: in how many random directions the slope is compared.
        slope_rtol: of the slopes, relative to the largest.
    """
    case = INPUTS[case] if isinstance(case, str) else case
    wanted = np.asarray(formula(case.logits, case.targets, **options))
    mixture = 1 + np.cos(np.arange(wanted.size)).reshape(wanted.shape)
    with jax.enable_x64(True):

        def mixed(x):
            value = loss(x, jnp.asarray(case.labels), **arrays(options))
            return jnp.sum(value * jnp.asarray(mixture)), value

        derivative = jax.grad(mixed, has_aux=True)
        # Operation by operation, what one case compiles serves the next one of this shape.
        if case.logits.shape != (3, *PLANE, 3):
            derivative = jax.jit(derivative)
        gradient, value = derivative(jnp.asarray(case.logits, jnp.float64))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, wanted, rtol=rtol, atol=rtol)
    rng = np.random.default_rng(7)
    expected, given = [], []
    for _ in range(directions):
        along = rng.normal(size=case.logits.shape)
        function = lambda x: np.sum(mixture * formula(x, case.targets, **options))  # noqa: E731
        expected.append(reference.slope(function, case.logits, along))
        given.append(np.sum(np.asarray(gradient) * along))
    scale = np.max(np.abs(expected), initial=1e-3)
    np.testing.assert_allclose(given, expected, rtol=0, atol=slope_rtol * scale)


def region_agrees(loss, formula, name, **options):
    """`agree` on a row of `REGION`, with options of the loss's own."""
    case, shared = REGION[name]
    agree(loss, formula, case, {**shared, **options})


def pixelwise_agrees(loss, formula, name, **options):
    """`agree` on a row of `PIXELWISE`, with options of the loss's own."""
    case, shared = PIXELWISE[name]
    agree(loss, formula, case, {**shared, **options})


def shuffle_pixels(case, seed=0):
    """The same pixels in another order, in every example alike."""
    order = np.random.default_rng(seed).permutation(case.labels[0].size // _width(case))

    def moved(x, width):
        flat = x.reshape(len(x), -1, *((width,) if width > 1 else ()))
        return flat[:, order].reshape(x.shape)

    return Case(
        moved(case.logits, case.logits.shape[-1]),
        moved(case.labels, _width(case)),
        moved(case.targets, case.logits.shape[-1]),
    )


def _width(case):
    return case.logits.shape[-1] if case.labels.ndim == case.logits.ndim else 1


def value_of(loss, case, **options):
    """In float32, as users have it."""
    case = INPUTS[case] if isinstance(case, str) else case
    return loss(jnp.asarray(case.logits, jnp.float32), _labels32(case), **arrays(options))


def _labels32(case):
    labels = np.asarray(case.labels)
    return jnp.asarray(labels, jnp.float32 if labels.dtype.kind == "f" else None)


def assert_finite(loss, *, classes=3, **options):
    """Value and gradient at saturated logits: for all labels, one label, and none that count."""
    rng = np.random.default_rng(5)
    signs = np.sign(rng.normal(size=(2, 6, classes)))
    some = rng.integers(0, classes, (2, 6))
    every = np.ones((2, 6), bool)
    one = np.zeros((2, 6), bool)
    one[0, 2] = True
    grid = itertools.product(
        [size * signs for size in (0.0, 1.0, 30.0, 100.0, 1e4)],
        [some, np.zeros_like(some), np.full_like(some, classes - 1)],
        [every, one, ~every],
    )
    x, ids, where = (jnp.asarray(np.stack(column)) for column in zip(*grid, strict=True))
    mean = lambda x, y, w: jnp.mean(loss(x, y, where=w, **arrays(options)))  # noqa: E731
    derivative = jax.jit(jax.vmap(jax.value_and_grad(mean)))
    value, gradient = derivative(x.astype(jnp.float32), ids, where)
    assert np.all(np.isfinite(value)), value
    assert np.all(np.isfinite(gradient)), np.argwhere(~np.isfinite(gradient))
    nothing = ~np.asarray(where)
    np.testing.assert_array_equal(value[nothing.all((1, 2))], 0)
    np.testing.assert_array_equal(np.where(nothing[..., None], gradient, 0), 0)


def assert_order_does_not_matter(loss, *, case="ids", of_classes=True, **options):
    """Pixels in another order give the same value, and so do classes (but for their weights)."""
    case = INPUTS[case] if isinstance(case, str) else case
    loss = jax.jit(functools.partial(loss, **arrays(options)))
    value, moved = value_of(loss, case), value_of(loss, shuffle_pixels(case))
    np.testing.assert_allclose(moved, value, rtol=1e-5, atol=1e-6)
    if not of_classes:
        return
    order = np.array([2, 0, 1])
    labels = (
        order.argsort()[case.labels] if case.labels.dtype.kind == "i" else case.labels[..., order]
    )
    renamed = Case(case.logits[..., order], labels, case.targets[..., order])
    np.testing.assert_allclose(value_of(loss, renamed), value, rtol=1e-5, atol=1e-6)


def assert_refused(loss, options, message, case="ids"):
    """A wrong option is a `ValueError` that names it; without the annotations' own check."""
    bare, case = inspect.unwrap(loss), INPUTS[case]
    with pytest.raises(ValueError, match=message):
        bare(jnp.asarray(case.logits, jnp.float32), jnp.asarray(case.labels), **arrays(options))


def assert_finite_near_nothing(loss, **options):
    """Gradients where the sums of a class pass through the smallest numbers there are."""
    gaps = jnp.tile(jnp.linspace(0.0, 120.0, 121), 2)
    absent = jnp.zeros((1, 8), jnp.int32).at[0, :3].set(1)
    labels = jnp.repeat(jnp.stack([absent, absent.at[0, 7].set(2)]), 121, axis=0)

    def derivative(gap, labels):
        logits = jnp.zeros((1, 8, 3)).at[..., 2].set(-gap)
        return jax.value_and_grad(lambda x: loss(x, labels, **options)[0])(logits)

    value, gradient = jax.jit(jax.vmap(derivative))(gaps, labels)
    bad = ~np.isfinite(value) | ~np.isfinite(gradient).all((1, 2, 3))
    assert not bad.any(), np.flatnonzero(bad)
