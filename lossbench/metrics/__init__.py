"""Metrics: pure functions for one batch, and states for a stream that update, merge and compute.

Predictions are class ids or boolean masks, never logits. Undefined is NaN with a count, never 0.
"""

from lossbench._names import unknown
from lossbench.metrics._examples import PerExample
from lossbench.metrics.boundary import boundary_iou
from lossbench.metrics.by_class import by_class
from lossbench.metrics.overlap import Dice, IoU, Scores, dice, iou
from lossbench.metrics.surface import asd, assd, hausdorff, hd95, nsd
from lossbench.metrics.volume import relative_volume_difference, volume_difference

__all__ = [
    "STATES",
    "Dice",
    "IoU",
    "PerExample",
    "Scores",
    "asd",
    "assd",
    "boundary_iou",
    "by_class",
    "dice",
    "get",
    "hausdorff",
    "hd95",
    "iou",
    "nsd",
    "relative_volume_difference",
    "volume_difference",
]

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
