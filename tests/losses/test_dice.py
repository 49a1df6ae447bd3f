import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import reference

RNG = np.random.default_rng(2)
LOGITS = RNG.normal(size=(3, 4, 5, 3)).astype(np.float32) * 2
LABELS = RNG.integers(0, 3, (3, 4, 5))
LABELS[1] = np.minimum(LABELS[1], 1)  # class 2 is absent from the second example
SOFT = RNG.dirichlet(np.ones(3), (3, 4, 5)).astype(np.float32)


def class_costs(p, t, smooth, absent):
    """One cost a class and the classes that count."""
    costs, counts = [], []
    for c in range(p.shape[1]):
        intersection = sum(p[i, c] * t[i, c] for i in range(len(p)))
        predicted, true = p[:, c].sum(), t[:, c].sum()
        if true == 0 and absent == "suppress":
            costs.append(predicted / len(p))
        else:
            costs.append(1 - (2 * intersection + smooth) / (predicted + true + smooth))
        counts.append(not (absent == "skip" and true == 0))
    return np.array(costs), np.array(counts, float)


def expected(p, targets, *, weights, smooth=1e-5, absent="smooth"):
    def one(p, t):
        costs, counts = class_costs(p, t, smooth, absent)
        return (weights * counts * costs).sum() / (weights * counts).sum()

    return reference.by_example(one, p, targets)


@pytest.mark.parametrize("absent", ["smooth", "skip", "suppress"])
@pytest.mark.parametrize("smooth", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
def test_dice_is_the_formula(absent, smooth, activation, soft):
    weights = np.array([0.5, 1.0, 2.0])
    value = losses.dice(
        jnp.asarray(LOGITS),
        jnp.asarray(SOFT if soft else LABELS),
        activation=activation,
        class_weights=jnp.asarray(weights, jnp.float32),
        absent=absent,
        smooth=smooth,
    )
    p = reference.softmax(LOGITS) if activation == "softmax" else reference.sigmoid(LOGITS)
    targets = SOFT if soft else reference.one_hot(LABELS, 3)
    wanted = expected(p, targets, weights=weights, smooth=smooth, absent=absent)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_background_leaves_after_the_softmax():
    value = losses.dice(jnp.asarray(LOGITS), jnp.asarray(LABELS), include_background=False)
    wanted = expected(
        reference.softmax(LOGITS), reference.one_hot(LABELS, 3), weights=np.array([0.0, 1.0, 1.0])
    )
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


@pytest.mark.parametrize("where", [None, RNG.random((3, 4, 5)) < 0.6], ids=["all", "masked"])
def test_batch_pool_is_one_example_of_all_pixels(where):
    value = losses.dice(
        jnp.asarray(LOGITS),
        jnp.asarray(LABELS),
        where=None if where is None else jnp.asarray(where),
        pool="batch",
    )
    keep = np.ones((3, 4, 5), bool) if where is None else where
    p, t = reference.softmax(LOGITS)[keep], reference.one_hot(LABELS, 3)[keep]
    costs, _ = class_costs(p, t, 1e-5, "smooth")
    assert value.shape == ()
    np.testing.assert_allclose(value, costs.mean(), rtol=1e-5)


def test_binary_masks_in_every_form():
    mask = jnp.asarray(LABELS == 1)
    two = losses.dice(jnp.asarray(LOGITS[..., :2]), mask)
    np.testing.assert_allclose(two, losses.dice(jnp.asarray(LOGITS[..., :2]), mask.astype(int)))
    one = jnp.asarray(LOGITS[..., :1])
    values = [
        losses.dice(one, form, activation="sigmoid")
        for form in (mask, mask[..., None], mask.astype(jnp.int32), mask[..., None] * 1.0)
    ]
    p = reference.sigmoid(LOGITS[..., :1])
    wanted = expected(p, np.asarray(mask, float)[..., None], weights=np.ones(1))
    for value in values:
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_perfect_is_zero_and_disjoint_is_one():
    labels = jnp.array([[0, 0, 1, 1]])
    right = 200 * jnp.stack([labels == 0, labels == 1], axis=-1).astype(jnp.float32)
    np.testing.assert_allclose(losses.dice(right, labels), 0, atol=1e-6)
    np.testing.assert_allclose(losses.dice(right, 1 - labels), 1, atol=1e-5)


def test_nothing_to_find_and_nothing_found_costs_nothing():
    logits = jnp.array([[[200.0, -200.0]] * 4])
    labels = jnp.zeros((1, 4), jnp.int32)
    for absent in ("smooth", "skip", "suppress"):
        value, gradient = jax.value_and_grad(
            lambda x, absent=absent: losses.dice(x, labels, absent=absent, smooth=0.0)[0]
        )(logits)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        assert np.all(np.isfinite(gradient))


def test_absent_class_with_skip_has_no_gradient_and_with_suppress_a_pull_down():
    labels = jnp.zeros((1, 6), jnp.int32)
    logits = jnp.zeros((1, 6, 2))
    cost = lambda x, absent: losses.dice(  # noqa: E731
        x, labels, activation="sigmoid", include_background=False, absent=absent
    )[0]
    np.testing.assert_array_equal(jax.grad(cost)(logits, "skip"), 0)
    assert np.all(jax.grad(cost)(logits, "suppress")[..., 1] > 0)
    np.testing.assert_allclose(cost(logits, "suppress"), 0.5)


@pytest.mark.long
def test_sums_hold_their_digits_at_256_cubed():
    """2^24 voxels: a running float32 sum would stop counting; half precision would overflow."""
    logits = jnp.full((1, 256**3, 1), 0.3, jnp.bfloat16)
    labels = jnp.zeros((1, 256**3), bool).at[:, ::3].set(True)
    value = losses.dice(logits, labels, activation="sigmoid")
    p = reference.sigmoid(float(logits[0, 0, 0]))
    true = np.ceil(256**3 / 3)
    np.testing.assert_allclose(value, 1 - 2 * p * true / (p * 256**3 + true), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "image"}, "pool: expected one of 'example', 'batch'"),
        ({"absent": "ignore"}, "absent: expected one of 'smooth', 'skip', 'suppress'"),
        ({"activation": "relu"}, "activation: expected one of 'softmax', 'sigmoid'"),
        ({"class_weights": jnp.ones(2)}, "class_weights: expected shape"),
        ({"where": jnp.ones((3, 4, 5))}, "where"),
        ({"where": jnp.ones((3, 4), bool)}, "where"),
    ],
)
def test_wrong_options_are_named(options, message):
    bare = losses.dice.__wrapped__ if hasattr(losses.dice, "__wrapped__") else losses.dice
    with pytest.raises(ValueError, match=message):
        bare(jnp.asarray(LOGITS), jnp.asarray(LABELS), **options)


@pytest.mark.parametrize("absent", ["smooth", "skip", "suppress"])
@pytest.mark.parametrize("smooth", [0.0, 1e-30])
@pytest.mark.parametrize("gap", [10.0, 20.0, 46.0, 60.0, 80.0, 90.0, 110.0, 1e4])
def test_an_absent_class_with_almost_no_probability_has_a_finite_gradient(absent, smooth, gap):
    """Its sums are near the smallest numbers: 1 / (P + T)^2 would be infinite."""
    logits = jnp.zeros((1, 8, 3)).at[..., 2].set(-gap)
    labels = jnp.zeros((1, 8), jnp.int32).at[0, :3].set(1)
    cost = lambda x: losses.dice(x, labels, absent=absent, smooth=smooth)[0]  # noqa: E731
    value, gradient = jax.value_and_grad(cost)(logits)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=lambda d: d.__name__)
def test_soft_labels_of_half_precision_are_summed_in_float32(dtype):
    """160,000 pixels are more than float16 holds, and more than bfloat16 counts."""
    ids = jnp.zeros((1, 160_000), jnp.int32).at[:, ::3].set(1)
    logits = jnp.zeros((1, 160_000, 2))
    soft = losses.dice(logits, jax.nn.one_hot(ids, 2, dtype=dtype))
    np.testing.assert_allclose(soft, losses.dice(logits, ids), rtol=1e-6)


def test_one_class_without_background_is_refused():
    with pytest.raises(ValueError, match="only one class"):
        losses.dice(
            jnp.zeros((1, 4, 1)),
            jnp.zeros((1, 4), bool),
            activation="sigmoid",
            include_background=False,
        )
