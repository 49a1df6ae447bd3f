import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference

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
        overlap="product",
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


def formula(logits, targets, *, denominator="linear", form="ratio", **options):
    if denominator == "squared":  # p t is the overlap that a prediction equal to t covers
        options["overlap"] = "product"

    def cost(overlap, p, t, s_n, s_d):
        power = 2 if denominator == "squared" else 1
        score = reference.ratio(2 * overlap + s_n, (p**power).sum() + (t**power).sum() + s_d)
        return reference.shape(form, score)

    return reference.region(cost, logits, targets, **options)


@pytest.mark.parametrize("name", agreement.region_cases(losses.dice))
def test_every_shared_option(name):
    agreement.region_agrees(losses.dice, formula, name)


@pytest.mark.parametrize("form", ["ratio", "log", "log_cosh"])
@pytest.mark.parametrize("denominator", ["linear", "squared"])
@pytest.mark.parametrize(
    "name",
    ["plain", "one class", "twenty classes", "soft", "weights", "skip", "batch, masked"],
)
def test_forms_and_denominators(name, form, denominator):
    if form != "ratio" or denominator != "linear":
        options = {"form": form, "denominator": denominator}
        agreement.region_agrees(losses.dice, formula, name, **options)


def test_forms_by_hand():
    """I = 1.5, P = 2, T = 2; squares: P = 1.5. D = 3/4 or 3/3.5."""
    p = jnp.array([[1.0, 0.5, 0.5, 0.0]])[..., None]
    labels = jnp.array([[True, True, False, False]])
    for denominator, score in (("linear", 3 / 4), ("squared", 3 / 3.5)):
        options = {"activation": "identity", "smooth": 0.0, "denominator": denominator}
        wanted = {
            "ratio": 1 - score,
            "log": -np.log(score),
            "log_cosh": np.log((np.exp(1 - score) + np.exp(score - 1)) / 2),
        }
        for form, value in wanted.items():
            np.testing.assert_allclose(losses.dice(p, labels, form=form, **options), value, 1e-6)


def test_a_soft_label_is_its_own_optimum():
    """But not with the product, which is greatest at p = 1 in the likeliest class."""
    soft = jnp.asarray(SOFT)
    itself = losses.dice(soft, soft, activation="identity")
    np.testing.assert_allclose(itself, 0, atol=1e-6)
    assert np.all(losses.dice(soft, soft, activation="identity", overlap="product") > 0.1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = jnp.asarray(rng.dirichlet(np.ones(3), (3, 4, 5)), jnp.float32)
        for form, denominator in itertools.product(
            ("ratio", "log", "log_cosh"), ("linear", "squared")
        ):
            options = {"activation": "identity", "form": form, "denominator": denominator}
            np.testing.assert_allclose(losses.dice(soft, soft, **options), 0, atol=1e-6)
            assert np.all(losses.dice(other, soft, **options) > losses.dice(soft, soft, **options))


@pytest.mark.parametrize("overlap", ["l1", "product"])
def test_hard_labels_do_not_know_the_overlap(overlap):
    hard = jnp.asarray(reference.one_hot(LABELS, 3), jnp.float32)
    value = losses.dice(jnp.asarray(LOGITS), hard, overlap=overlap)
    np.testing.assert_allclose(value, losses.dice(jnp.asarray(LOGITS), jnp.asarray(LABELS)), 1e-6)


@pytest.mark.parametrize("form", ["ratio", "log", "log_cosh"])
@pytest.mark.parametrize("denominator", ["linear", "squared"])
def test_value_and_gradient_are_finite(form, denominator):
    for absent in ("smooth", "skip", "suppress"):
        options = {"form": form, "denominator": denominator, "absent": absent}
        agreement.assert_finite(losses.dice, **options)
    options = {"form": form, "denominator": denominator, "smooth": 0.0}
    agreement.assert_finite_near_nothing(losses.dice, **options)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.dice)
    agreement.assert_order_does_not_matter(losses.dice, case="soft", absent="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "sqrt"}, "form: expected one of 'ratio', 'log', 'log_cosh'"),
        ({"denominator": "cubed"}, "denominator: expected one of 'linear', 'squared'"),
        ({"overlap": "l2"}, "overlap: expected one of 'l1', 'product'"),
    ],
)
def test_wrong_new_options_are_named(options, message):
    agreement.assert_refused(losses.dice, options, message)
