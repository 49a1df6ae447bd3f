"""Metrics: pure functions for one batch, and states for a stream that update, merge and compute.

Predictions are class ids or boolean masks, never logits. Undefined is NaN with a count, never 0.
"""

from lossbench._names import unknown
from lossbench.metrics._cases import Scores, Stream
from lossbench.metrics._examples import PerExample
from lossbench.metrics.boundary import boundary_iou
from lossbench.metrics.by_class import by_class
from lossbench.metrics.cl_dice import ClDice, cl_dice
from lossbench.metrics.lesions import LesionDetection, lesion_detection
from lossbench.metrics.overlap import Dice, IoU, dice, iou
from lossbench.metrics.panoptic import PanopticQuality, panoptic_quality
from lossbench.metrics.regions import RegionOverlap, per_region_overlap, region_weights
from lossbench.metrics.surface import asd, assd, hausdorff, hd95, nsd
from lossbench.metrics.surface_stream import ASSD, HD95, NSD
from lossbench.metrics.volume import relative_volume_difference, volume_difference

__all__ = [
    "ASSD",
    "HD95",
    "NSD",
    "STATES",
    "ClDice",
    "Dice",
    "IoU",
    "LesionDetection",
    "PanopticQuality",
    "PerExample",
    "RegionOverlap",
    "Scores",
    "Stream",
    "asd",
    "assd",
    "boundary_iou",
    "by_class",
    "cl_dice",
    "dice",
    "get",
    "hausdorff",
    "hd95",
    "iou",
    "lesion_detection",
    "nsd",
    "panoptic_quality",
    "per_region_overlap",
    "region_weights",
    "relative_volume_difference",
    "volume_difference",
]

# The streams that a configuration can name.
STATES: dict[str, type[Stream]] = {
    "dice": Dice,
    "iou": IoU,
    "hd95": HD95,
    "assd": ASSD,
    "nsd": NSD,
    "cl_dice": ClDice,
}


def get(name: str) -> type[Stream]:
    """The stream of this name.

    Raises:
        ValueError: if there is none; it names the nearest ones.
    """
    if name not in STATES:
        raise unknown("metric", name, STATES)
    return STATES[name]
