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
EMBEDDINGS, CENTER = {"wave": [2, 3, 4, 5]}, {"wave": [5], "frequency": 1.3, "phase": 0.4}
RAW = {"wave": [], "scale": 0.0, "offset": 0.3}
COMPONENTS = {"wave": [3, 6], "frequency": 0.9}
SELECTOR = {"wave": [6], "frequency": 0.5, "scale": 0.4, "offset": 0.6}
IMAGE, OTHER_IMAGE = {"wave": [2, 3, 3, 2]}, {"wave": [2, 3, 3, 2], "frequency": 0.3}
RGB = {"wave": [2, 4, 4, 3], "scale": 0.45, "offset": 0.5}
OBJECT = {"wave": [2, 4, 4], "frequency": 0.8, "above": 0.2}
# The first image has nothing in the foreground.
ONE_OBJECT = {"ids": [2, 4, 4], "classes": 3, "first": [0, 16]}

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
    "DeepSVDDSoftBoundaryLoss": [
        ({}, [EMBEDDINGS, CENTER]),
        ({"nu": 0.5, "weight": 0.3}, [EMBEDDINGS, CENTER]),
        ({"nu": 0.1}, [EMBEDDINGS, CENTER, RAW]),
    ],
    "OrthogonalityLoss": [({}, [COMPONENTS]), ({"weight": 0.1}, [SELECTOR | {"wave": [2, 3]}])],
    "MSEReconstructionLoss": [
        ({}, [IMAGE, OTHER_IMAGE]),
        ({"reduction": "sum", "weight": 0.5}, [IMAGE, OTHER_IMAGE]),
        ({"reduction": "none"}, [IMAGE, OTHER_IMAGE]),
    ],
    "DistinctnessLoss": [
        ({}, [COMPONENTS]),
        ({"weight": 2.0}, [SELECTOR | {"wave": [4, 5]}]),
        ({}, [SELECTOR | {"wave": [1, 5]}]),
    ],
    "SelectorEntropyRegularizer": [
        ({}, [SELECTOR]),
        ({"weight": 1.0, "target_entropy": 1.2}, [SELECTOR]),
        ({"weight": -0.5, "eps": 1e-3}, [SELECTOR]),
    ],
    "SelectorDiversityRegularizer": [({}, [SELECTOR]), ({"weight": 1.0}, [SELECTOR])],
    "ForegroundContrastLoss": [
        ({}, [RGB, OBJECT]),
        ({"compactness_weight": 0.5, "anchor_weight": 0.25, "weight": 2.0}, [RGB, OBJECT]),
        ({"color_space": "oklab"}, [RGB, OBJECT]),
        (
            {"color_space": "oklab", "assume_srgb": False, "compactness_weight": 0.5},
            [RGB, ONE_OBJECT],
        ),
        ({"eps": 0.1}, [RGB, ONE_OBJECT]),
        ({}, [RGB, {"ids": [2, 4, 4], "classes": 1}]),
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

    def of(*inputs: Any) -> Any:
        if loss == "DeepSVDDSoftBoundaryLoss" and len(inputs) == 3:  # the node's own parameter
            node.r_unconstrained.data.fill_(float(inputs[2]))
            inputs = inputs[:2]
        return node.forward(*inputs)["loss"]

    return of
