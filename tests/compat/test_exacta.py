"""exacta's losses against ours, where the conventions agree; stored values, and exacta itself.

There is no module under exacta's names: each of its losses is one of ours with named options, which
`ours` tells. What differs: exacta averages the pixels of the whole batch where ours are averaged an
example at a time, leaves out examples that are ignored whole, adds the smoothing of generalized
Dice to weights that are not normalized and gives an absent class the largest of them.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.compat import exacta_cases, stored

CASES = stored.load("exacta")
NAMES = sorted({case["loss"] for case in CASES})


def region(loss, options, *, smooth=1.0, **named):
    """A loss over regions with exacta's options; `smooth` times its smoothing is ours."""
    given = {"pool": "batch"} if options.get("batch_dice") else {}
    if "include_background" in options:
        given["include_background"] = options["include_background"]
    activation = options.get("activation", "softmax")
    given["activation"] = "identity" if activation == "none" else activation
    given["smooth"] = smooth * options.get("smooth", 1e-5)
    return lambda x, y, where: loss(x, y, where=where, **given, **named).mean()


def over_all_pixels(loss, elements, **named):
    """The mean over the pixels of the batch; of `elements` values a pixel."""

    def mean(x, y, where):
        count = np.prod(x.shape[:-1]) if where is None else where.sum()
        return loss(x, y, where=where, reduction="sum", **named).sum() / (count * elements(x))

    return mean


def at_once(loss, **named):
    """A loss of the batch as if it were one example."""

    def whole(x, y, where):
        flat = lambda a: None if a is None else a.reshape(1, -1, *a.shape[y.ndim :])  # noqa: E731
        return loss(flat(x), flat(y), where=flat(where), **named)[0]

    return whole


def focal(options):
    named = {"gamma": options.get("gamma", 2.0), "alpha": options.get("alpha")}
    if options.get("activation") == "sigmoid":
        return over_all_pixels(losses.sigmoid_focal, lambda x: x.shape[-1], **named)
    return over_all_pixels(losses.focal, lambda x: 1, **named)


def lovasz(loss, options, per_image, absent):
    pool = "example" if options.get("per_image", per_image) else "batch"
    named = {key: options[key] for key in {"include_background"} & set(options)}
    return lambda x, y, where: loss(x, y, where=where, pool=pool, absent=absent, **named).mean()


def wasserstein(options):
    named = {
        "distances": jnp.asarray(options["dist_matrix"]),
        "smooth": options.get("smooth", 1e-5),
        "weighting": "volume" if options.get("weighting_mode") == "GDL" else "foreground",
    }
    return lambda x, y, where: losses.wasserstein_dice(x, y, where=where, **named).mean()


OURS = {
    "DiceLoss": lambda o: region(
        losses.dice,
        o,
        overlap="product",
        denominator="squared" if o.get("squared_pred") else "linear",
    ),
    "GeneralizedDiceLoss": lambda o: region(
        losses.generalized_dice, o, overlap="product", weighting=o.get("weight_type", "square")
    ),
    "TverskyLoss": lambda o: region(
        losses.tversky,
        o,
        smooth=2.0,
        fp_weight=o.get("alpha", 0.5),
        fn_weight=o.get("beta", 0.5),
    ),
    "FocalTverskyLoss": lambda o: region(
        losses.focal_tversky,
        o,
        smooth=2.0,
        fp_weight=o.get("alpha", 0.3),
        fn_weight=o.get("beta", 0.7),
        gamma=o.get("gamma", 0.75),
    ),
    "FocalLoss": focal,
    "TopKCELoss": lambda o: at_once(losses.top_k_cross_entropy, k=o.get("fraction", 0.1)),
    "LovaszSoftmaxLoss": lambda o: lovasz(
        losses.lovasz_softmax, o, False, "smooth" if o.get("classes") == "all" else "skip"
    ),
    "LovaszHingeLoss": lambda o: lovasz(losses.lovasz_hinge, o, True, "smooth"),
    "GeneralizedWassersteinDiceLoss": wasserstein,
}


def ours(loss, options):
    """Our loss as a function of exacta's arrays: channels first, ids or one mask a class."""
    if loss == "DeepSupervisionLoss":
        deep = losses.deep_supervision(losses.dice, weights=options["weights"])
        return lambda levels, y: deep([jnp.moveaxis(x, 1, -1) for x in levels], y).mean()
    function = OURS[loss](options)

    def call(x, y):
        where = y != options["ignore_index"] if "ignore_index" in options else None
        if loss == "LovaszHingeLoss":
            y = y == 1
        elif options.get("target_format") == "one-hot":
            y = y.astype(x.dtype)
        y = jnp.moveaxis(y, 1, -1) if y.ndim == x.ndim else y
        return function(jnp.moveaxis(x, 1, -1), y, where)

    return call


@pytest.mark.parametrize("loss", NAMES)
def test_a_loss_answers_as_exacta_did(loss):
    cases = [case for case in CASES if case["loss"] == loss]
    stored.check_all(cases, lambda case: ours(loss, case["options"]))


def test_every_case_is_stored():
    assert [(c["loss"], c["options"], c["inputs"]) for c in CASES] == exacta_cases.CASES
    assert {*OURS, "DeepSupervisionLoss"} == set(NAMES)


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize("seed", range(2))
def test_it_agrees_with_exacta(loss, seed):
    """On other shapes and labels, with the options of the stored cases."""
    pytest.importorskip("exacta.losses")
    rng = np.random.default_rng(seed)
    questions, answers = [], []
    for case in CASES:
        if case["loss"] != loss or loss == "DeepSupervisionLoss":
            continue
        options, (x, y) = case["options"], stored.arrays(case)
        space = (5, 3, 2) if seed else (7, 6)
        logits = rng.normal(size=(3, x.shape[1], *space)).astype(np.float32)
        if options.get("activation") == "none":
            logits = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        shape = logits.shape if y.ndim == x.ndim else (3, *space)
        high = 2 if loss == "LovaszHingeLoss" or y.ndim == x.ndim else x.shape[1]
        labels = rng.integers(0, high, shape).astype(np.int32)
        if "ignore_index" in options:
            labels = np.where(rng.random(shape) < 0.2, np.int32(options["ignore_index"]), labels)
        if y.ndim == x.ndim and y.dtype == np.float32:
            labels = labels / np.maximum(labels.sum(1, keepdims=True), 1).astype(np.float32)
            labels = labels.astype(np.float32)
        answers.append(stored.ask_torch(exacta_cases.peer(loss, options), [logits, labels]))
        questions.append((ours(loss, options), [logits, labels]))
    for ours_, theirs in zip(stored.ask_all(questions) if questions else [], answers, strict=True):
        stored.agree(ours_, theirs)
