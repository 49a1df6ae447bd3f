"""Which of cuvis-ai's loss nodes are asked, with which options, on which inputs."""

from typing import Any

SCORES = {"wave": [2, 4, 4, 1], "scale": 2.0}
UNIT = {"wave": [2, 4, 4, 1], "scale": 0.45, "offset": 0.5}
FLAT = {"wave": [1, 3, 2, 1], "scale": 0.0, "offset": 0.3}
MASK = {"wave": [2, 4, 4, 1], "frequency": 1.1, "above": 0.3}
SMALL_MASK = {"wave": [1, 3, 2, 1], "frequency": 1.1, "above": 0.3}
LOGITS = {"wave": [2, 4, 4, 3], "scale": 2.0}
IDS = {"ids": [2, 4, 4], "classes": 3}
IGNORED = {**IDS, "first": [255, 4]}
BINARY = {"ids": [2, 4, 4], "classes": 2}
BINARY_IGNORED = {**BINARY, "first": [255, 6]}
PLANE, PLANE_MASK = {"wave": [3, 2, 5]}, {"wave": [3, 2, 5], "frequency": 1.7, "above": 0.1}

LOSSES = {
    "AnomalyBCEWithLogits": [
        ({}, [SCORES, MASK]),
        ({"pos_weight": 3.0}, [SCORES, MASK]),
        ({"reduction": "sum"}, [SCORES, MASK]),
        ({"reduction": "none", "weight": 0.5, "pos_weight": 0.3}, [SCORES, MASK]),
        ({"weight": 10.0}, [PLANE, PLANE_MASK]),
    ],
    "IoULoss": [
        ({"normalize_method": "sigmoid"}, [SCORES, MASK]),
        ({"normalize_method": "clamp"}, [SCORES, MASK]),
        ({"normalize_method": "minmax"}, [SCORES, MASK]),
        ({"normalize_method": "clamp", "smooth": 1.0, "weight": 2.0}, [UNIT, MASK]),
        ({"normalize_method": "minmax", "smooth": 0.1}, [UNIT, MASK]),
        ({"normalize_method": "minmax"}, [FLAT, SMALL_MASK]),
        ({"smooth": 0.5}, [FLAT, SMALL_MASK]),
    ],
    "DiceLoss": [
        ({}, [LOGITS, IDS]),
        ({"include_background": False}, [LOGITS, IDS]),
        ({"ignore_index": 255}, [LOGITS, IGNORED]),
        ({}, [SCORES, BINARY]),
        ({"ignore_index": 255, "weight": 0.5, "eps": 1.0}, [SCORES, BINARY_IGNORED]),
        ({"ignore_index": 1, "include_background": False, "eps": 0.1}, [LOGITS, IDS]),
        ({"include_background": False}, [SCORES, BINARY]),
    ],
    "CrossEntropyLoss": [
        ({}, [LOGITS, IDS]),
        ({"class_weights": [0.2, 1.0, 2.0]}, [LOGITS, IDS]),
        ({"ignore_index": 255}, [LOGITS, IGNORED]),
        ({"ignore_index": 0, "class_weights": [5.0, 0.0, 2.0], "weight": 3.0}, [LOGITS, IDS]),
    ],
}
CASES = [(loss, *case) for loss, cases in LOSSES.items() for case in cases]


def ours(loss: str, options: dict[str, Any]) -> Any:
    """The node of `lossbench.compat.cuvis`."""
    from lossbench.compat import cuvis

    return getattr(cuvis, loss)(**options)


def peer(loss: str, options: dict[str, Any]) -> Any:
    """cuvis-ai's own node, as a function that returns its port `loss`."""
    from cuvis_ai.node import losses

    node = getattr(losses, loss)(**options)
    return lambda *inputs: node.forward(*inputs)["loss"]
