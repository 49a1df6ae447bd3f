"""Checks of values: on in debug mode, inside and outside `jit`, and gone without it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from lossbench import _checks, debug_checks, losses

LOGITS = jnp.zeros((1, 4, 3))
LABELS = jnp.array([[0, 1, 2, 1]])
SOFT = jnp.full((1, 4, 3), 1 / 3)
WRONG = {
    "id too large": (LOGITS, LABELS.at[0, 0].set(3), r"a class id is outside 0..2 \(from 1 to 3\)"),
    "id negative": (LOGITS, LABELS.at[0, 0].set(-1), r"a class id is outside 0..2"),
    "NaN logit": (LOGITS.at[0, 0, 0].set(jnp.nan), LABELS, "logits: a value is NaN or infinite"),
    "infinite logit": (LOGITS.at[0, 0, 0].set(jnp.inf), LABELS, "logits: a value is NaN"),
    "sum": (LOGITS, SOFT.at[0, 0, 0].set(0.5), "probabilities do not sum to 1"),
    "negative": (LOGITS, SOFT.at[0, 0].set(jnp.array([2.0, -1.0, 0.0])), "outside 0..1"),
    "NaN label": (LOGITS, SOFT.at[0, 0, 0].set(jnp.nan), "labels: a probability is NaN"),
    "two masks": (LOGITS, jnp.ones((1, 4, 3), bool), "probabilities do not sum to 1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_is_found_inside_and_outside_jit(wrong):
    logits, labels, message = WRONG[wrong]
    with debug_checks():
        with pytest.raises(checkify.JaxRuntimeError, match=message):
            losses.cross_entropy(logits, labels)
        error, _ = checkify.checkify(jax.jit(losses.cross_entropy))(logits, labels)
    with pytest.raises(checkify.JaxRuntimeError, match=message):
        error.throw()
    losses.cross_entropy(logits, labels)  # and nothing without the mode


def test_a_sigmoid_needs_no_sum_but_probabilities():
    with debug_checks():
        losses.binary_cross_entropy(LOGITS, jnp.ones((1, 4, 3), bool))
        losses.dice(LOGITS, jnp.ones((1, 4, 3)), activation="sigmoid")
        with pytest.raises(checkify.JaxRuntimeError, match=r"outside 0..1"):
            losses.binary_cross_entropy(LOGITS, jnp.full((1, 4, 3), 1.5))


def test_ids_of_a_single_class_are_0_and_1():
    logits = jnp.zeros((1, 4, 1))
    with debug_checks():
        losses.binary_cross_entropy(logits, jnp.array([[0, 1, 1, 0]]))
        with pytest.raises(checkify.JaxRuntimeError, match=r"outside 0..1 \(from 0 to 255\)"):
            losses.binary_cross_entropy(logits, jnp.array([[0, 1, 255, 0]]))


def test_rubbish_under_the_mask_passes():
    where = jnp.array([[True, True, True, False]])
    logits = LOGITS.at[0, 3].set(jnp.nan)
    with debug_checks():
        value = losses.cross_entropy(logits, LABELS.at[0, 3].set(255), where=where)
        soft = losses.cross_entropy(logits, SOFT.at[0, 3].set(jnp.nan), where=where)
        nothing = losses.cross_entropy(logits, LABELS, where=jnp.zeros((1, 4), bool))
    np.testing.assert_allclose(value, np.log(3), rtol=1e-6)
    np.testing.assert_allclose(soft, np.log(3), rtol=1e-6)
    np.testing.assert_array_equal(nothing, 0)


def test_right_values_pass_and_are_the_same():
    with debug_checks():
        error, value = checkify.checkify(jax.jit(losses.dice))(LOGITS, LABELS)
    assert error.get() is None
    np.testing.assert_array_equal(value, jax.jit(losses.dice)(LOGITS, LABELS))


def test_a_program_traced_in_one_mode_is_not_used_in_the_other():
    traces = []

    def loss(logits, labels):
        traces.append(1)
        return losses.focal(logits, labels)

    plain, wrong = jax.jit(loss), LABELS.at[0, 0].set(7)
    plain(LOGITS, wrong)
    with debug_checks():
        error, _ = checkify.checkify(plain)(LOGITS, wrong)
    assert "outside 0..2" in str(error.get())
    count = len(traces)
    plain(LOGITS, wrong)  # would fail to compile, had the checks stayed
    assert len(traces) == count


def test_the_mode_ends_with_an_error():
    with pytest.raises(RuntimeError), debug_checks():
        raise RuntimeError
    losses.cross_entropy(LOGITS, LABELS.at[0, 0].set(7))


def test_checks_while_tracing_name_the_argument():
    with pytest.raises(ValueError, match="center: expected a floating dtype, got int32"):
        _checks.floating(center=jnp.arange(3))
    with pytest.raises(ValueError, match=r"center: expected shape \(4,\) \(features\), got \(3,\)"):
        _checks.shape("center", jnp.zeros(3), (4,), "features")
    with pytest.raises(ValueError, match="mode: expected one of 'a', 'b', got 'c'"):
        _checks.choice("mode", "c", ("a", "b"))


@pytest.mark.parametrize(
    ("given", "wanted"), [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32")]
)
def test_sums_accumulate_in_float32_at_least(given, wanted):
    assert _checks.compute_dtype(jnp.zeros(1, given)) == wanted


@pytest.mark.parametrize(
    "spacing",
    [
        (1.0,),
        (1.0, 0.0),
        np.array([0, 1]),
        np.float32([-1, 1]),
        2.0,
        np.ones((2, 1)),
        (1, math.nan),
    ],
)
def test_wrong_spacing_of_any_kind_is_refused(spacing):
    """Arrays whose values are known, single numbers and rows, too."""
    with pytest.raises(ValueError, match=r"spacing: expected 2 numbers above 0, .* got"):
        _checks.spacing(spacing, 2)


def test_right_spacing_of_any_kind_is_let_through():
    assert _checks.spacing(None, 3) == [1, 1, 1]
    for spacing in ((1, 0.5), [jnp.float32(1), 0.5], np.float32([1, 0.5]), jnp.array([1, 0.5])):
        assert [float(size) for size in _checks.spacing(spacing, 2)] == [1, 0.5]
    assert jax.jit(lambda s: sum(_checks.spacing(s, 2)))(jnp.array([1.0, -2.0])) == -1
