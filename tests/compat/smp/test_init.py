"""smp's losses: values stored from smp itself, and smp where it is installed."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.compat import smp
from tests.compat import signatures, smp_cases, stored

CASES = stored.load("smp")
installed = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None for name in ("segmentation_models_pytorch", "torch")
    ),
    reason="needs segmentation-models-pytorch and torch",
)


def ours(loss, options):
    """The loss of our module as a function of two arrays."""
    options = dict(options)
    for key in {"weight", "pos_weight"} & set(options):
        options[key] = jnp.asarray(options[key])
    return getattr(smp, loss)(**options)


@pytest.mark.parametrize("loss", smp.__all__)
def test_a_loss_answers_as_smp_did(loss):
    cases = [case for case in CASES if case["loss"] == loss]
    stored.check_all(cases, lambda case: ours(loss, case["options"]))


def test_every_case_is_stored():
    assert [(c["loss"], c["options"], c["inputs"]) for c in CASES] == smp_cases.CASES
    assert {c["loss"] for c in CASES} == set(smp.__all__)


@installed
@pytest.mark.parametrize("name", smp.__all__)
def test_arguments_are_those_of_smp(name):
    signatures.assert_same(getattr(smp, name), getattr(smp_cases.module(), name))


def random_case(seed):
    """A loss, its options and its inputs, drawn at random."""
    rng = np.random.default_rng(seed)
    loss = smp.__all__[seed % len(smp.__all__)]
    mode = rng.choice(["binary", "multiclass", "multilabel"]).item()
    if loss == "SoftCrossEntropyLoss":
        mode = "multiclass"
    elif loss in ("MCCLoss", "SoftBCEWithLogitsLoss"):
        mode = "binary"
    batch, classes = rng.integers(1, 4), 1 if mode == "binary" else rng.integers(2, 6)
    space = tuple(rng.integers(2, 6, rng.integers(1, 4)))
    if loss == "LovaszLoss":  # whose softmax knows 2D and 3D only
        space = (*space, 3, 2)[:3]
    logits = 3 * rng.normal(size=(batch, classes, *space))
    ignored = 255 if loss != "MCCLoss" and rng.random() < 0.5 else None
    options = {} if loss == "MCCLoss" else {"ignore_index": ignored}
    if mode == "multiclass":
        labels = rng.integers(0, rng.integers(1, classes + 1), (batch, *space))
    else:
        labels = rng.random((batch, classes, *space)) < 0.4
    if ignored is not None and not (loss == "FocalLoss" and mode == "multilabel"):
        labels = np.where(rng.random(labels.shape) < 0.2, ignored, labels)
    elif "ignore_index" in options:
        options["ignore_index"] = None
    if loss in ("DiceLoss", "JaccardLoss", "TverskyLoss", "FocalLoss", "LovaszLoss"):
        options["mode"] = mode
    if loss in ("DiceLoss", "JaccardLoss", "TverskyLoss"):
        options |= {
            "log_loss": bool(rng.random() < 0.5),
            "smooth": rng.choice([0.0, 0.3, 2.0]).item(),
            "from_logits": bool(rng.random() < 0.7),
        }
        if not options["from_logits"]:
            logits = 1 / (1 + np.exp(-logits))
        if mode != "binary" and rng.random() < 0.5:
            options["classes"] = rng.permutation(classes)[:2].tolist()
    if loss == "TverskyLoss":
        options |= {"alpha": rng.random(), "beta": rng.random(), "gamma": 1 + rng.random()}
    if loss == "FocalLoss":
        options |= {
            "alpha": rng.choice([None, 0.3]),
            "gamma": rng.choice([0.0, 1.0, 2.5]).item(),
            "reduction": rng.choice(["mean", "sum", "batchwise_mean"]).item(),
            "normalized": bool(rng.random() < 0.3),
            "reduced_threshold": rng.choice([None, 0.6]),
        }
    if loss == "LovaszLoss":
        options["per_image"] = bool(rng.random() < 0.5)
    weighted = loss in ("DiceLoss", "JaccardLoss", "TverskyLoss", "FocalLoss")
    if weighted and mode != "binary" and options.get("reduction") != "batchwise_mean":
        options["class_weights"] = (0.1 + rng.random(classes)).tolist()
    if loss in ("SoftCrossEntropyLoss", "SoftBCEWithLogitsLoss"):
        options |= {
            "smooth_factor": rng.choice([0.0, 0.2]).item(),
            "reduction": rng.choice(["none", "mean", "sum"]).item(),
        }
    if loss == "MCCLoss":
        logits = 1 / (1 + np.exp(-logits))
    return loss, options, [logits.astype(np.float32), labels.astype(np.int32)]


@installed
@pytest.mark.parametrize("seed", range(48))
def test_it_agrees_with_smp(seed):
    loss, options, inputs = random_case(seed)
    theirs = stored.ask_torch(smp_cases.peer(loss, options), inputs)
    stored.agree(stored.ask(ours(loss, options), inputs), theirs)


def test_the_default_of_the_smoothing_is_none_at_all():
    """smp fails with its own default."""
    x, ids = jax.random.normal(jax.random.key(0), (2, 3, 4)), jnp.arange(8).reshape(2, 4) % 3
    value = smp.SoftCrossEntropyLoss()(x, ids)
    np.testing.assert_allclose(
        value, smp.SoftCrossEntropyLoss(smooth_factor=0.0)(x, ids), rtol=1e-6
    )


def test_an_ignored_element_of_several_masks_counts_by_itself():
    """smp fails."""
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    labels = (jnp.arange(24).reshape(2, 3, 4) % 2).at[0, 1, 2].set(255).at[1, :, 0].set(255)
    value = jax.jit(smp.FocalLoss("multilabel", ignore_index=255))(x, labels)
    one = jax.jit(smp.FocalLoss("binary", ignore_index=255))
    by_class = [one(x[:, c, None], labels[:, c, None]) for c in range(3)]
    np.testing.assert_allclose(value, sum(by_class) / 3, rtol=1e-6)


@pytest.mark.parametrize(("mode", "classes"), [("multiclass", 2), ("binary", 1)])
def test_everything_ignored_costs_nothing(mode, classes):
    """Whatever the logits are."""
    names = ("DiceLoss", "JaccardLoss", "TverskyLoss", "FocalLoss", "LovaszLoss")
    inputs = [jnp.full((1, classes, 4), jnp.nan), jnp.full((1, 4), 255)]
    functions = [getattr(smp, name)(mode, ignore_index=255) for name in names]
    for value, gradient in stored.ask_all([(function, inputs) for function in functions]):
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_the_gradient_is_finite_far_out():
    ids = jnp.array([[0, 1, 0, 1]])
    right = 1e4 * (2.0 * jax.nn.one_hot(ids, 2, axis=1) - 1)
    made = [
        smp.DiceLoss("multiclass", log_loss=True),
        smp.JaccardLoss("multiclass", log_loss=True),
        smp.TverskyLoss("multiclass", gamma=0.5),
        smp.FocalLoss("multiclass", gamma=0.5),
        smp.FocalLoss("multiclass", gamma=0.5, normalized=True),
        smp.FocalLoss("multiclass", gamma=0.5, reduced_threshold=0.5),
    ]
    questions = [(loss, [x, ids]) for loss in made for x in (right, -right)]
    for value, gradient in stored.ask_all(questions):
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


X, IDS = jnp.zeros((2, 3, 4, 4)), jnp.zeros((2, 4, 4), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smp.DiceLoss("both"), "mode: expected one of"),
        (lambda: smp.DiceLoss("binary", classes=[0]), "classes: there is one class"),
        (lambda: smp.FocalLoss("binary", class_weights=[1.0]), "class_weights: there is one"),
        (lambda: smp.FocalLoss("binary", ignore_index=1, reduction="none"), "shape would depend"),
        (
            lambda: smp.FocalLoss("multilabel", reduction="none", class_weights=[1.0]),
            "last axis of the image",
        ),
        (lambda: smp.FocalLoss("binary", reduction="max"), "reduction: expected one of"),
        (lambda: smp.DiceLoss("multiclass")(X, IDS * 1.0), "y_true: expected class ids"),
        (lambda: smp.DiceLoss("multiclass")(X, IDS[:, :2]), "y_true: expected shape"),
        (lambda: smp.DiceLoss("multilabel")(X, IDS), "y_true: expected shape"),
        (lambda: smp.DiceLoss("multiclass", class_weights=[1.0])(X, IDS), "class_weights: expec"),
        (lambda: smp.DiceLoss("multiclass")(X[:, :1], IDS), 'activation="sigmoid"'),
        (lambda: smp.SoftBCEWithLogitsLoss()(X, IDS), "y_true: expected shape"),
        (lambda: smp.SoftCrossEntropyLoss()(X, IDS[:, :2]), "y_true: expected shape"),
        (lambda: smp.SoftCrossEntropyLoss(reduction="max"), "reduction: expected one of"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
