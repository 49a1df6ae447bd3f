"""What segmentation-models-pytorch is asked: losses, options and inputs in closed form."""

import importlib
import importlib.util
import sys
import types

CLASSES = 3
LOGITS = {"wave": [2, CLASSES, 4, 4], "scale": 2.0}
PROBABILITIES = {"wave": [2, CLASSES, 4, 4], "scale": 2.0, "softmax": 1}
IDS = {"ids": [2, 4, 4], "classes": CLASSES}
ABSENT = {"ids": [2, 4, 4], "classes": CLASSES, "modulus": 2}
IGNORED = {"ids": [2, 4, 4], "classes": CLASSES, "ignored": [255, 5]}
ALL_IGNORED = {"ids": [2, 4, 4], "classes": CLASSES, "ignored": [255, 1]}
LINE, LINE_IDS = {"wave": [2, 4, 9]}, {"ids": [2, 9], "classes": 4, "modulus": 7}
CUBE, CUBE_IDS = {"wave": [1, 2, 3, 3, 3], "scale": 3.0}, {"ids": [1, 3, 3, 3], "classes": 2}
MASKS = {"ids": [2, CLASSES, 4, 4], "classes": 2, "modulus": 7}
MASKS_IGNORED = {**MASKS, "ignored": [255, 7]}
SOFT = {"wave": [2, CLASSES, 4, 4], "frequency": 1.3, "scale": 0.4, "offset": 0.5}
ONE = {"wave": [2, 1, 4, 4], "scale": 2.0}
ONE_CHANCE = {"wave": [2, 1, 4, 4], "scale": 0.45, "offset": 0.5}
MASK = {"ids": [2, 1, 4, 4], "classes": 2}
MASK_FLAT = {"ids": [2, 4, 4], "classes": 2, "modulus": 3}
MASK_IGNORED = {**MASK, "ignored": [255, 3]}
MASK_EMPTY = {"ids": [2, 1, 4, 4], "classes": 1}
MASK_SOFT = {"wave": [2, 1, 4, 4], "frequency": 1.3, "scale": 0.4, "offset": 0.5}
WEIGHTS = [0.2, 1.0, 3.0]


def _region(loss, **more):
    """The grid that the three region losses share."""
    return [
        (loss, {"mode": "multiclass", **more}, [LOGITS, IDS]),
        (loss, {"mode": "multiclass", "smooth": 1.0, **more}, [LOGITS, ABSENT]),
        (loss, {"mode": "multiclass", "log_loss": True, "classes": [2, 0], **more}, [LOGITS, IDS]),
        (
            loss,
            {"mode": "multiclass", "from_logits": False, "class_weights": WEIGHTS, **more},
            [PROBABILITIES, IDS],
        ),
        (
            loss,
            {"mode": "multiclass", "ignore_index": 255, "classes": [1, 2], **more}
            | {"class_weights": WEIGHTS, "log_loss": True, "smooth": 0.5},
            [LOGITS, IGNORED],
        ),
        (loss, {"mode": "multilabel", **more}, [LOGITS, MASKS]),
        (
            loss,
            {"mode": "multilabel", "log_loss": True, "smooth": 0.3, **more},
            [LOGITS, SOFT],
        ),
        (
            loss,
            {"mode": "multilabel", "ignore_index": 255, "class_weights": WEIGHTS, **more},
            [LOGITS, MASKS_IGNORED],
        ),
        (loss, {"mode": "binary", **more}, [ONE, MASK]),
        (
            loss,
            {"mode": "binary", "ignore_index": 255, "log_loss": True, **more},
            [ONE, MASK_IGNORED],
        ),
        (loss, {"mode": "binary", "from_logits": False, **more}, [ONE_CHANCE, MASK_SOFT]),
    ]


def _losses(loss, *grid):
    return [(loss, options, inputs) for options, inputs in grid]


CASES = [
    *_region("DiceLoss"),
    *_losses(
        "DiceLoss",
        ({"mode": "multiclass"}, [LINE, LINE_IDS]),
        ({"mode": "multiclass", "smooth": 1e-3}, [CUBE, CUBE_IDS]),
        ({"mode": "multiclass", "ignore_index": 255}, [LOGITS, ALL_IGNORED]),
        ({"mode": "multiclass", "log_loss": True, "eps": 0.4}, [LOGITS, IDS]),
        ({"mode": "binary"}, [ONE, MASK_EMPTY]),
    ),
    *_region("JaccardLoss"),
    *_region("TverskyLoss", alpha=0.3, beta=0.7),
    *_losses(
        "TverskyLoss",
        ({"mode": "multiclass", "alpha": 0.7, "beta": 0.2, "gamma": 1.5}, [LOGITS, ABSENT]),
        ({"mode": "binary", "gamma": 0.75}, [ONE, MASK]),
    ),
    *_losses(
        "FocalLoss",
        ({"mode": "multiclass"}, [LOGITS, IDS]),
        ({"mode": "multiclass", "alpha": 0.25, "gamma": 1.5}, [LOGITS, ABSENT]),
        ({"mode": "multiclass", "ignore_index": 255, "class_weights": WEIGHTS}, [LOGITS, IGNORED]),
        ({"mode": "multiclass", "normalized": True, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"mode": "multiclass", "reduced_threshold": 0.5, "reduction": "sum"}, [LOGITS, IDS]),
        ({"mode": "multiclass", "from_logits": False}, [PROBABILITIES, IDS]),
        ({"mode": "multilabel", "alpha": 0.6}, [LOGITS, MASKS]),
        ({"mode": "multilabel", "gamma": 0.5}, [LOGITS, SOFT]),
        ({"mode": "multilabel", "class_weights": WEIGHTS, "reduction": "sum"}, [LOGITS, MASKS]),
        ({"mode": "multilabel", "reduction": "batchwise_mean"}, [LOGITS, MASKS]),
        ({"mode": "binary"}, [ONE, MASK_FLAT]),
        ({"mode": "binary", "ignore_index": 255, "alpha": 0.25}, [ONE, MASK_IGNORED]),
        ({"mode": "binary", "reduction": "none", "gamma": 0.0}, [ONE, MASK]),
        ({"mode": "binary", "from_logits": False, "normalized": True}, [ONE_CHANCE, MASK]),
        ({"mode": "binary", "reduction": "sum"}, [ONE, MASK_SOFT]),
    ),
    *_losses(
        "LovaszLoss",
        ({"mode": "multiclass"}, [LOGITS, ABSENT]),
        ({"mode": "multiclass", "per_image": True, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"mode": "multiclass", "ignore_index": 255}, [CUBE, {**CUBE_IDS, "ignored": [255, 4]}]),
        ({"mode": "binary"}, [ONE, MASK]),
        ({"mode": "binary", "per_image": True, "ignore_index": 255}, [ONE, MASK_IGNORED]),
        ({"mode": "binary"}, [ONE, MASK_EMPTY]),
        ({"mode": "multilabel"}, [LOGITS, MASKS]),
        ({"mode": "multilabel", "per_image": True, "ignore_index": 255}, [LOGITS, MASKS_IGNORED]),
    ),
    *_losses(
        "SoftCrossEntropyLoss",
        ({"smooth_factor": 0.0}, [LOGITS, IDS]),
        ({"smooth_factor": 0.1, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"smooth_factor": 0.2, "reduction": "sum", "ignore_index": None}, [CUBE, CUBE_IDS]),
        ({"smooth_factor": 0.3, "reduction": "none", "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"smooth_factor": 0.1, "reduction": "none", "ignore_index": None}, [LINE, LINE_IDS]),
        (
            {"smooth_factor": 0.1, "dim": -1, "reduction": "none"},
            [{"wave": [2, 5, 3]}, {"ids": [2, 5], "classes": 3}],
        ),
    ),
    *_losses(
        "SoftBCEWithLogitsLoss",
        ({}, [LOGITS, MASKS]),
        ({"smooth_factor": 0.1, "ignore_index": 255}, [LOGITS, MASKS_IGNORED]),
        ({"reduction": "sum", "pos_weight": [[[0.5]], [[2.0]], [[3.0]]]}, [LOGITS, SOFT]),
        ({"reduction": "none", "weight": [0.5, 2.0, 1.0, 3.0]}, [LOGITS, MASKS]),
    ),
    *_losses(
        "MCCLoss",
        ({}, [ONE_CHANCE, MASK]),
        ({"eps": 0.1}, [ONE_CHANCE, MASK_FLAT]),
        ({}, [ONE_CHANCE, MASK_EMPTY]),
        ({}, [ONE_CHANCE, MASK_SOFT]),
    ),
]


def module():
    """smp's losses alone: its top-level import wants image readers and encoders."""
    name = "segmentation_models_pytorch"
    if name not in sys.modules:
        stub = types.ModuleType(name)
        stub.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
        sys.modules[name] = stub
    return importlib.import_module(f"{name}.losses")


def peer(loss, options):
    """smp's loss as a function of torch tensors."""
    import torch

    options = dict(options)
    if loss == "SoftBCEWithLogitsLoss":
        for key in {"weight", "pos_weight"} & set(options):
            options[key] = torch.tensor(options[key])
    made = getattr(module(), loss)(**options)
    if loss == "SoftBCEWithLogitsLoss":  # takes floating labels only
        return lambda x, y: made(x, y.to(x.dtype))
    return made
