import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 5, 4, 3)).astype(np.float32) * 3
LABELS = RNG.integers(0, 3, (2, 5, 4))
SOFT = RNG.dirichlet(np.ones(3), (2, 5, 4)).astype(np.float32)
WEIGHTS = np.array([0.2, 1.0, 3.0], np.float32)


def expected(logits, targets, weights=None, smoothing=0.0):
    """The docstring's formula, pixel by pixel."""
    weights = np.ones(3) if weights is None else weights

    def one(p, t):
        top = bottom = 0.0
        for p_i, t_i in zip(p, t, strict=True):
            for c in range(3):
                smoothed = (1 - smoothing) * t_i[c] + smoothing / 3
                top += weights[c] * smoothed * -np.log(p_i[c])
                bottom += weights[c] * t_i[c]
        return top / bottom

    return reference.by_example(one, reference.softmax(logits), targets)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
def test_cross_entropy_is_the_formula(weights, smoothing, soft):
    labels = jnp.asarray(SOFT if soft else LABELS)
    value = losses.cross_entropy(
        jnp.asarray(LOGITS),
        labels,
        class_weights=None if weights is None else jnp.asarray(weights),
        label_smoothing=smoothing,
    )
    targets = SOFT if soft else reference.one_hot(LABELS, 3)
    np.testing.assert_allclose(value, expected(LOGITS, targets, weights, smoothing), rtol=1e-5)


def test_soft_labels_are_their_own_optimum():
    logits = jnp.log(jnp.asarray(SOFT))
    gradient = jax.grad(lambda x: losses.cross_entropy(x, jnp.asarray(SOFT)).sum())(logits)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_reductions_are_one_another(weights):
    weights = None if weights is None else jnp.asarray(weights)
    where = jnp.asarray(RNG.random((2, 5, 4)) < 0.7)
    options = {"where": where, "class_weights": weights}
    logits, labels = jnp.asarray(LOGITS), jnp.asarray(LABELS)
    none = losses.cross_entropy(logits, labels, reduction="none", **options)
    total = losses.cross_entropy(logits, labels, reduction="sum", **options)
    mean = losses.cross_entropy(logits, labels, **options)
    assert none.shape == (2, 5, 4)
    np.testing.assert_array_equal(none[~where], 0)
    np.testing.assert_allclose(none.sum((1, 2)), total, rtol=1e-6)
    own = np.ones_like(LABELS) if weights is None else WEIGHTS[LABELS]
    np.testing.assert_allclose(mean, total / (own * where).sum((1, 2)), rtol=1e-5)


def test_a_saturated_logit_costs_its_margin():
    """-log p of a pixel lost by 1e4 is 1e4; of one won by 30, exp(-30): no digit is lost."""
    logits = jnp.array([[[1e4, 0.0], [30.0, 0.0]]])
    cost = losses.cross_entropy(logits, jnp.array([[1, 0]]), reduction="none")
    np.testing.assert_allclose(cost, [[1e4, np.exp(-30.0)]], rtol=1e-6)


def bce(logits, targets, pos_weight, weights):
    def one(x, t):
        total = 0.0
        for x_i, t_i in zip(x, t, strict=True):
            for c in range(3):
                p = reference.sigmoid(x_i[c])
                cost = pos_weight[c] * t_i[c] * np.log(p) + (1 - t_i[c]) * np.log(1 - p)
                total -= weights[c] * cost
        return total / x.size

    return reference.by_example(one, logits, targets)


@pytest.mark.parametrize("labels", ["bool", "soft", "ids"])
def test_binary_cross_entropy_is_the_formula(labels):
    masks = RNG.random(LOGITS.shape) < 0.4
    given = {"bool": masks, "soft": SOFT, "ids": LABELS}[labels]
    targets = {"bool": masks.astype(float), "soft": SOFT, "ids": reference.one_hot(LABELS, 3)}
    pos_weight = np.array([1.0, 2.0, 0.5], np.float32)
    value = losses.binary_cross_entropy(
        jnp.asarray(LOGITS),
        jnp.asarray(given),
        pos_weight=jnp.asarray(pos_weight),
        class_weights=jnp.asarray(WEIGHTS),
    )
    np.testing.assert_allclose(value, bce(LOGITS, targets[labels], pos_weight, WEIGHTS), rtol=1e-5)


@pytest.mark.parametrize("x", [-8.0, -12.0, -20.0, -60.0])
def test_an_easy_negative_keeps_its_digits(x):
    """log(1 + e^x) is e^x there, and so is its gradient: most pixels of a rare class are such."""
    cost = lambda x: losses.binary_cross_entropy(x, jnp.zeros((1, 1), bool))[0]  # noqa: E731
    value, gradient = jax.value_and_grad(cost)(jnp.full((1, 1, 1), x))
    np.testing.assert_allclose(value, np.log1p(np.exp(np.float64(x))), rtol=1e-5)
    np.testing.assert_allclose(gradient[0, 0, 0], reference.sigmoid(x), rtol=1e-5)


def test_one_class_takes_every_form_of_a_mask():
    logits = jnp.asarray(LOGITS[..., :1])
    mask = jnp.asarray(LABELS == 1)
    forms = [mask, mask[..., None], mask.astype(jnp.int32), mask[..., None].astype(jnp.float32)]
    values = [losses.binary_cross_entropy(logits, form) for form in forms]
    p, t = reference.sigmoid(LOGITS[..., 0]), np.asarray(mask)
    wanted = -np.where(t, np.log(p), np.log(1 - p)).mean((1, 2))
    for value in values:
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_binary_reductions_are_one_another():
    where = jnp.asarray(RNG.random((2, 5, 4)) < 0.7)
    logits, labels = jnp.asarray(LOGITS), jnp.asarray(LABELS)
    none = losses.binary_cross_entropy(logits, labels, where=where, reduction="none")
    total = losses.binary_cross_entropy(logits, labels, where=where, reduction="sum")
    mean = losses.binary_cross_entropy(logits, labels, where=where)
    assert none.shape == logits.shape
    np.testing.assert_array_equal(none[~where], 0)
    np.testing.assert_allclose(none.sum((1, 2, 3)), total, rtol=1e-6)
    np.testing.assert_allclose(mean, total / (3 * where.sum((1, 2))), rtol=1e-6)


def test_unknown_reduction_lists_the_known_ones():
    with pytest.raises(ValueError, match="'mean', 'sum', 'none'"):
        losses.cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS), reduction="average")


def exclusive(logits, targets, *, label_smoothing=0.0, **options):
    """Labels smoothed after the weights of the mean are taken."""
    classes = targets.shape[-1]

    def costs_of(x, t):
        smoothed = (1 - label_smoothing) * t + label_smoothing / classes
        return -smoothed * reference.log_softmax(x)

    return reference.pixelwise(costs_of, logits, targets, divide_by="weights", **options)


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.cross_entropy))
def test_cross_entropy_with_every_shared_option(name):
    agreement.pixelwise_agrees(losses.cross_entropy, exclusive, name)


@pytest.mark.parametrize("name", ["plain", "twenty classes", "soft, weights, masked"])
def test_label_smoothing_and_its_slope(name):
    agreement.pixelwise_agrees(losses.cross_entropy, exclusive, name, label_smoothing=0.2)


def independent(logits, targets, *, pos_weight=1.0, **options):
    def costs_of(x, t):
        return pos_weight * t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x))

    return reference.pixelwise(costs_of, logits, targets, activation="sigmoid", **options)


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.binary_cross_entropy))
def test_binary_cross_entropy_with_every_shared_option(name):
    agreement.pixelwise_agrees(losses.binary_cross_entropy, independent, name)


@pytest.mark.parametrize("pos_weight", [3.0, np.array([0.5, 2.0, 1.0])], ids=["one", "each"])
def test_the_weight_of_positives_and_its_slope(pos_weight):
    agreement.pixelwise_agrees(
        losses.binary_cross_entropy, independent, "weights, none", pos_weight=pos_weight
    )


@pytest.mark.parametrize("classes", [2, 3, 20, 100])
def test_value_and_gradient_are_finite(classes):
    agreement.assert_finite(losses.cross_entropy, classes=classes)
    agreement.assert_finite(losses.binary_cross_entropy, classes=classes)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.cross_entropy)
    agreement.assert_order_does_not_matter(losses.binary_cross_entropy, case="masks")


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
def test_one_logarithm_for_all_classes_gives_what_one_for_each_gives(classes, soft):
    """From saturated to undecided: the sum beside the costs one by one, and its smallest digits."""
    rng = np.random.default_rng(classes)
    logits = rng.uniform(-1, 1, (1, 64, classes)) * 10.0 ** rng.uniform(-4, 3, (1, 64, 1))
    logits = jnp.asarray(logits, jnp.float32)
    labels = rng.random((1, 64, classes)) if soft else rng.random((1, 64, classes)) < 0.5
    labels = jnp.asarray(labels, jnp.float32) if soft else jnp.asarray(labels)
    for pixel in range(0, 64, 7):
        one = slice(pixel, pixel + 1)
        total = losses.binary_cross_entropy(logits[:, one], labels[:, one], reduction="sum")
        apart = losses.binary_cross_entropy(logits[:, one], labels[:, one], reduction="none")
        np.testing.assert_allclose(total[0], np.sum(np.asarray(apart, np.float64)), rtol=1e-6)
