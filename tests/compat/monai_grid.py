"""Options, shapes and targets of MONAI's losses drawn at random, for where MONAI is installed."""

import warnings
from typing import Any

import numpy as np

from tests.compat import monai_cases, stored


def draw(loss: str, seed: int) -> tuple[dict[str, Any], list[Any]]:
    """Options and inputs of one question; those that MONAI refuses are left to it."""
    rng = np.random.default_rng([seed, *loss.encode()])
    one = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    dims, classes, batch = one(1, 2, 2, 3), one(1, 2, 3, 4), one(1, 2, 3)
    if loss.startswith("Asymmetric"):
        classes, dims = one(2, 2, 3), one(2, 3)
    if loss in ("GeneralizedWassersteinDiceLoss", "NACLLoss", "DeepSupervisionLoss"):
        classes, dims = one(2, 3, 4), one(2, 3)
    space = tuple(int(n) for n in rng.integers(2, 6, dims))
    input = rng.normal(size=(batch, classes, *space), scale=one(0.5, 2.0, 4.0)).astype(np.float32)
    ids = rng.integers(0, max(2, classes - one(0, 1)), (batch, 1, *space)).astype(np.int32)
    options: dict[str, Any] = {}
    if loss in REDUCED:
        options["reduction"] = one("mean", "mean", "sum", "none")
    if loss in ("DiceCELoss",) and options["reduction"] == "none":
        options["reduction"] = "sum"
    if loss in GEOMETRY:
        dims = one(2, 3)
        space = tuple(int(n) for n in rng.integers(3, 8, dims))
        input = rng.normal(size=(batch, classes, *space)).astype(np.float32)
        ids = rng.integers(0, max(2, classes), (batch, 1, *space)).astype(np.int32)
        options |= {"sigmoid": True} if classes == 1 else {"softmax": True, "to_onehot_y": True}
        options["include_background"] = classes == 1 or one(True, False)
        options |= GEOMETRY[loss](one)
        return options, [input, ids if classes > 1 else ids.astype(np.float32)]
    if loss == "NACLLoss":
        options = {"classes": classes, "dim": dims, "distance_type": one("l1", "l2")}
        options |= {"kernel_ops": one("mean", "gaussian"), "kernel_size": one(3, 5)}
        options |= {"alpha": float(rng.random()), "sigma": one(0.5, 1.0, 1.6)}
        return options, [input, ids[:, 0]]
    if loss == "GeneralizedWassersteinDiceLoss":
        distances = rng.random((classes, classes)) * (1 - np.eye(classes))
        options |= {"dist_matrix": distances.tolist(), "weighting_mode": one("default", "GDL")}
        return options | {"smooth_nr": one(1e-5, 0.5), "smooth_dr": one(1e-5, 0.3)}, [input, ids]
    if loss == "DeepSupervisionLoss":
        part = one("DiceLoss", "DiceFocalLoss", "TverskyLoss", "GeneralizedDiceLoss")
        activation = {} if part == "FocalLoss" else {"softmax": True}
        options = {"loss": [part, {"to_onehot_y": True, **activation}]}
        options["weight_mode"] = one("same", "exp", "two")
        levels = [input]
        for level in range(2):
            size = [max(1, n // 2 + (level and one(0, -1))) for n in levels[-1].shape[2:]]
            levels.append(rng.normal(size=(batch, classes, *size)).astype(np.float32))
        return options, [levels, ids.astype(np.float32)]
    if loss.startswith("Asymmetric"):
        options |= {"gamma": one(0.3, 0.75), "delta": one(0.3, 0.7), "to_onehot_y": True}
        if loss == "AsymmetricUnifiedFocalLoss":
            options |= {"num_classes": classes, "weight": one(0.2, 0.5)}
        if rng.random() < 0.4:
            options["ignore_index"] = 7
            ids[rng.random(ids.shape) < 0.3] = 7
        return options, [(1 / (1 + np.exp(-input))).astype(np.float32), ids]
    # Losses over regions, and those that have one.
    if loss != "FocalLoss":
        activation = one("sigmoid", "softmax", "other_act", None)
        if activation == "softmax" and classes == 1:
            activation = "sigmoid"
        if activation == "other_act":
            options["other_act"] = "exp"
            input = -np.abs(input)
        elif activation:
            options[activation] = True
        else:
            input = (1 / (1 + np.exp(-input))).astype(np.float32)
        options["batch"] = one(True, False)
        if loss == "MCCLoss":
            options |= one({}, {"smooth_nr": 0.1, "smooth_dr": 0.2})
        else:
            options |= one({}, {"smooth_nr": 0.5}, {"smooth_nr": 1.0, "smooth_dr": 2.0})
    options["include_background"] = background = classes == 1 or one(True, True, False)
    kept = classes - (not background)
    if loss in ("DiceLoss", "MaskedDiceLoss", "DiceCELoss", "DiceFocalLoss"):
        options |= {"squared_pred": one(True, False), "jaccard": one(True, False)}
    if loss == "TverskyLoss":
        options |= {"alpha": one(0.5, 0.2, 1.0), "beta": one(0.5, 0.9)}
    if loss.startswith("GeneralizedDice"):
        options["w_type"] = one("square", "simple", "uniform")
    if loss.startswith("Generalized") and loss.endswith("FocalLoss"):
        options |= {"lambda_gdl": one(0.0, 0.5, 2.0), "lambda_focal": one(0.5, 1.0)}
    if loss == "DiceFocalLoss":
        options |= {"lambda_dice": one(0.0, 0.5, 2.0), "lambda_focal": one(0.5, 1.0)}
    if loss == "DiceCELoss":
        options |= {"lambda_dice": one(0.0, 0.5, 2.0), "lambda_ce": one(0.5, 1.0)}
        options["label_smoothing"] = one(0.0, 0.0, 0.2)
    if "FocalLoss" in loss:
        options["gamma"] = one(0.0, 1.0, 2.0, 3.5)
    if loss == "FocalLoss":
        options["use_softmax"] = kept > 1 and one(True, False)
        options |= one({}, {"alpha": 0.3}, {"alpha": rng.random(kept).tolist()})
    if loss == "DiceFocalLoss":
        options |= one({}, {"alpha": 0.3})
    if loss in ("DiceLoss", "MaskedDiceLoss", "FocalLoss", "DiceFocalLoss") and kept > 1:
        options |= one({}, {"weight": 0.7}, {"weight": rng.random(kept).tolist()})
    if loss == "DiceCELoss":
        options |= one({}, {"weight": (rng.random(classes) + 0.1).tolist()})
    if loss in ("DiceLoss", "TverskyLoss", "FocalLoss") and rng.random() < 0.5:
        options["ignore_index"] = one(255, -1, 0, 1)
    ignored = options.get("ignore_index")
    inputs: list[Any] = [input, ids if classes > 1 else ids.astype(np.float32)]
    if classes > 1 and one(True, False):
        options["to_onehot_y"] = True
        if ignored in (255, -1):
            ids[rng.random(ids.shape) < 0.3] = ignored
    elif classes > 1:
        hot = (ids == np.arange(classes).reshape(1, -1, *[1] * dims)).astype(np.float32)
        if ignored in (255, -1):
            hot *= rng.random((batch, 1, *space)) > 0.3
        inputs[1] = hot
        if ignored is None and rng.random() < 0.4:
            share = rng.random(hot.shape)
            inputs[1] = (share / share.sum(1, keepdims=True)).astype(np.float32)
            if loss in ("DiceLoss", "MaskedDiceLoss", "TverskyLoss", "GeneralizedDiceLoss"):
                options["soft_label"] = one(True, False)
    elif ignored == 255:
        inputs[1][rng.random(ids.shape) < 0.3] = ignored
    if loss == "MaskedDiceLoss":
        inputs.append((rng.random((one(1, batch), 1, *space)) > 0.3).astype(np.float32))
    return options, inputs


# Options of the losses that depend on shapes.
GEOMETRY: dict[str, Any] = {
    "BoundaryLoss": lambda one: {"batch": one(True, False)},
    "HausdorffDTLoss": lambda one: {"batch": one(True, False), "alpha": one(1.0, 2.0, 2.7)},
    "LogHausdorffDTLoss": lambda one: {"alpha": one(1.0, 2.0, 2.7)},
    "SoftclDiceLoss": lambda one: {"iter_": one(0, 2, 4), "smooth": one(1e-4, 0.1)},
    "SoftDiceclDiceLoss": lambda one: {"iter_": one(0, 2, 4), "alpha": one(0.0, 0.3, 1.0)},
}
REDUCED = {
    "BoundaryLoss",
    "HausdorffDTLoss",
    "LogHausdorffDTLoss",
    "SoftclDiceLoss",
    "DiceLoss",
    "MaskedDiceLoss",
    "DiceCELoss",
    "DiceFocalLoss",
    "GeneralizedDiceLoss",
    "GeneralizedDiceFocalLoss",
    "GeneralizedWassersteinDiceLoss",
    "TverskyLoss",
    "FocalLoss",
    "AsymmetricFocalLoss",
    "AsymmetricFocalTverskyLoss",
    "MCCLoss",
}


def compare(loss: str, seeds: range) -> None:
    """MONAI and ours agree on so many questions."""
    asked = {}
    for seed in seeds:
        options, inputs = draw(loss, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked[f"{seed}: {loss}({options})"] = (
                monai_cases.ours(loss, options),
                inputs,
                stored.ask_torch(monai_cases.peer(loss, options), inputs),
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = stored.ask_all([(ours, inputs) for ours, inputs, _ in asked.values()])
    for (name, (_, _, theirs)), answer in zip(asked.items(), answers, strict=True):
        stored.agree(answer, theirs, name=name)
