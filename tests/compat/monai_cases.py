"""Which of MONAI's losses are asked, with which options, on which inputs: (loss, options, inputs).

An option that is no plain value has a name here, which `ours` and `peer` give its meaning.
"""

from typing import Any


def wave(*shape, frequency=0.9, scale=2.0, **rest):
    return {"wave": list(shape), "frequency": frequency, "scale": scale, **rest}


def ids(*shape, classes, **rest):
    return {"ids": list(shape), "classes": classes, **rest}


PLANE, PLANE_IDS = wave(2, 3, 4, 5), ids(2, 1, 4, 5, classes=3)
IGNORED = ids(2, 1, 4, 5, classes=3, ignored=[255, 4])
ONE_HOT = ids(2, 1, 4, 5, classes=3, one_hot=1)
EMPTY_ROWS = ids(2, 1, 4, 5, classes=3, one_hot=1, ignored=[9, 3])
VOLUME, VOLUME_IDS = wave(1, 4, 2, 3, 2), ids(1, 1, 2, 3, 2, classes=3, step=3)
LINE, LINE_IDS = wave(3, 2, 7, scale=1.0), ids(3, 1, 7, classes=2)
MASK, MASK_IDS = wave(2, 1, 4, 3), ids(2, 1, 4, 3, classes=2)
UNIT = wave(2, 3, 4, 5, scale=0.45, offset=0.5)
MASKED = ids(2, 1, 4, 3, classes=2, ignored=[255, 5])
SOFT = wave(2, 3, 4, 5, frequency=0.53, phase=0.7, softmax=1)
PAIR, PAIR_IDS = wave(2, 2, 3, 4), ids(2, 1, 3, 4, classes=2)
PAIR_UNIT = wave(2, 2, 3, 4, scale=0.4, offset=0.5)
PAIR_IGNORED = ids(2, 1, 3, 4, classes=2, ignored=[7, 5])
MASK_UNIT = wave(2, 1, 4, 3, scale=0.4, offset=0.5)
HALF = {"wave": [2, 1, 4, 5], "frequency": 0.31, "scale": 0.5, "offset": 0.5}

# Options and inputs of every loss over regions.
REGION = [
    ({"to_onehot_y": True, "softmax": True}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "softmax": True, "include_background": False}, [VOLUME, VOLUME_IDS]),
    ({"to_onehot_y": True, "sigmoid": True, "batch": True}, [PLANE, PLANE_IDS]),
    ({"softmax": True, "batch": True, "reduction": "none"}, [PLANE, ONE_HOT]),
    ({"to_onehot_y": True, "softmax": True, "reduction": "none"}, [LINE, LINE_IDS]),
    ({"sigmoid": True, "reduction": "sum"}, [MASK, MASK_IDS]),
    ({"smooth_nr": 0.5, "smooth_dr": 1.5}, [UNIT, ONE_HOT]),
    ({"to_onehot_y": True, "other_act": "tanh", "smooth_dr": 2.0}, [UNIT, PLANE_IDS]),
]
SOFT_LABELS = [
    ({"softmax": True}, [PLANE, SOFT]),
    ({"softmax": True, "soft_label": True}, [PLANE, SOFT]),
    ({"sigmoid": True, "soft_label": True, "batch": True, "reduction": "sum"}, [PLANE, SOFT]),
]
IGNORE = [
    ({"to_onehot_y": True, "softmax": True, "ignore_index": 255}, [PLANE, IGNORED]),
    ({"to_onehot_y": True, "softmax": True, "ignore_index": 1}, [PLANE, PLANE_IDS]),
    (
        {"softmax": True, "ignore_index": 0, "include_background": False, "reduction": "none"},
        [PLANE, ONE_HOT],
    ),
    ({"softmax": True, "ignore_index": 255, "batch": True}, [PLANE, EMPTY_ROWS]),
    ({"sigmoid": True, "ignore_index": 255}, [MASK, MASKED]),
]
ONE_HOT_IDS = {"to_onehot_y": True, "softmax": True}
WEIGHTED = [
    ({**ONE_HOT_IDS, "weight": [0.2, 1.0, 3.0]}, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "weight": [1.0, 0.0, 3.0], "reduction": "sum"}, [PLANE, PLANE_IDS]),
    (
        {**ONE_HOT_IDS, "weight": [1.0, 2.0, 0.5], "include_background": False, "batch": True},
        [VOLUME, VOLUME_IDS],
    ),
    ({**ONE_HOT_IDS, "weight": [0.2, 1.0, 3.0], "reduction": "none"}, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "weight": 2.5}, [PLANE, PLANE_IDS]),
]
DICE = [
    *REGION,
    *SOFT_LABELS,
    *IGNORE,
    *WEIGHTED,
    ({**ONE_HOT_IDS, "squared_pred": True}, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "jaccard": True, "smooth_nr": 1.0, "smooth_dr": 1.0}, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "jaccard": True, "squared_pred": True}, [VOLUME, VOLUME_IDS]),
    ({"softmax": True, "jaccard": True, "soft_label": True}, [PLANE, SOFT]),
    ({"softmax": True, "squared_pred": True, "soft_label": True}, [PLANE, SOFT]),
]
MASKED_DICE = [
    ({}, [UNIT, ONE_HOT, ids(2, 1, 4, 5, classes=2)]),
    ({**ONE_HOT_IDS}, [PLANE, PLANE_IDS, ids(1, 1, 4, 5, classes=2)]),
    ({"softmax": True, "squared_pred": True}, [PLANE, ONE_HOT, HALF]),
    ({"sigmoid": True, "reduction": "none"}, [MASK, MASK_IDS, ids(2, 1, 4, 3, classes=2, step=3)]),
]
GENERALIZED = [
    *REGION[1:6],
    *SOFT_LABELS[:2],
    ({**ONE_HOT_IDS, "w_type": "simple"}, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "w_type": "uniform"}, [VOLUME, VOLUME_IDS]),
    ({**ONE_HOT_IDS, "batch": True}, [VOLUME, VOLUME_IDS]),
    ({**ONE_HOT_IDS, "w_type": "simple", "batch": True, "smooth_nr": 0.1}, [LINE, LINE_IDS]),
]
TVERSKY = [
    *REGION[1:4],
    *REGION[6:],
    *SOFT_LABELS[1:],
    *IGNORE[1:],
    ({**ONE_HOT_IDS, "alpha": 0.3, "beta": 0.7}, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "alpha": 1.0, "beta": 1.0, "smooth_nr": 1.0}, [VOLUME, VOLUME_IDS]),
    ({"softmax": True, "alpha": 0.2, "beta": 0.9, "soft_label": True}, [PLANE, SOFT]),
]
MCC = [
    *REGION[2:],
    ({**ONE_HOT_IDS, "batch": True, "smooth_nr": 0.5}, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "include_background": False, "reduction": "none"}, [PLANE, PLANE_IDS]),
]
DISTANCES = [[0.0, 1.0, 2.0, 2.0], [1.0, 0.0, 0.5, 1.0], [2.0, 0.5, 0.0, 0.3], [2.0, 1.0, 0.3, 0.0]]
NEAR = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [1.0, 0.5, 0.0]]
WASSERSTEIN = [
    ({"dist_matrix": NEAR}, [PLANE, PLANE_IDS]),
    ({"dist_matrix": NEAR, "weighting_mode": "GDL"}, [PLANE, PLANE_IDS]),
    ({"dist_matrix": DISTANCES, "smooth_nr": 0.5, "smooth_dr": 0.7}, [VOLUME, VOLUME_IDS]),
    ({"dist_matrix": NEAR, "weighting_mode": "GDL", "reduction": "sum"}, [PLANE, PLANE_IDS]),
    ({"dist_matrix": NEAR, "reduction": "none"}, [PLANE, PLANE_IDS]),
]
FOCAL = [
    ({}, [MASK, MASK_IDS]),
    ({"to_onehot_y": True}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "alpha": 0.25, "gamma": 1.5}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "alpha": [0.3, 0.5, 2.0], "gamma": 0.5}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "include_background": False, "alpha": 0.7}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "reduction": "sum", "weight": 2.0}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "reduction": "none", "weight": [1.0, 0.5, 2.0]}, [PLANE, PLANE_IDS]),
    ({"weight": [3.0, 2.0], "include_background": False}, [PLANE, ONE_HOT]),
    ({"to_onehot_y": True, "use_softmax": True}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "use_softmax": True, "alpha": 0.75, "gamma": 3.0}, [VOLUME, VOLUME_IDS]),
    ({"use_softmax": True, "alpha": [0.2, 1.0, 0.7], "reduction": "sum"}, [PLANE, ONE_HOT]),
    ({"use_softmax": True, "gamma": 0.0}, [PLANE, SOFT]),
    (
        {"to_onehot_y": True, "use_softmax": True, "include_background": False},
        [PLANE, PLANE_IDS],
    ),
    (
        {"use_softmax": True, "include_background": False, "alpha": [1.0, 3.0], "weight": 0.5},
        [PLANE, ONE_HOT],
    ),
    (
        {"to_onehot_y": True, "use_softmax": True, "reduction": "none", "weight": [1, 2, 0.5]},
        [LINE | {"wave": [2, 3, 5]}, ids(2, 1, 5, classes=3)],
    ),
    ({"to_onehot_y": True, "ignore_index": 255}, [PLANE, IGNORED]),
    ({"to_onehot_y": True, "ignore_index": 1, "use_softmax": True}, [PLANE, PLANE_IDS]),
    ({"to_onehot_y": True, "ignore_index": 255, "reduction": "sum"}, [PLANE, IGNORED]),
    (
        {"use_softmax": True, "ignore_index": 255, "reduction": "none", "alpha": 0.4},
        [PLANE, EMPTY_ROWS],
    ),
    ({"ignore_index": 255, "reduction": "sum", "alpha": 0.3}, [MASK, MASKED]),
    ({}, [wave(4, 3), ids(4, 1, classes=3, one_hot=1)]),
    ({"alpha": 0.3}, [PLANE, SOFT]),
    ({"alpha": [0.3, 2.0, 1.0], "reduction": "sum"}, [PLANE, ONE_HOT]),
    ({"include_background": False, "gamma": 0.5, "reduction": "none"}, [PLANE, SOFT]),
]
DICE_CE = [
    (ONE_HOT_IDS, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "weight": [0.2, 1.0, 3.0], "label_smoothing": 0.1}, [PLANE, PLANE_IDS]),
    (
        {**ONE_HOT_IDS, "weight": [0.2, 1.0, 3.0, 1.0], "include_background": False},
        [VOLUME, VOLUME_IDS],
    ),
    ({**ONE_HOT_IDS, "reduction": "sum", "lambda_ce": 0.3, "lambda_dice": 2.0}, [LINE, LINE_IDS]),
    ({"sigmoid": True, "squared_pred": True, "label_smoothing": 0.2}, [PLANE, ONE_HOT]),
    ({"softmax": True, "weight": [0.2, 1.0, 3.0], "batch": True}, [PLANE, SOFT]),
    ({"sigmoid": True, "weight": [3.0], "jaccard": True}, [MASK, MASK_IDS]),
    ({"sigmoid": True, "reduction": "sum"}, [MASK, MASK_IDS]),
]
DICE_FOCAL = [
    (ONE_HOT_IDS, [PLANE, PLANE_IDS]),
    ({**ONE_HOT_IDS, "alpha": 0.3, "gamma": 1.0, "lambda_focal": 0.5}, [VOLUME, VOLUME_IDS]),
    ({**ONE_HOT_IDS, "include_background": False, "weight": [2.0, 0.5]}, [PLANE, PLANE_IDS]),
    ({"sigmoid": True, "reduction": "none", "lambda_dice": 3.0}, [PLANE, ONE_HOT]),
    ({"sigmoid": True, "reduction": "sum", "batch": True, "jaccard": True}, [MASK, MASK_IDS]),
]
GENERALIZED_FOCAL = [
    (ONE_HOT_IDS, [PLANE, PLANE_IDS]),
    (
        {**ONE_HOT_IDS, "w_type": "simple", "gamma": 1.0, "weight": [1.0, 2.0, 3.0]},
        [PLANE, PLANE_IDS],
    ),
    ({"sigmoid": True, "lambda_gdl": 0.5, "lambda_focal": 2.0, "batch": True}, [PLANE, ONE_HOT]),
    ({"sigmoid": True, "reduction": "sum"}, [MASK, MASK_IDS]),
]
UNIFIED = [
    ({"to_onehot_y": True}, [PAIR_UNIT, PAIR_IDS]),
    ({"to_onehot_y": True, "delta": 0.3, "gamma": 0.4}, [PAIR_UNIT, PAIR_IDS]),
    ({"reduction": "sum"}, [PAIR_UNIT, ids(2, 1, 3, 4, classes=2, one_hot=1)]),
    ({"to_onehot_y": True, "reduction": "none"}, [PAIR_UNIT, PAIR_IDS]),
    ({"to_onehot_y": True, "ignore_index": 7}, [PAIR_UNIT, PAIR_IGNORED]),
]
UNIFIED_THREE = [({"to_onehot_y": True}, [UNIT, PLANE_IDS])]
UNIFIED_BOTH = [
    ({"weight": 0.3}, [MASK_UNIT, MASK_IDS]),
    ({"to_onehot_y": True, "num_classes": 3}, [UNIT, PLANE_IDS]),
    ({"ignore_index": 255}, [MASK_UNIT, MASKED]),
]
NACL = [
    ({"classes": 3, "dim": 2}, [PLANE, ids(2, 4, 5, classes=3)]),
    (
        {"classes": 3, "dim": 2, "kernel_ops": "gaussian", "sigma": 0.7},
        [PLANE, ids(2, 4, 5, classes=3)],
    ),
    (
        {"classes": 3, "dim": 2, "distance_type": "l2", "alpha": 0.5},
        [PLANE, ids(2, 4, 5, classes=3)],
    ),
    ({"classes": 4, "dim": 3, "kernel_ops": "gaussian"}, [VOLUME, ids(1, 2, 3, 2, classes=3)]),
    ({"classes": 4, "dim": 3, "kernel_size": 5}, [VOLUME, ids(1, 2, 3, 2, classes=3)]),
]
# Thick enough for an erosion to leave something.
SQUARE, SQUARE_IDS = wave(2, 3, 7, 6, frequency=0.37), ids(2, 1, 7, 6, classes=3, step=2)
CUBE, CUBE_IDS = wave(1, 2, 4, 5, 3, frequency=0.23), ids(1, 1, 4, 5, 3, classes=2, step=3)
ABSENT_IDS = ids(2, 1, 7, 6, classes=3, modulus=2)
BOUNDARY = [
    (ONE_HOT_IDS, [SQUARE, SQUARE_IDS]),
    ({**ONE_HOT_IDS, "include_background": False}, [CUBE, CUBE_IDS]),
    ({**ONE_HOT_IDS, "reduction": "sum"}, [SQUARE, ABSENT_IDS]),
    ({**ONE_HOT_IDS, "reduction": "none", "batch": True}, [SQUARE, SQUARE_IDS]),
    ({"sigmoid": True, "reduction": "none"}, [PLANE, ONE_HOT]),
    # As floats: MONAI rounds the distances of an integer target down.
    ({"sigmoid": True, "batch": True}, [MASK, MASK_IDS | {"float": True}]),
    ({"softmax": True}, [PLANE, SOFT]),
    ({}, [UNIT, ONE_HOT]),
]
HAUSDORFF = [
    *[({"include_background": True, **options}, inputs) for options, inputs in BOUNDARY],
    (ONE_HOT_IDS, [SQUARE, SQUARE_IDS]),
    ({**ONE_HOT_IDS, "include_background": True, "alpha": 1.5}, [SQUARE, SQUARE_IDS]),
    ({**ONE_HOT_IDS, "include_background": True, "alpha": 1.0}, [CUBE, CUBE_IDS]),
    ({**ONE_HOT_IDS, "reduction": "sum", "batch": True}, [SQUARE, SQUARE_IDS]),
]
CL_DICE = [
    (ONE_HOT_IDS, [SQUARE, SQUARE_IDS]),
    ({**ONE_HOT_IDS, "include_background": False, "iter_": 1}, [CUBE, CUBE_IDS]),
    ({"sigmoid": True, "reduction": "sum", "smooth": 0.1, "iter_": 0}, [MASK, MASK_IDS]),
    ({"softmax": True, "smooth_nr": 0.5, "smooth_dr": 2.0}, [PLANE, SOFT]),
    ({"iter_": 5}, [UNIT, ONE_HOT]),
]
SOFT_CL_DICE = [*CL_DICE, ({**ONE_HOT_IDS, "reduction": "none"}, [SQUARE, SQUARE_IDS])]
DICE_CL_DICE = [*CL_DICE, ({**ONE_HOT_IDS, "alpha": 0.2}, [SQUARE, ABSENT_IDS])]
LEVELS = [wave(2, 3, 4, 6), wave(2, 3, 2, 3), wave(2, 3, 1, 1)]
LEVEL_IDS = ids(2, 1, 4, 6, classes=3)
DEEP = [
    ({"loss": ["DiceLoss", ONE_HOT_IDS]}, [LEVELS, LEVEL_IDS | {"float": True}]),
    (
        {"loss": ["DiceCELoss", ONE_HOT_IDS], "weight_mode": "two"},
        [LEVELS, LEVEL_IDS | {"float": True}],
    ),
    (
        {"loss": ["FocalLoss", {"to_onehot_y": True}], "weight_mode": "same"},
        [LEVELS, LEVEL_IDS | {"float": True}],
    ),
    (
        {"loss": ["TverskyLoss", ONE_HOT_IDS], "weights": [0.5, 0.2, 0.1, 0.7]},
        [LEVELS, LEVEL_IDS | {"float": True}],
    ),
    ({"loss": ["DiceLoss", ONE_HOT_IDS]}, [PLANE, PLANE_IDS]),
]
LOSSES = {
    "DiceLoss": DICE,
    "MaskedDiceLoss": MASKED_DICE,
    "DiceCELoss": DICE_CE,
    "DiceFocalLoss": DICE_FOCAL,
    "GeneralizedDiceLoss": GENERALIZED,
    "GeneralizedDiceFocalLoss": GENERALIZED_FOCAL,
    "GeneralizedWassersteinDiceLoss": WASSERSTEIN,
    "TverskyLoss": TVERSKY,
    "FocalLoss": FOCAL,
    "AsymmetricFocalLoss": UNIFIED + UNIFIED_THREE,
    "AsymmetricFocalTverskyLoss": UNIFIED + UNIFIED_THREE,
    "AsymmetricUnifiedFocalLoss": UNIFIED[1:2] + UNIFIED[3:] + UNIFIED_BOTH,
    "MCCLoss": MCC,
    "NACLLoss": NACL,
    "DeepSupervisionLoss": DEEP,
    "BoundaryLoss": BOUNDARY,
    "HausdorffDTLoss": HAUSDORFF,
    "LogHausdorffDTLoss": HAUSDORFF,
    "SoftclDiceLoss": SOFT_CL_DICE,
    "SoftDiceclDiceLoss": DICE_CL_DICE,
}
CASES = [(loss, *case) for loss, cases in LOSSES.items() for case in cases]


def ours(loss: str, options: dict[str, Any]) -> Any:
    """The loss of `lossbench.compat.monai`."""
    import jax.numpy as jnp
    import numpy as np

    from lossbench.compat import monai

    options = dict(options)
    if "other_act" in options:
        options["other_act"] = getattr(jnp, options["other_act"])
    if "dist_matrix" in options:
        options["dist_matrix"] = np.array(options["dist_matrix"], np.float32)
    if "loss" in options:
        options["loss"] = ours(*options["loss"])
    return getattr(monai, loss)(**options)


def peer(loss: str, options: dict[str, Any]) -> Any:
    """MONAI's own."""
    import numpy as np
    import torch
    from monai import losses
    from monai.losses import unified_focal_loss

    options = dict(options)
    if "other_act" in options:
        options["other_act"] = getattr(torch, options["other_act"])
    if "dist_matrix" in options:
        options["dist_matrix"] = np.array(options["dist_matrix"], np.float32)
    if "loss" in options:
        options["loss"] = peer(*options["loss"])
    if options.get("weight") is not None and not loss.startswith("Asymmetric"):
        options["weight"] = torch.tensor(options["weight"])
    place = unified_focal_loss if loss.startswith("Asymmetric") else losses
    return getattr(place, loss)(**options)
