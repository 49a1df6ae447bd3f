"""What kornia is asked: losses, options and inputs in closed form."""

LOGITS = {"wave": [2, 3, 4, 4], "scale": 2.0}
IDS = {"ids": [2, 4, 4], "classes": 3}
ABSENT = {"ids": [2, 4, 4], "classes": 3, "modulus": 2}
IGNORED = {"ids": [2, 4, 4], "classes": 3, "ignored": [-100, 5]}
ALL_IGNORED = {"ids": [2, 4, 4], "classes": 3, "ignored": [-100, 1]}
MANY, MANY_IDS = {"wave": [1, 5, 3, 7]}, {"ids": [1, 3, 7], "classes": 5, "modulus": 11}
CUBE, CUBE_IDS = {"wave": [1, 2, 3, 3, 3], "scale": 3.0}, {"ids": [1, 3, 3, 3], "classes": 2}
POINTS, POINT_IDS = {"wave": [6, 4], "scale": 3.0}, {"ids": [6], "classes": 4, "step": 3}
MASKS = {"ids": [2, 3, 4, 4], "classes": 2, "modulus": 7}
MASKS_IGNORED = {**MASKS, "ignored": [-100, 7]}
SOFT = {"wave": [2, 3, 4, 4], "frequency": 1.3, "scale": 0.4, "offset": 0.5}
ONE, MASK = {"wave": [2, 1, 4, 4], "scale": 2.0}, {"ids": [2, 4, 4], "classes": 2}
MASK_EMPTY = {"ids": [2, 4, 4], "classes": 1}
WEIGHTS = [0.2, 1.0, 3.0]


def _losses(names, *grid):
    """The grid, with the first name all of it and with the others (the classes) its last row."""
    first, *others = names
    return [
        *((first, options, inputs) for options, inputs in grid),
        *((name, *grid[-1]) for name in others),
    ]


CASES = [
    *_losses(
        ("dice_loss", "DiceLoss"),
        ({}, [LOGITS, IDS]),
        ({"eps": 2.0, "weight": WEIGHTS}, [LOGITS, ABSENT]),
        ({"weight": WEIGHTS}, [LOGITS, IGNORED]),
        ({}, [LOGITS, ALL_IGNORED]),
        ({"average": "macro"}, [LOGITS, IDS]),
        ({"average": "macro", "eps": 0.5}, [MANY, MANY_IDS]),
        ({"average": "macro", "weight": WEIGHTS}, [LOGITS, ABSENT]),
        ({"average": "macro", "weight": [0.0, 0.0, 1.0]}, [LOGITS, ABSENT]),
        ({"average": "macro", "ignore_index": None}, [LOGITS, IDS]),
        ({"average": "macro"}, [LOGITS, ALL_IGNORED]),
        ({"average": "macro", "weight": WEIGHTS, "ignore_index": 1}, [LOGITS, IDS]),
    ),
    *_losses(
        ("tversky_loss", "TverskyLoss"),
        ({"alpha": 0.5, "beta": 0.5}, [LOGITS, IDS]),
        ({"alpha": 0.3, "beta": 0.7, "eps": 1.0}, [MANY, MANY_IDS]),
        ({"alpha": 1.0, "beta": 1.0}, [LOGITS, ALL_IGNORED]),
        ({"alpha": 0.2, "beta": 0.9}, [LOGITS, ABSENT]),
        ({"alpha": 0.3, "beta": 0.7}, [LOGITS, IGNORED]),
    ),
    *_losses(
        ("focal_loss", "FocalLoss"),
        ({"alpha": None}, [LOGITS, IGNORED]),
        ({"alpha": 0.25, "gamma": 1.5, "reduction": "mean"}, [LOGITS, IDS]),
        ({"alpha": 0.25, "reduction": "mean"}, [LOGITS, IGNORED]),
        ({"alpha": 0.6, "reduction": "sum", "weight": WEIGHTS}, [LOGITS, IDS]),
        ({"alpha": 0.5, "gamma": 0.5}, [CUBE, CUBE_IDS]),
        ({"alpha": None, "gamma": 0.0, "reduction": "mean"}, [POINTS, POINT_IDS]),
        ({"alpha": 0.4, "reduction": "mean", "weight": WEIGHTS}, [LOGITS, IGNORED]),
    ),
    *_losses(
        ("binary_focal_loss_with_logits", "BinaryFocalLossWithLogits"),
        ({}, [LOGITS, MASKS]),
        ({"alpha": None, "gamma": 1.5, "reduction": "mean"}, [LOGITS, SOFT]),
        ({"reduction": "mean"}, [LOGITS, MASKS_IGNORED]),
        ({"reduction": "sum", "gamma": 0.5}, [CUBE, {"ids": [1, 2, 3, 3, 3], "classes": 2}]),
        ({"reduction": "mean", "pos_weight": WEIGHTS}, [LOGITS, SOFT]),
        (
            {"alpha": 0.7, "reduction": "none", "pos_weight": WEIGHTS, "weight": [2.0, 0.5, 1.0]},
            [LOGITS, MASKS_IGNORED],
        ),
    ),
    *_losses(
        ("lovasz_hinge_loss", "LovaszHingeLoss"),
        ({}, [{"wave": [1, 1, 1, 1]}, {"ids": [1, 1, 1], "classes": 2}]),
        ({}, [ONE, MASK_EMPTY]),
        ({}, [ONE, MASK]),
    ),
    *_losses(
        ("lovasz_softmax_loss", "LovaszSoftmaxLoss"),
        ({}, [LOGITS, ABSENT]),
        ({}, [MANY, MANY_IDS]),
        ({}, [{"wave": [1, 3, 4, 4], "scale": 2.0}, IDS]),
        ({"weight": WEIGHTS}, [LOGITS, IDS]),
    ),
]


def peer(loss, options):
    """kornia's loss as a function of torch tensors."""
    import kornia.losses
    import torch

    options = dict(options)
    for key in {"weight", "pos_weight"} & set(options):
        options[key] = torch.tensor(options[key])
    function = getattr(kornia.losses, loss)
    if loss[0].isupper():
        if loss == "BinaryFocalLossWithLogits":
            options.setdefault("alpha", 0.25)
        function, options = function(**options), {}
    if loss in ("binary_focal_loss_with_logits", "BinaryFocalLossWithLogits"):
        return lambda x, y: function(x, y.to(x.dtype), **options)
    return lambda x, y: function(x, y, **options)
