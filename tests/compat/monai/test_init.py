"""MONAI's losses: values stored from MONAI itself, and MONAI where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.compat import monai
from tests.compat import monai_cases, monai_grid, stored

CASES = stored.load("monai")


@pytest.mark.parametrize("loss", monai.__all__)
def test_a_loss_answers_as_monai_did(loss):
    cases = [case for case in CASES if case["loss"] == loss]
    stored.check_all(cases, lambda case: monai_cases.ours(loss, case["options"]))


def test_every_case_is_stored():
    asked = [(loss, options, inputs) for loss, options, inputs in monai_cases.CASES]
    assert [(c["loss"], c["options"], c["inputs"]) for c in CASES] == asked
    assert {c["loss"] for c in CASES} == set(monai.__all__)


@pytest.mark.long
@pytest.mark.parametrize("loss", monai.__all__)
def test_a_loss_answers_as_monai_does(loss):
    pytest.importorskip("monai", reason="the extra `peers` is not installed")
    monai_grid.compare(loss, range(6))


LOGITS, IDS = jnp.zeros((2, 3, 4)), jnp.zeros((2, 1, 4), int)
ONE_HOT = jnp.zeros((2, 3, 4))
MASK = jnp.zeros((2, 1, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: monai.DiceLoss(reduction="max"), "reduction: expected one of 'mean', 'sum'"),
        (lambda: monai.DiceCELoss(reduction="none"), "reduction: expected one of 'mean', 'sum',"),
        (lambda: monai.TverskyLoss(sigmoid=True, softmax=True), "at most one of sigmoid"),
        (lambda: monai.DiceLoss(weight=[1.0, -1.0]), "weight: expected no negative number"),
        (lambda: monai.DiceFocalLoss(lambda_focal=-1.0), "lambda_focal: expected no negative"),
        (lambda: monai.GeneralizedDiceLoss(w_type="cube"), "w_type: expected one of 'square'"),
        (
            lambda: monai.GeneralizedWassersteinDiceLoss(np.ones((2, 3))),
            "dist_matrix: expected shape",
        ),
        (
            lambda: monai.GeneralizedWassersteinDiceLoss(np.ones((2, 2)), "gdl"),
            "weighting_mode: expected",
        ),
        (lambda: monai.NACLLoss(3, 1), "dim: expected one of"),
        (lambda: monai.NACLLoss(3, 2)(LOGITS, IDS[:, 0]), "inputs: expected 3 channels and 2"),
        (
            lambda: monai.DiceLoss()(LOGITS, IDS),
            r"target: expected shape \(2, 3, 4\) .*to_onehot_y=True.*, got \(2, 1, 4\)",
        ),
        (
            lambda: monai.DiceLoss(to_onehot_y=True)(LOGITS, ONE_HOT),
            r"target: expected shape \(2, 1, 4\)",
        ),
        (
            lambda: monai.DiceLoss(to_onehot_y=True, weight=[1.0, 2.0])(LOGITS, IDS),
            r"weight: expected a number or 3 of them",
        ),
        (
            lambda: monai.DiceLoss(to_onehot_y=True)(LOGITS[..., 0], IDS[..., 0]),
            r"input: without a spatial axis .* input\[..., None\]",
        ),
        (lambda: monai.DiceLoss()(IDS, IDS), "input: expected a floating dtype"),
        (lambda: monai.DiceCELoss()(LOGITS, IDS[:, 0]), "target: expected as many axes as input"),
        (
            lambda: monai.DiceFocalLoss()(LOGITS, jnp.zeros((2, 2, 4))),
            r"target: expected 1 channel \(class ids\) or 3, got 2",
        ),
        (
            lambda: monai.FocalLoss(use_softmax=True)(MASK, MASK),
            "use_softmax=True over one channel",
        ),
        (
            lambda: monai.FocalLoss(weight=[1.0, 2.0])(LOGITS, ONE_HOT),
            "weight: expected a number or 3 of them",
        ),
        (
            lambda: monai.FocalLoss(alpha=[1.0, 2.0])(LOGITS, ONE_HOT),
            "alpha: expected a number or 3 of them",
        ),
        (
            lambda: monai.FocalLoss(reduction="sum")(LOGITS[..., 0], ONE_HOT[..., 0]),
            'use reduction="mean"',
        ),
        (lambda: monai.AsymmetricFocalLoss()(MASK, MASK), "y_pred: expected at least 2 channels"),
        (
            lambda: monai.AsymmetricUnifiedFocalLoss()(LOGITS, LOGITS),
            "y_pred: expected 2 or 3 spatial axes",
        ),
        (
            lambda: monai.MaskedDiceLoss()(LOGITS, ONE_HOT, jnp.ones((2, 3, 4))),
            r"mask: expected shape \(2, 1, 4\) or 1 in place of the batch",
        ),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_activation_is_a_function():
    with pytest.raises(TypeError, match="other_act: expected a function or None, got str"):
        monai.DiceLoss(other_act="tanh")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (monai.DiceLoss(softmax=True), "one channel: softmax=True is ignored"),
        (monai.MCCLoss(to_onehot_y=True), "one channel: to_onehot_y=True is ignored"),
        (monai.FocalLoss(include_background=False), "one channel: include_background=False"),
    ],
)
def test_an_option_for_several_channels_is_ignored_as_in_monai(loss, message):
    with pytest.warns(UserWarning, match=message):
        jax.eval_shape(loss, MASK, MASK)


def test_a_dropped_alpha_is_said():
    loss = monai.FocalLoss(include_background=False, use_softmax=True, alpha=0.3)
    with pytest.warns(UserWarning, match="a number as alpha"):
        jax.eval_shape(loss, LOGITS, ONE_HOT)


def test_what_monai_has_no_gradient_for():
    """Saturated pixels, with a focus below 1: NaN in MONAI."""
    logits = jnp.array([[[100.0, 0.0], [-100.0, 0.0]]])
    ids = jnp.zeros((1, 1, 2), int)
    focal = monai.FocalLoss(to_onehot_y=True, use_softmax=True, gamma=0.5)
    certain = monai.AsymmetricFocalTverskyLoss(to_onehot_y=True)
    empty = monai.DiceLoss(sigmoid=True, smooth_nr=0.0, smooth_dr=0.0)

    @jax.jit
    def gradients(x):
        return [
            jax.grad(lambda x: focal(x, ids))(x),
            jax.grad(lambda x: certain(x, ids))(jax.nn.softmax(x, axis=1)),
            jax.grad(lambda x: empty(x, jnp.zeros_like(x)))(x - 1e4),
        ]

    for gradient in gradients(logits):
        assert np.isfinite(gradient).all()


def test_options_may_be_traced():
    """A sweep over a number is a `vmap`."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.float32)
    ids = jnp.asarray(rng.integers(0, 3, (2, 1, 5)))

    def cost(gamma, weight):
        one = monai.FocalLoss(to_onehot_y=True, gamma=gamma, weight=weight)
        other = monai.DiceLoss(to_onehot_y=True, softmax=True, weight=weight)
        return one(logits, ids) + other(logits, ids)

    gammas, weights = jnp.array([0.5, 2.0]), jnp.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.5]])
    swept = jax.jit(jax.vmap(cost))(gammas, weights)
    one = jax.jit(cost)(gammas[1], weights[1])
    np.testing.assert_allclose(swept[1], one, rtol=1e-6)


def test_ids_of_one_dimension():
    """MONAI's own example of the focal loss: pixels without a spatial axis."""
    logits = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    ids = jnp.array([0, 1, 0])
    loss = jax.jit(monai.FocalLoss(to_onehot_y=True))
    assert loss(logits, ids) == loss(logits, ids[:, None])
