import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench import losses
from tests.losses import agreement, reference


def jaccard_loss(wrong, members):
    """Of the set of pixels that are wrong: |wrong| / |members or wrong|, and 0 without any."""
    return len(wrong) / len(members | wrong) if wrong else 0.0


def extension(errors, members):
    """Berman et al. 2018, equation 8: each error times what its pixel adds to the set function."""
    wrong, before, total = set(), 0.0, 0.0
    for i in sorted(range(len(errors)), key=lambda i: -errors[i]):
        wrong.add(i)
        now = jaccard_loss(wrong, members)
        total += errors[i] * (now - before)
        before = now
    return total


def integral(errors, members):
    """The same as an integral over thresholds of the loss of the errors above each."""
    levels = sorted({0.0, *errors})
    total = 0.0
    for low, high in itertools.pairwise(levels):
        total += (high - low) * jaccard_loss({i for i, e in enumerate(errors) if e > low}, members)
    return total


def softmax_formula(logits, targets, *, absent="skip", **options):
    def cost(_overlap, p, t, _s_n, _s_d):
        return extension(np.abs(t - p), set(np.flatnonzero(t)))

    return reference.region(cost, logits, targets, absent=absent, **options)


def hinge_formula(logits, targets, *, absent="smooth", **options):
    """Berman et al. 2018, equation 10; an absent class may cost its mean probability."""

    def cost(_overlap, x, t, _s_n, _s_d):
        if not t.any() and absent == "suppress":
            return reference.sigmoid(x).mean()
        return extension(np.maximum(1 - x * (2 * t - 1), 0), set(np.flatnonzero(t)))

    options["activation"] = "identity"
    options["absent"] = "smooth" if absent == "suppress" else absent
    return reference.region(cost, logits, targets, **options)


def hard(loss):
    """The rows for labels that are one class or not."""
    options = agreement.REGION
    return [n for n in agreement.region_cases(loss) if options[n][0] != "soft"]


@pytest.mark.parametrize("name", hard(losses.lovasz_softmax))
def test_lovasz_softmax_is_the_formula(name):
    agreement.region_agrees(losses.lovasz_softmax, softmax_formula, name)


@pytest.mark.parametrize("name", hard(losses.lovasz_hinge))
def test_lovasz_hinge_is_the_formula(name):
    agreement.region_agrees(losses.lovasz_hinge, hinge_formula, name)


@pytest.mark.parametrize("absent", ["smooth", "skip", "suppress"])
@pytest.mark.parametrize("options", [{}, {"where": agreement.WHERE}, {"pool": "batch"}], ids=str)
def test_absent_classes(absent, options):
    options = {"absent": absent, **options}
    agreement.agree(losses.lovasz_softmax, softmax_formula, "ids", options)
    agreement.agree(losses.lovasz_hinge, hinge_formula, "masks", options)


def test_one_class():
    agreement.agree(losses.lovasz_hinge, hinge_formula, "one class", {})
    agreement.agree(losses.lovasz_hinge, hinge_formula, "one class", {"pool": "batch"})


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=12))
@settings(max_examples=50)
def test_the_reference_is_the_integral_over_thresholds(pixels):
    errors = [e for e, _ in pixels]
    members = {i for i, (_, t) in enumerate(pixels) if t}
    np.testing.assert_allclose(extension(errors, members), integral(errors, members), atol=1e-12)


@given(st.integers(0, 255), st.integers(0, 255))
@settings(max_examples=40, deadline=None)
def test_a_hard_prediction_costs_one_minus_the_intersection_over_union(found, true):
    """The extension meets the set function at its corners; both classes of 8 pixels."""
    bits = np.arange(8)
    found, true = (found >> bits) & 1, (true >> bits) & 1
    wanted = []
    for c in (0, 1):
        if np.any(true == c):
            both, either = (found == c) & (true == c), (found == c) | (true == c)
            wanted.append(1 - both.sum() / either.sum())
    hard = 200.0 * jax.nn.one_hot(jnp.asarray(found), 2)[None]
    value = losses.lovasz_softmax(hard, jnp.asarray(true)[None])
    np.testing.assert_allclose(value, np.mean(wanted), atol=1e-6)


def test_the_hinge_by_hand():
    """Errors 3, .5, 1.5, 0 of a member, a member, another, another.

    In order 3, 1.5, .5, 0 the set function is 1/2, 2/3, 1, 1.
    """
    logits = jnp.array([[-2.0, 0.5, 0.5, -4.0]])[..., None]
    labels = jnp.array([[True, True, False, False]])
    wanted = 3 * (1 / 2) + 1.5 * (2 / 3 - 1 / 2) + 0.5 * (1 - 2 / 3)
    np.testing.assert_allclose(losses.lovasz_hinge(logits, labels), wanted, rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_ties_may_come_in_any_order(classes):
    """Equal errors of members and others: the value does not depend on who is sorted first."""
    labels = jnp.arange(30)[None] % classes
    logits = jnp.zeros((1, 30, classes)).at[:, :9, 0].set(1.0)
    wanted = softmax_formula(logits, reference.one_hot(labels, classes))
    np.testing.assert_allclose(losses.lovasz_softmax(logits, labels), wanted, rtol=1e-5)
    backwards = losses.lovasz_softmax(logits[:, ::-1], labels[:, ::-1])
    np.testing.assert_allclose(backwards, wanted, rtol=1e-5)


def test_equal_errors_share_their_weight():
    """Three others with the error 1.5, behind a member with 3: together they have one slope."""
    case = agreement.Case(
        np.array([[-2.0, 0.7, 0.5, 0.5, 0.5, -0.4]])[..., None],
        np.array([[True, True, False, False, False, False]])[..., None],
        np.array([[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]])[..., None],
    )
    x = jnp.asarray(case.logits, jnp.float32)
    cost = lambda x: losses.lovasz_hinge(x, jnp.asarray(case.labels))[0]  # noqa: E731
    gradient = jax.grad(cost)(x)[0, :, 0]
    tied = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    together = reference.slope(
        lambda x: hinge_formula(x, case.targets)[0], case.logits, tied[None, :, None]
    )
    np.testing.assert_allclose(gradient[2:5], together / 3, rtol=1e-5)


def test_a_positive_multiple_of_every_hinge_error_scales_the_loss():
    """The extension is positively homogeneous: errors 1 - x s become k (1 - x s)."""
    case = agreement.INPUTS["one class"]
    sign = 2 * case.targets - 1
    inside = np.clip(case.logits, -0.9, 0.9)  # every hinge is open
    stretched = sign * (1 - 3 * (1 - inside * sign))
    cost = functools.partial(agreement.value_of, losses.lovasz_hinge)
    np.testing.assert_allclose(
        cost(case._replace(logits=stretched)), 3 * cost(case._replace(logits=inside)), rtol=1e-5
    )


def test_beyond_the_margin_the_hinge_is_zero():
    labels = jnp.array([[True, False, True]])
    logits = jnp.array([[1.5, -1.5, 30.0]])[..., None]
    value, gradient = jax.value_and_grad(lambda x: losses.lovasz_hinge(x, labels)[0])(logits)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_perfect_is_zero_and_disjoint_is_one():
    labels = jnp.array([[0, 0, 1, 1]])
    right = 200 * (jax.nn.one_hot(labels, 2) - 0.5)
    np.testing.assert_allclose(losses.lovasz_softmax(right, labels), 0, atol=1e-6)
    np.testing.assert_allclose(losses.lovasz_softmax(right, 1 - labels), 1, atol=1e-6)


@pytest.mark.parametrize("absent", ["smooth", "skip"])
def test_value_and_gradient_are_finite(absent):
    agreement.assert_finite(losses.lovasz_softmax, absent=absent)
    agreement.assert_finite(losses.lovasz_hinge, absent=absent)


def test_masked_pixels_take_no_part_in_the_order():
    """Under the mask lie the greatest errors of the image."""
    case = agreement.INPUTS["ids"]
    wrong = 50 * reference.one_hot((case.labels + 1) % 3, 3)
    loud = np.where(agreement.WHERE[..., None], case.logits, wrong)
    agreement.agree(
        losses.lovasz_softmax,
        softmax_formula,
        case._replace(logits=loud),
        {"where": agreement.WHERE, "absent": "smooth"},
    )


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.lovasz_softmax)
    agreement.assert_order_does_not_matter(losses.lovasz_hinge)


def test_wrong_options_are_named():
    for loss in (losses.lovasz_softmax, losses.lovasz_hinge):
        agreement.assert_refused(loss, {"absent": "zero"}, "absent: expected one of")
        agreement.assert_refused(loss, {"pool": "image"}, "pool: expected one of")
