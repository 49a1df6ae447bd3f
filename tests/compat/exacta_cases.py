"""What exacta is asked: losses, options and inputs in closed form."""

LOGITS = {"wave": [2, 3, 4, 4], "scale": 2.0}
PROBABILITIES = {"wave": [2, 3, 4, 4], "scale": 2.0, "softmax": 1}
IDS = {"ids": [2, 4, 4], "classes": 3}
ABSENT = {"ids": [2, 4, 4], "classes": 3, "modulus": 2}
IGNORED = {"ids": [2, 4, 4], "classes": 3, "ignored": [255, 5]}
MASKS = {"ids": [2, 3, 4, 4], "classes": 2, "modulus": 7}
SOFT = {"wave": [2, 3, 4, 4], "frequency": 1.3, "softmax": 1}
CUBE, CUBE_IDS = {"wave": [2, 2, 3, 2, 3], "scale": 3.0}, {"ids": [2, 3, 2, 3], "classes": 2}
LINE, LINE_IDS = {"wave": [2, 4, 9]}, {"ids": [2, 9], "classes": 4, "modulus": 7}
ONE, MASK = {"wave": [2, 1, 4, 4], "scale": 2.0}, {"ids": [2, 4, 4], "classes": 2}
MASK_IGNORED = {**MASK, "ignored": [255, 3]}
COSTS = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.4], [1.0, 0.4, 0.0]]
HALF = {"wave": [2, 3, 2, 2]}


def _losses(loss, *grid):
    return [(loss, options, inputs) for options, inputs in grid]


CASES = [
    *_losses(
        "DiceLoss",
        ({}, [LOGITS, IDS]),
        ({"include_background": False, "smooth": 1.0}, [LOGITS, ABSENT]),
        ({"batch_dice": True, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"squared_pred": True}, [CUBE, CUBE_IDS]),
        (
            {"activation": "sigmoid", "target_format": "one-hot", "squared_pred": True},
            [LOGITS, MASKS],
        ),
        ({"target_format": "one-hot"}, [LOGITS, SOFT]),
        ({"activation": "none", "smooth": 0.1}, [PROBABILITIES, IDS]),
        ({}, [LINE, LINE_IDS]),
    ),
    *_losses(
        "GeneralizedDiceLoss",
        ({"smooth": 0.0}, [LOGITS, IDS]),
        ({"smooth": 0.0, "weight_type": "simple", "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"smooth": 0.0, "weight_type": "uniform", "batch_dice": True}, [LOGITS, IDS]),
        ({"smooth": 0.0, "include_background": False}, [LOGITS, IDS]),
    ),
    *_losses(
        "TverskyLoss",
        ({}, [LOGITS, IDS]),
        ({"alpha": 0.3, "beta": 0.7, "smooth": 1.0, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"alpha": 0.8, "beta": 0.1, "batch_dice": True}, [LOGITS, ABSENT]),
        (
            {"activation": "sigmoid", "target_format": "one-hot", "include_background": False},
            [LOGITS, MASKS],
        ),
    ),
    *_losses(
        "FocalTverskyLoss",
        ({}, [LOGITS, IDS]),
        ({"gamma": 2.0, "alpha": 0.6, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"batch_dice": True, "include_background": False}, [CUBE, CUBE_IDS]),
    ),
    *_losses(
        "FocalLoss",
        ({}, [LOGITS, IDS]),
        ({"gamma": 0.5, "alpha": 0.3, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"target_format": "one-hot", "gamma": 1.0}, [LOGITS, SOFT]),
        ({"activation": "sigmoid", "target_format": "one-hot", "alpha": 0.25}, [LOGITS, SOFT]),
        ({"activation": "sigmoid", "ignore_index": 255}, [LOGITS, IGNORED]),
    ),
    *_losses(
        "TopKCELoss",
        ({}, [LOGITS, IDS]),
        ({"fraction": 0.3, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"fraction": 1.0}, [CUBE, CUBE_IDS]),
    ),
    *_losses(
        "LovaszSoftmaxLoss",
        ({}, [LOGITS, ABSENT]),
        ({"classes": "all", "per_image": True, "ignore_index": 255}, [LOGITS, IGNORED]),
        ({"classes": "all", "include_background": False}, [LOGITS, ABSENT]),
        ({"per_image": True}, [CUBE, CUBE_IDS]),
    ),
    *_losses(
        "LovaszHingeLoss",
        ({}, [ONE, MASK]),
        ({"per_image": False, "ignore_index": 255}, [ONE, MASK_IGNORED]),
        ({"multilabel": True}, [LOGITS, MASKS]),
        ({"multilabel": True, "per_image": False}, [LOGITS, MASKS]),
    ),
    *_losses(
        "GeneralizedWassersteinDiceLoss",
        ({"dist_matrix": COSTS, "weighting_mode": "GDL"}, [LOGITS, IDS]),
        ({"dist_matrix": COSTS, "weighting_mode": "GDL", "smooth": 1.0}, [LOGITS, ABSENT]),
        ({"dist_matrix": COSTS}, [LOGITS, IDS]),
        ({"dist_matrix": COSTS, "smooth": 0.5, "ignore_index": 255}, [LOGITS, IGNORED]),
    ),
    *_losses(
        "DeepSupervisionLoss",
        ({"weights": [0.7, 0.3]}, [[LOGITS, HALF], IDS]),
        ({"weights": [1.0, 0.25]}, [[LOGITS, HALF], IDS]),
    ),
]


def peer(loss, options):
    """exacta's loss as a function of torch tensors; deep supervision is that of its Dice.

    exacta wants the coarse labels, which are every second pixel of each axis.
    """
    import exacta.losses

    options = dict(options)
    if loss == "DeepSupervisionLoss":
        deep = exacta.losses.DeepSupervisionLoss(exacta.losses.DiceLoss(), **options)
        return lambda levels, y: deep(levels, [y, y[:, 1::2, 1::2]])
    made = getattr(exacta.losses, loss)(**options)
    if options.get("target_format") == "one-hot":
        return lambda x, y: made(x, y.to(x.dtype))
    return made
