import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference

RNG = np.random.default_rng(1)
LOGITS = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32) * 2
LABELS = RNG.integers(0, 3, (2, 4, 5))
SOFT = RNG.dirichlet(np.ones(3), (2, 4, 5)).astype(np.float32)


def expected(logits, targets, gamma, weights):
    def one(p, t):
        total = 0.0
        for p_i, t_i in zip(p, t, strict=True):
            for c in range(3):
                total += weights[c] * t_i[c] * (1 - p_i[c]) ** gamma * -np.log(p_i[c])
        return total / len(p)

    return reference.by_example(one, reference.softmax(logits), targets)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_is_the_formula(gamma, soft, alpha):
    labels = jnp.asarray(SOFT if soft else LABELS)
    targets = SOFT if soft else reference.one_hot(LABELS, 3)
    weights = np.array([1.0, 2.0, 0.5])
    value = losses.focal(
        jnp.asarray(LOGITS),
        labels,
        gamma=gamma,
        alpha=alpha,
        class_weights=jnp.asarray(weights, jnp.float32),
    )
    if alpha is not None:
        weights = weights * np.array([1 - alpha, alpha, alpha])
    np.testing.assert_allclose(value, expected(LOGITS, targets, gamma, weights), rtol=1e-5)


def test_gamma_zero_is_cross_entropy():
    logits, labels = jnp.asarray(LOGITS), jnp.asarray(LABELS)
    np.testing.assert_allclose(
        losses.focal(logits, labels, gamma=0.0), losses.cross_entropy(logits, labels), rtol=1e-6
    )


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("size", [1.0, 50.0, 1e3, 1e4])
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
def test_gradient_is_finite_for_saturated_logits(gamma, size, soft):
    """Lin's formula has the gradient (1-p)^(gamma-1), infinite at p = 1 for gamma < 1."""
    logits = jnp.array([[[size, -size, 0.0], [-size, size, 0.0], [0.0, 0.0, size]]])
    labels = jnp.array([[0, 0, 2]])
    labels = jax.nn.one_hot(labels, 3) if soft else labels
    value, gradient = jax.value_and_grad(lambda x: losses.focal(x, labels, gamma=gamma)[0])(logits)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
    assert gradient[0, 1, 0] < 0  # the pixel that is lost pulls its class up


def sigmoid_formula(logits, targets, *, gamma=2.0, alpha=None, normalize="pixels", **options):
    """Lin et al. 2017, equation 5: a_t (1 - p_t)^gamma (-log p_t)."""

    def costs_of(x, t):
        p = reference.sigmoid(x)
        a, b = (1, 1) if alpha is None else (alpha, 1 - alpha)
        won = a * (1 - p) ** gamma * -np.log(p)
        lost = b * p**gamma * -np.log(1 - p)
        return t * won + (1 - t) * lost

    if normalize == "pixels" or options.get("reduction", "mean") != "mean":
        return reference.pixelwise(costs_of, logits, targets, activation="sigmoid", **options)
    options = {**options, "reduction": "sum"}
    total = reference.pixelwise(costs_of, logits, targets, activation="sigmoid", **options)
    where = options.get("where")
    positives = lambda t: max(1.0, t.sum())  # noqa: E731
    return total / reference.by_pool(positives, where, "example", targets)


SIGMOID = {
    name: (case, {k: v for k, v in options.items() if k != "activation"})
    for name, (case, options) in agreement.PIXELWISE.items()
}


@pytest.mark.parametrize("name", SIGMOID)
def test_sigmoid_focal_is_the_formula(name):
    case, options = SIGMOID[name]
    agreement.agree(losses.sigmoid_focal, sigmoid_formula, case, options)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.5])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("normalize", ["pixels", "positives"])
def test_the_options_of_sigmoid_focal(gamma, alpha, normalize):
    options = {"gamma": gamma, "alpha": alpha, "normalize": normalize}
    for case in ("masks", "soft", "one class"):
        agreement.agree(losses.sigmoid_focal, sigmoid_formula, case, options)
    options["where"] = agreement.WHERE
    agreement.agree(losses.sigmoid_focal, sigmoid_formula, "masks", options)


def test_sigmoid_focal_of_gamma_zero_is_binary_cross_entropy():
    for case in ("masks", "soft", "one class"):
        plain = agreement.value_of(losses.binary_cross_entropy, case)
        focal = agreement.value_of(losses.sigmoid_focal, case, gamma=0.0)
        np.testing.assert_allclose(focal, plain, rtol=1e-6)
        half = agreement.value_of(losses.sigmoid_focal, case, gamma=0.0, alpha=0.5)
        np.testing.assert_allclose(half, plain / 2, rtol=1e-6)


def test_the_examples_of_the_paper():
    """Section 3.2: at gamma 2, p_t = .9 costs 100 times less, .968 about 1000 times less, and
    p_t <= .5 at most 4 times less than with cross entropy."""
    logits = jnp.log(jnp.array([0.9 / 0.1, 0.968 / 0.032, 1.0]))[None, :, None]
    labels = jnp.ones((1, 3), bool)
    plain = losses.binary_cross_entropy(logits, labels, reduction="none")
    focal = losses.sigmoid_focal(logits, labels, gamma=2.0, reduction="none")
    np.testing.assert_allclose((plain / focal)[0, :, 0], [100, 976.6, 4], rtol=1e-3)


def test_no_positives_divide_by_one():
    logits = jnp.zeros((1, 5, 1))
    value = losses.sigmoid_focal(logits, jnp.zeros((1, 5), bool), gamma=2.0, normalize="positives")
    np.testing.assert_allclose(value, 5 * 0.25 * np.log(2), rtol=1e-6)


def test_sigmoid_focal_of_two_logits_is_softmax_focal():
    """p = sigmoid(x_1 - x_0); one class against two."""
    case = agreement.INPUTS["volume"]
    one = jnp.asarray(case.logits[..., 1:] - case.logits[..., :1], jnp.float32)
    for alpha in (None, 0.25):
        two = agreement.value_of(losses.focal, case, gamma=2.0, alpha=alpha)
        value = losses.sigmoid_focal(one, jnp.asarray(case.labels == 1), gamma=2.0, alpha=alpha)
        np.testing.assert_allclose(value, two, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("normalize", ["pixels", "positives"])
def test_sigmoid_focal_is_finite(gamma, normalize):
    options = {"gamma": gamma, "alpha": 0.25, "normalize": normalize}
    agreement.assert_finite(losses.sigmoid_focal, **options)


def test_a_wrong_normalization_is_named():
    message = "normalize: expected one of 'pixels', 'positives'"
    agreement.assert_refused(losses.sigmoid_focal, {"normalize": "anchors"}, message)
