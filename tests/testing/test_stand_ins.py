"""Losses of other arrays than logits and class ids can be tortured, too."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.testing import CHECKS, check_loss, stand_ins
from lossbench.testing.discovery import subject_of

OTHERS = [
    row.name
    for row in losses.CATALOG.values()
    if row.family in ("anomaly", "spectral", "regularizer")
]


@pytest.mark.parametrize("name", losses.CATALOG)
def test_what_a_loss_is_of(name):
    parameters = inspect.signature(losses.get(name)).parameters
    assert (stand_ins.stands_for(parameters) is not None) == (name in OTHERS)


def test_the_output_stands_where_logits_do():
    """With the loss's own options, numbers that it needs among them."""
    loss = losses.svdd_soft_boundary
    of = stand_ins.of_logits(loss, inspect.signature(loss).parameters)
    logits, labels = jnp.ones((1, 2, 3)), jnp.zeros((1, 2), int)
    center = jnp.cos(jnp.arange(3.0))
    np.testing.assert_allclose(of(logits, labels), loss(logits, center, 1.0, nu=0.1))
    value = of(logits, labels, nu=0.5, where=jnp.array([[True, False]]))
    np.testing.assert_allclose(value, loss(logits[:, :1], center, 1.0, nu=0.5))
    assert list(inspect.signature(of).parameters) == ["logits", "labels", "radius", "nu", "where"]
    verdict = check_loss(loss, options={"nu": 0.3}, only=["finite", "equal logits"])
    assert verdict.passed
    with pytest.raises(ValueError, match=r"unknown option.*'mu'"):
        check_loss(loss, options={"mu": 0.3}, only=["equal logits"])


def test_class_one_is_the_anomaly():
    loss = losses.hypersphere_classifier
    of = stand_ins.of_logits(loss, inspect.signature(loss).parameters)
    logits, labels = jnp.ones((1, 3, 2)), jnp.array([[0, 1, 2]])
    wanted = loss(logits, jnp.cos(jnp.arange(2.0)), labels == 1)
    np.testing.assert_array_equal(of(logits, labels), wanted)


def test_what_is_asked_of_classes_is_not_asked():
    verdict = check_loss(losses.svdd_one_class, only=["right costs less", "equal logits"])
    assert "svdd_one_class (JAX): 3 features, no classes, mask 'where'" in str(verdict)
    assert "not of classes: right costs less" in str(verdict)


def test_a_regularizer_has_a_matrix():
    verdict = check_loss(losses.distinctness, only=["finite", "gradient", "mask leak", "pure"])
    assert verdict.passed
    assert "distinctness (JAX): a small matrix" in str(verdict)
    (array,) = subject_of(losses.distinctness).inputs
    assert array.shape == (4, 6)


def test_a_loss_of_what_nobody_knows_gets_logits_as_before():
    def loss(embeddings, prototypes):
        return jnp.mean((embeddings - prototypes[..., None]) ** 2, (1, 2, 3))

    parameters = inspect.signature(loss).parameters
    assert stand_ins.stands_for(parameters) is None
    assert subject_of(loss).labeled


@pytest.mark.parametrize("name", OTHERS)
def test_the_checks_of_numbers(name):
    wanted = {"finite", "saturated logits", "equal logits", "NaN under mask", "all masked"}
    verdict = check_loss(losses.get(name), only=wanted & set(CHECKS))
    assert verdict.passed, str(verdict)
