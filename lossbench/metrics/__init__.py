"""Metrics: pure functions for one batch, and states for a stream that update, merge and compute.

Predictions are class ids or boolean masks, never logits. Undefined is NaN with a count, never 0.
"""

from lossbench._names import unknown
from lossbench.metrics._cases import Scores, Stream
from lossbench.metrics._examples import PerExample
from lossbench.metrics.agreement import (
    Accuracy,
    CohenKappa,
    GeneralizedDice,
    accuracy,
    cohen_kappa,
    generalized_dice,
)
from lossbench.metrics.boundary import boundary_iou
from lossbench.metrics.by_class import by_class
from lossbench.metrics.cl_dice import ClDice, cl_dice
from lossbench.metrics.confusion import Confusion, ConfusionMatrix, confusion_matrix
from lossbench.metrics.curves import PrCurve, RocCurve, pr_curve, roc_curve
from lossbench.metrics.lesions import LesionDetection, lesion_detection
from lossbench.metrics.overlap import Dice, IoU, dice, iou
from lossbench.metrics.panoptic import PanopticQuality, panoptic_quality
from lossbench.metrics.pro import Aupro, aupro
from lossbench.metrics.ranking import (
    F1Max,
    PartialAuc,
    average_precision,
    f1_max,
    fpr_at_tpr,
    partial_auc,
    roc_auc,
)
from lossbench.metrics.rates import (
    MCC,
    FBeta,
    Precision,
    Recall,
    Specificity,
    f_beta,
    mcc,
    precision,
    recall,
    specificity,
)
from lossbench.metrics.regions import RegionOverlap, per_region_overlap, region_weights
from lossbench.metrics.surface import asd, assd, hausdorff, hd95, nsd
from lossbench.metrics.surface_stream import ASSD, HD95, NSD
from lossbench.metrics.volume import relative_volume_difference, volume_difference

__all__ = [
    "ASSD",
    "HD95",
    "MCC",
    "NSD",
    "STATES",
    "Accuracy",
    "Aupro",
    "ClDice",
    "CohenKappa",
    "Confusion",
    "ConfusionMatrix",
    "Dice",
    "F1Max",
    "FBeta",
    "GeneralizedDice",
    "IoU",
    "LesionDetection",
    "PanopticQuality",
    "PartialAuc",
    "PerExample",
    "PrCurve",
    "Precision",
    "Recall",
    "RegionOverlap",
    "RocCurve",
    "Scores",
    "Specificity",
    "Stream",
    "accuracy",
    "asd",
    "assd",
    "aupro",
    "average_precision",
    "boundary_iou",
    "by_class",
    "cl_dice",
    "cohen_kappa",
    "confusion_matrix",
    "dice",
    "f1_max",
    "f_beta",
    "fpr_at_tpr",
    "generalized_dice",
    "get",
    "hausdorff",
    "hd95",
    "iou",
    "lesion_detection",
    "mcc",
    "nsd",
    "panoptic_quality",
    "partial_auc",
    "per_region_overlap",
    "pr_curve",
    "precision",
    "recall",
    "region_weights",
    "relative_volume_difference",
    "roc_auc",
    "roc_curve",
    "specificity",
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
    "precision": Precision,
    "recall": Recall,
    "specificity": Specificity,
    "f_beta": FBeta,
    "mcc": MCC,
    "accuracy": Accuracy,
    "cohen_kappa": CohenKappa,
    "generalized_dice": GeneralizedDice,
}


def get(name: str) -> type[Stream]:
    """The stream of this name.

    Raises:
        ValueError: if there is none; it names the nearest ones.
    """
    if name not in STATES:
        raise unknown("metric", name, STATES)
    return STATES[name]
