"""kornia's losses: values stored from kornia itself, and kornia where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.compat import kornia
from tests.compat import kornia_cases, signatures, stored

CASES = stored.load("kornia")


def ours(loss, options):
    """The loss of our module as a function of two arrays."""
    options = dict(options)
    for key in {"weight", "pos_weight"} & set(options):
        options[key] = jnp.asarray(options[key])
    made = getattr(kornia, loss)
    if loss[0].isupper():
        if loss == "BinaryFocalLossWithLogits":
            options.setdefault("alpha", 0.25)
        return made(**options)
    return lambda pred, target: made(pred, target, **options)


@pytest.mark.parametrize("loss", kornia.__all__)
def test_a_loss_answers_as_kornia_did(loss):
    cases = [case for case in CASES if case["loss"] == loss]
    stored.check_all(cases, lambda case: ours(loss, case["options"]))


def test_every_case_is_stored():
    assert [(c["loss"], c["options"], c["inputs"]) for c in CASES] == kornia_cases.CASES
    assert {c["loss"] for c in CASES} == set(kornia.__all__)


@pytest.mark.parametrize("name", kornia.__all__)
def test_arguments_are_those_of_kornia(name):
    peer = pytest.importorskip("kornia.losses")
    signatures.assert_same(getattr(kornia, name), getattr(peer, name))


def random_case(seed):
    """A loss, its options and its inputs, drawn at random."""
    rng = np.random.default_rng(seed)
    names = [name for name in kornia.__all__ if name.islower()]
    loss = names[seed % len(names)]
    batch, classes = rng.integers(1, 4), rng.integers(2, 6)
    space = tuple(rng.integers(2, 7, 2))
    weights = rng.random(classes).astype(np.float32)
    weighted = rng.random() < 0.5
    ids = rng.integers(0, rng.integers(1, classes + 1), (batch, *space))
    ignored = rng.choice([-100, 255, 1])
    if loss not in ("lovasz_hinge_loss", "lovasz_softmax_loss"):
        ids = np.where(rng.random(ids.shape) < 0.2, ignored, ids)
    options = {"ignore_index": int(ignored)}
    if loss in ("dice_loss", "tversky_loss"):
        options["eps"] = rng.choice([1e-8, 1e-2]).item()
    if loss == "dice_loss":
        options |= {"average": rng.choice(["micro", "macro"]).item()}
        options |= {"weight": weights.tolist()} if weighted else {}
    elif loss == "tversky_loss":
        options |= {"alpha": rng.random(), "beta": rng.random()}
    elif "focal" in loss:
        options |= {
            "alpha": rng.choice([None, 0.3]),
            "gamma": rng.choice([0.0, 1.0, 2.5]).item(),
            "reduction": rng.choice(["none", "mean", "sum"]).item(),
        }
        options |= {"weight": weights.tolist()} if weighted else {}
    else:
        options = {"weight": weights.tolist()} if weighted and "softmax" in loss else {}
    if loss == "focal_loss" and rng.random() < 0.5:
        ids = ids[..., None] * np.ones(3, int)  # 3D
        space = (*space, 3)
    if loss == "lovasz_hinge_loss":
        classes, ids = 1, ids % 2
    if loss == "binary_focal_loss_with_logits":
        labels = rng.random((batch, classes, *space)) < 0.5
        ids = np.where(rng.random(labels.shape) < 0.2, ignored, labels)
        options |= {"pos_weight": weights[::-1].tolist()} if rng.random() < 0.5 else {}
    logits = 3 * rng.normal(size=(batch, classes, *space))
    return loss, options, [logits.astype(np.float32), ids.astype(np.int32)]


@pytest.mark.parametrize("seed", range(36))
def test_it_agrees_with_kornia(seed):
    pytest.importorskip("kornia.losses")
    loss, options, inputs = random_case(seed)
    theirs = stored.ask_torch(kornia_cases.peer(loss, options), inputs)
    stored.agree(stored.ask(ours(loss, options), inputs), theirs)


def test_the_micro_average_is_no_dice():
    """It is the mean of 1 - p of the true class."""
    logits = jax.random.normal(jax.random.key(0), (2, 3, 4, 4))
    ids = jnp.arange(32).reshape(2, 4, 4) % 3
    p = jax.nn.softmax(logits, axis=1)
    own = jnp.take_along_axis(p, ids[:, None], axis=1)
    value = jax.jit(kornia.dice_loss)(logits, ids)
    np.testing.assert_allclose(value, jnp.mean(1 - own), rtol=1e-6)


def test_nan_under_an_ignored_pixel_stays_there():
    calls = [
        lambda x, y: kornia.dice_loss(x, y),
        lambda x, y: kornia.dice_loss(x, y, "macro", weight=jnp.array([1.0, 2.0])),
        lambda x, y: kornia.dice_loss(x, y, weight=jnp.array([1.0, 2.0])),
        lambda x, y: kornia.tversky_loss(x, y, 0.3, 0.7),
        lambda x, y: kornia.focal_loss(x, y, alpha=0.3, reduction="mean"),
    ]
    ids = jnp.array([[[0, -100], [1, 0]]])
    logits = jnp.ones((1, 2, 2, 2)).at[0, :, 0, 1].set(jnp.nan)
    for value, gradient in stored.ask_all([(call, [logits, ids]) for call in calls]):
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient.reshape(2, 2, 2)[:, 0, 1], 0)


X, IDS = jnp.zeros((2, 3, 4, 4)), jnp.zeros((2, 4, 4), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kornia.dice_loss(X[0], IDS[0]), "pred: expected shape"),
        (lambda: kornia.dice_loss(X, IDS[:, :2]), "target: expected shape"),
        (lambda: kornia.dice_loss(X, IDS, average="all"), "average: expected one of"),
        (lambda: kornia.dice_loss(X, IDS, weight=jnp.ones(2)), "weight: expected one weight"),
        (lambda: kornia.tversky_loss(X, IDS * 1.0, 0.5, 0.5), "target: expected class ids"),
        (lambda: kornia.focal_loss(X[:, :1], IDS, 0.5), 'activation="sigmoid"'),
        (lambda: kornia.focal_loss(X, IDS, 0.5, reduction="max"), "reduction: expected one of"),
        (lambda: kornia.binary_focal_loss_with_logits(X, IDS), "target: expected shape"),
        (lambda: kornia.lovasz_hinge_loss(X, IDS), "pred: expected shape"),
        (lambda: kornia.lovasz_softmax_loss(X, IDS[:1]), "target: expected shape"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
