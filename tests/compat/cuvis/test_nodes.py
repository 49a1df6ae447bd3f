"""The loss nodes: values stored from cuvis-ai 0.19.3 itself, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.compat import cuvis
from tests.compat import cuvis_cases, stored

CASES = stored.load("cuvis")


@pytest.mark.parametrize("loss", cuvis_cases.LOSSES)
def test_a_node_answers_as_cuvis_did(loss):
    cases = [case for case in CASES if case["loss"] == loss]
    stored.check_all(cases, lambda case: cuvis_cases.ours(loss, case["options"]))


def test_every_case_is_stored():
    asked = [(loss, options, inputs) for loss, options, inputs in cuvis_cases.CASES]
    assert [(c["loss"], c["options"], c["inputs"]) for c in CASES] == asked


def test_ids_may_have_a_last_axis():
    logits, ids = jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2), int)
    for loss in ("CrossEntropyLoss", "DiceLoss"):
        node = getattr(cuvis, loss)(ignore_index=2)
        # The same program but for one reshape.
        with_axis = jax.make_jaxpr(lambda x, y, node=node: node(x, y[..., 0]))(
            logits, ids[..., None]
        )
        assert str(jax.make_jaxpr(node)(logits, ids[..., None])) == str(with_axis)


def test_ignored_pixels_are_removed():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(1, 4, 5, 3)), jnp.float32)
    ids = jnp.asarray(rng.integers(0, 3, (1, 4, 5))).at[:, :2].set(9)

    @jax.jit
    def costs(logits, ids):
        nodes = [cuvis.CrossEntropyLoss(ignore_index=9), cuvis.DiceLoss(ignore_index=9)]
        return jnp.stack([node(logits, ids) for node in nodes])

    whole = costs(logits.at[:, :2].set(jnp.nan), ids)
    np.testing.assert_allclose(whole, costs(logits[:, 2:], ids[:, 2:]), rtol=1e-6)


def test_one_channel_ignores_pixels_too():
    """cuvis-ai's own formula, by hand: p and t are 0 where ignored."""
    logits = jnp.array([0.0, 2.0, -1.0, 3.0]).reshape(1, 2, 2, 1)
    ids = jnp.array([1, 0, 1, 7]).reshape(1, 2, 2)
    p = 1 / (1 + np.exp(-np.array([0.0, 2.0, -1.0])))
    wanted = 1 - 2 * (p[0] + p[2]) / (p.sum() + 2)
    loss = jax.jit(cuvis.DiceLoss(ignore_index=7))
    np.testing.assert_allclose(loss(logits, ids), wanted, rtol=1e-5)


def test_nothing_to_count_costs_nothing():
    loss = jax.jit(jax.value_and_grad(cuvis.CrossEntropyLoss(ignore_index=5)))
    value, gradient = loss(jnp.ones((1, 2, 2, 3)), jnp.full((1, 2, 2), 5))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("method", ["sigmoid", "clamp", "minmax"])
def test_a_constant_map_is_finite(method):
    scores, mask = jnp.full((1, 2, 2, 1), 3.0), jnp.zeros((1, 2, 2, 1), bool).at[0, 0].set(True)
    loss = cuvis.IoULoss(normalize_method=method)
    value, gradient = jax.jit(jax.value_and_grad(loss))(scores, mask)
    p = {"sigmoid": 1 / (1 + np.exp(-3.0)), "clamp": 1.0, "minmax": 0.5}[method]
    np.testing.assert_allclose(value, 1 - 2 * p / (4 * p + 2 - 2 * p), rtol=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cuvis.AnomalyBCEWithLogits(reduction="max"), "reduction: expected one of 'mean'"),
        (lambda: cuvis.IoULoss(normalize_method="softmax"), "normalize_method: expected one of"),
        (
            lambda: cuvis.CrossEntropyLoss()(jnp.ones((1, 2, 2, 1)), jnp.ones((1, 2, 2), int)),
            "logits: a softmax over one class",
        ),
        (
            lambda: cuvis.DiceLoss()(jnp.ones((1, 2, 2, 3)), jnp.ones((1, 2, 3), int)),
            r"targets: expected class ids of shape \(1, 2, 2\)",
        ),
        (
            lambda: cuvis.DiceLoss()(jnp.ones((2, 2, 3)), jnp.ones((2, 2), int)),
            "logits: expected .batch, height, width, classes.",
        ),
        (
            lambda: cuvis.AnomalyBCEWithLogits()(jnp.ones((1, 2, 2)), jnp.ones((1, 3, 2))),
            "targets: expected the shape of predictions",
        ),
        (
            lambda: cuvis.IoULoss()(jnp.ones((1, 2, 2, 1)), jnp.ones((1, 3, 2, 1))),
            "targets: expected as many pixels as predictions",
        ),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
