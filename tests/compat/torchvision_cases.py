"""What torchvision's focal loss is asked, and its formula written once more.

torchvision is not needed to make the values: its `sigmoid_focal_loss` is a formula of a few
operations, which `peer` derives anew from PyTorch's own binary cross entropy.
"""

LOGITS = {"wave": [2, 3, 4, 4], "scale": 3.0}
MASKS = {"ids": [2, 3, 4, 4], "classes": 2, "modulus": 7}
SOFT = {"wave": [2, 3, 4, 4], "frequency": 1.3, "scale": 0.4, "offset": 0.5}
BOXES, BOX_MASKS = {"wave": [7, 3], "scale": 5.0}, {"ids": [7, 3], "classes": 2}
LINE, LINE_MASK = {"wave": [11], "scale": 2.0}, {"ids": [11], "classes": 2}
CUBE, CUBE_MASK = {"wave": [1, 1, 3, 3, 3]}, {"ids": [1, 1, 3, 3, 3], "classes": 1}

CASES = [
    ("sigmoid_focal_loss", options, inputs)
    for options, inputs in (
        ({}, [LOGITS, MASKS]),
        ({"reduction": "mean"}, [LOGITS, MASKS]),
        ({"reduction": "sum", "alpha": -1}, [LOGITS, MASKS]),
        ({"reduction": "mean", "alpha": -1, "gamma": 0}, [LOGITS, SOFT]),
        ({"reduction": "mean", "alpha": 0.7, "gamma": 1.5}, [LOGITS, SOFT]),
        ({"reduction": "none", "alpha": 0.4, "gamma": 3}, [LOGITS, SOFT]),
        ({"reduction": "sum", "alpha": 0.0}, [BOXES, BOX_MASKS]),
        ({"reduction": "none", "gamma": 1}, [LINE, LINE_MASK]),
        ({"reduction": "mean", "alpha": 1.0}, [CUBE, CUBE_MASK]),
    )
]


def peer(loss, options):
    """Lin et al.'s formula on top of PyTorch's binary cross entropy."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    assert loss == "sigmoid_focal_loss"
    alpha, gamma = options.get("alpha", 0.25), options.get("gamma", 2)
    reduce = {"none": lambda x: x, "mean": torch.mean, "sum": torch.sum}

    def focal(inputs, targets):
        y = targets.to(inputs.dtype)
        chance = torch.sigmoid(inputs)
        # The probability of the label, and how far it is from certain.
        miss = 1 - (y * chance + (1 - y) * (1 - chance))
        costs = miss**gamma * binary_cross_entropy_with_logits(inputs, y, reduction="none")
        if alpha >= 0:
            costs = costs * torch.lerp(torch.full_like(y, 1 - alpha), torch.full_like(y, alpha), y)
        return reduce[options.get("reduction", "none")](costs)

    return focal
