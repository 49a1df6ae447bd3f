"""What optax is asked: losses, options and inputs in closed form."""

import math

LOGITS = {"wave": [2, 4, 4, 3], "scale": 2.0}
IDS = {"ids": [2, 4, 4], "classes": 3}
ONE_HOT = {"ids": [2, 4, 4, 1], "classes": 3, "one_hot": 3}
ABSENT = {"ids": [2, 4, 4, 1], "classes": 3, "modulus": 2, "one_hot": 3}
SOFT = {"wave": [2, 4, 4, 3], "frequency": 1.3, "softmax": 3}
WHERE = {"wave": [2, 4, 4], "frequency": 2.1, "above": -0.3}
WHERE_CLASSES = {"wave": [2, 4, 4, 3], "frequency": 2.1, "above": -0.3}
SMALL, SMALL_SHARES = {"wave": [2, 2, 3, 2]}, {"wave": [2, 2, 3, 2], "offset": 1.5}
SMALL_WHERE = {"wave": [2, 2, 3, 2], "frequency": 2.1, "above": -0.3}
POINT, POINT_ID = {"wave": [4]}, {"ids": [1], "classes": 4, "one_hot": 0}
ROWS, ROWS_IDS = {"wave": [5, 3], "scale": 4.0}, {"ids": [5], "classes": 3, "step": 2}
CUBE, CUBE_HOT = {"wave": [2, 2, 3, 2, 2]}, {"ids": [2, 2, 3, 2, 1], "classes": 2, "one_hot": 4}
MASK = {"ids": [2, 4, 4], "classes": 2}
MASK_LOGITS = {"wave": [2, 4, 4], "scale": 3.0}
MASKS = {"ids": [2, 4, 4, 3], "classes": 2, "modulus": 7}
SHARES = {"wave": [2, 4, 4, 3], "frequency": 1.3, "scale": 0.4, "offset": 0.5}
WEIGHTS = [0.2, 1.0, 3.0]


def _losses(loss, *grid):
    return [(loss, options, inputs) for options, inputs in grid]


CASES = [
    *_losses(
        "softmax_cross_entropy",
        ({}, [LOGITS, ONE_HOT]),
        ({}, [LOGITS, SHARES]),
        ({}, [POINT, POINT_ID]),
        ({"axis": 1}, [LOGITS, {"wave": [2, 4, 4, 3], "frequency": 1.3, "softmax": 1}]),
        ({"axis": [1, 2]}, [SMALL, SMALL_SHARES]),
        ({"axis": None}, [SMALL, SMALL_SHARES]),
        ({"where": WHERE_CLASSES}, [LOGITS, SOFT]),
        ({"where": WHERE}, [LOGITS, ONE_HOT]),
        ({"axis": [1, 3], "where": SMALL_WHERE}, [SMALL, SMALL_SHARES]),
        ({}, [LOGITS, {"wave": [3], "softmax": 0}]),
    ),
    *_losses(
        "softmax_cross_entropy_with_integer_labels",
        ({}, [LOGITS, IDS]),
        ({}, [ROWS, ROWS_IDS]),
        ({"axis": 1}, [LOGITS, {"ids": [2, 4, 3], "classes": 4}]),
        ({"axis": [1, 2]}, [SMALL, {"ids": [2, 2], "classes": 6, "modulus": 17}]),
        ({"where": WHERE}, [LOGITS, IDS]),
        (  # the last class left out, which no label names
            {"where": {"wave": [2, 4, 4, 3], "frequency": 2 * math.pi / 3, "above": -0.8}},
            [LOGITS, {"ids": [2, 4, 4], "classes": 2}],
        ),
    ),
    *_losses(
        "sigmoid_binary_cross_entropy",
        ({}, [LOGITS, MASKS]),
        ({}, [LOGITS, SHARES]),
        ({}, [MASK_LOGITS, MASK]),
        ({}, [{"wave": [7]}, {"ids": [7], "classes": 2}]),
        ({}, [LOGITS, {"wave": [3], "scale": 0.4, "offset": 0.5}]),
    ),
    *_losses(
        "sigmoid_focal_loss",
        ({}, [LOGITS, MASKS]),
        ({"alpha": 0.25, "gamma": 1.5}, [LOGITS, SHARES]),
        ({"alpha": 0.7, "gamma": 0.0}, [MASK_LOGITS, MASK]),
        ({"gamma": 0.5}, [{"wave": [7], "scale": 5.0}, {"ids": [7], "classes": 2}]),
    ),
    *_losses(
        "poly_loss_cross_entropy",
        ({}, [LOGITS, ONE_HOT]),
        ({"epsilon": -0.5}, [LOGITS, SOFT]),
        ({"axis": 1}, [LOGITS, {"wave": [2, 4, 4, 3], "frequency": 1.3, "softmax": 1}]),
        ({"axis": [1, 2], "epsilon": 1.0}, [SMALL, SMALL_SHARES]),
        ({"where": WHERE_CLASSES}, [LOGITS, SOFT]),
    ),
    *_losses(
        "dice_loss",
        ({}, [LOGITS, ONE_HOT]),
        ({"smooth": 1e-5, "alpha": 0.3, "beta": 0.7}, [LOGITS, ABSENT]),
        ({"reduction": "sum", "class_weights": WEIGHTS}, [LOGITS, SOFT]),
        (
            {"reduction": "none", "class_weights": WEIGHTS, "ignore_background": True},
            [LOGITS, ONE_HOT],
        ),
        ({"axis": 1}, [LOGITS, ONE_HOT]),
        ({"axis": [0, 2], "ignore_background": True}, [LOGITS, ONE_HOT]),
        ({"axis": [0, 1, 2], "smooth": 0.1}, [LOGITS, ONE_HOT]),
        ({"axis": -2, "reduction": "none"}, [LOGITS, ONE_HOT]),
        ({"smooth": 0.5}, [CUBE, CUBE_HOT]),
        ({}, [{"wave": [2, 4, 4, 1], "scale": 2.0}, MASK]),
        ({}, [{"wave": [3, 5]}, {"ids": [3, 1], "classes": 5, "one_hot": 1}]),
    ),
    *_losses(
        "binary_dice_loss",
        ({}, [MASK_LOGITS, MASK]),
        (
            {"smooth": 0.1},
            [
                {"wave": [2, 4, 4, 1], "scale": 2.0},
                {"wave": [2, 4, 4, 1], "offset": 1.0, "scale": 0.5},
            ],
        ),
    ),
    *_losses(
        "multiclass_generalized_dice_loss",
        ({}, [LOGITS, ONE_HOT]),
        ({"smooth": 0.1, "ignore_background": True}, [LOGITS, SOFT]),
        ({}, [LOGITS, ABSENT]),
    ),
]


def bound(function, options):
    """The function with its options: lists become axes or arrays, formulas become arrays."""
    import functools

    import jax.numpy as jnp

    from tests.compat import stored

    options = dict(options)
    if isinstance(options.get("axis"), list):
        options["axis"] = tuple(options["axis"])
    if "where" in options:
        options["where"] = jnp.asarray(stored.array(options["where"]))
    if "class_weights" in options:
        options["class_weights"] = jnp.asarray(options["class_weights"])
    return functools.partial(function, **options)


def peer(loss, options):
    """optax's loss as a function of JAX arrays."""
    import optax

    return bound(getattr(optax.losses, loss), options)
