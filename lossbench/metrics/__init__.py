"""Metrics: pure functions for one batch, and states for a stream that update, merge and compute.

Predictions are class ids or boolean masks, never logits. Undefined is NaN with a count, never 0.
"""

from lossbench._names import unknown
from lossbench.metrics.overlap import Dice, IoU, Scores, dice, iou

__all__ = ["STATES", "Dice", "IoU", "Scores", "dice", "get", "iou"]

# The streams that a configuration can name.
STATES = {"dice": Dice, "iou": IoU}


def get(name: str) -> type[Dice] | type[IoU]:
    """The stream of this name.

    Raises:
        ValueError: if there is none; it names the nearest ones.
    """
    if name not in STATES:
        raise unknown("metric", name, STATES)
    return STATES[name]
