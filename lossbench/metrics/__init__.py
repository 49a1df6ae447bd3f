"""Metrics: pure functions for one batch, and states for a stream that update, merge and compute.

Predictions are class ids or boolean masks, never logits. Undefined is NaN with a count, never 0.
"""

from lossbench._names import unknown
from lossbench.metrics._cases import Scores, Stream
from lossbench.metrics._confidence import Pooled
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
from lossbench.metrics.calibration import (
    ClassErrors,
    Reliability,
    adaptive_calibration_error,
    classwise_calibration_error,
    expected_calibration_error,
    reliability_diagram,
)
from lossbench.metrics.calibration_stream import (
    AdaptiveCalibrationError,
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    ReliabilityDiagram,
)
from lossbench.metrics.cl_dice import ClDice, cl_dice
from lossbench.metrics.collection import Collection
from lossbench.metrics.confusion import Confusion, ConfusionMatrix, confusion_matrix
from lossbench.metrics.curve_stream import PrCurve, RocCurve
from lossbench.metrics.curves import PrPoints, RocPoints, pr_curve, roc_curve
from lossbench.metrics.deciders import (
    ImageQuantile,
    Threshold,
    fit_f1,
    fit_fpr,
    fit_gaussian,
    fit_nu,
)
from lossbench.metrics.deciders_stream import fit_f1_streamed, fit_fpr_streamed, fit_nu_streamed
from lossbench.metrics.lesions import LesionDetection, lesion_detection
from lossbench.metrics.means import Mean, mean_over
from lossbench.metrics.overlap import Dice, Iou, dice, iou
from lossbench.metrics.panel import AnomalyReport, DetectionScores, PerImage, anomaly_detection
from lossbench.metrics.panel_stream import (
    AnomalyDetection,
    OverImages,
    StreamedReport,
    StreamedScores,
)
from lossbench.metrics.panoptic import PanopticQuality, panoptic_quality
from lossbench.metrics.pimo import ImageAreas, aupimo
from lossbench.metrics.pimo_stream import Aupimo, ImageScores
from lossbench.metrics.pro import Aupro, RegionArea, RegionScore, aupro
from lossbench.metrics.proper_scores import (
    Brier,
    NegativeLogLikelihood,
    brier,
    negative_log_likelihood,
)
from lossbench.metrics.ranking import (
    BestF1,
    PartialArea,
    average_precision,
    f1_max,
    fpr_at_tpr,
    partial_auc,
    roc_auc,
)
from lossbench.metrics.ranking_cases import (
    AveragePrecisionOfCases,
    F1MaxOfCases,
    FprAtTprOfCases,
    PartialAucOfCases,
    RocAucOfCases,
)
from lossbench.metrics.ranking_stream import (
    AveragePrecision,
    F1Max,
    F1MaxScore,
    FprAtTpr,
    PartialAuc,
    PartialAucScore,
    RankingScore,
    RocAuc,
)
from lossbench.metrics.rates import (
    FBeta,
    Mcc,
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
from lossbench.metrics.representation import (
    Orthogonality,
    VarianceShares,
    component_orthogonality,
    explained_variance,
)
from lossbench.metrics.score_statistics import (
    PixelStatistics,
    ScoreStatistics,
    pixel_statistics,
    score_statistics,
)
from lossbench.metrics.selectors import (
    Concentration,
    Entropy,
    selector_concentration,
    selector_entropy,
)
from lossbench.metrics.spectra import (
    matched_peak_share,
    normalized_spectral_angle,
    pearson,
    spectral_angle,
    spectral_cosine,
    spectral_entropy_similarity,
)
from lossbench.metrics.spectra_stream import (
    MatchedPeakShare,
    NormalizedSpectralAngle,
    Pearson,
    SpectralAngle,
    SpectralCosine,
    SpectralEntropySimilarity,
    SpectraMean,
)
from lossbench.metrics.surface import asd, assd, hausdorff, hd95, nsd
from lossbench.metrics.surface_stream import Assd, Hd95, Nsd
from lossbench.metrics.thresholds import (
    Thresholds,
    decide,
    f1_threshold,
    fpr_threshold,
    gaussian_threshold,
    nu_threshold,
    quantile_threshold,
)
from lossbench.metrics.two_stage import TwoStage, TwoStageDecisions, top_mean, two_stage
from lossbench.metrics.volume import relative_volume_difference, volume_difference

__all__ = [
    "STATES",
    "Accuracy",
    "AdaptiveCalibrationError",
    "AnomalyDetection",
    "AnomalyReport",
    "Assd",
    "Aupimo",
    "Aupro",
    "AveragePrecision",
    "AveragePrecisionOfCases",
    "BestF1",
    "Brier",
    "ClDice",
    "ClassErrors",
    "ClasswiseCalibrationError",
    "CohenKappa",
    "Collection",
    "Concentration",
    "Confusion",
    "ConfusionMatrix",
    "DetectionScores",
    "Dice",
    "Entropy",
    "ExpectedCalibrationError",
    "F1Max",
    "F1MaxOfCases",
    "F1MaxScore",
    "FBeta",
    "FprAtTpr",
    "FprAtTprOfCases",
    "GeneralizedDice",
    "Hd95",
    "ImageAreas",
    "ImageQuantile",
    "ImageScores",
    "Iou",
    "LesionDetection",
    "MatchedPeakShare",
    "Mcc",
    "Mean",
    "NegativeLogLikelihood",
    "NormalizedSpectralAngle",
    "Nsd",
    "Orthogonality",
    "OverImages",
    "PanopticQuality",
    "PartialArea",
    "PartialAuc",
    "PartialAucOfCases",
    "PartialAucScore",
    "Pearson",
    "PerExample",
    "PerImage",
    "PixelStatistics",
    "Pooled",
    "PrCurve",
    "PrPoints",
    "Precision",
    "RankingScore",
    "Recall",
    "RegionArea",
    "RegionOverlap",
    "RegionScore",
    "Reliability",
    "ReliabilityDiagram",
    "RocAuc",
    "RocAucOfCases",
    "RocCurve",
    "RocPoints",
    "ScoreStatistics",
    "Scores",
    "Specificity",
    "SpectraMean",
    "SpectralAngle",
    "SpectralCosine",
    "SpectralEntropySimilarity",
    "Stream",
    "StreamedReport",
    "StreamedScores",
    "Threshold",
    "Thresholds",
    "TwoStage",
    "TwoStageDecisions",
    "VarianceShares",
    "accuracy",
    "adaptive_calibration_error",
    "anomaly_detection",
    "asd",
    "assd",
    "aupimo",
    "aupro",
    "average_precision",
    "boundary_iou",
    "brier",
    "by_class",
    "cl_dice",
    "classwise_calibration_error",
    "cohen_kappa",
    "component_orthogonality",
    "confusion_matrix",
    "decide",
    "dice",
    "expected_calibration_error",
    "explained_variance",
    "f1_max",
    "f1_threshold",
    "f_beta",
    "fit_f1",
    "fit_f1_streamed",
    "fit_fpr",
    "fit_fpr_streamed",
    "fit_gaussian",
    "fit_nu",
    "fit_nu_streamed",
    "fpr_at_tpr",
    "fpr_threshold",
    "gaussian_threshold",
    "generalized_dice",
    "get",
    "hausdorff",
    "hd95",
    "iou",
    "lesion_detection",
    "matched_peak_share",
    "mcc",
    "mean_over",
    "negative_log_likelihood",
    "normalized_spectral_angle",
    "nsd",
    "nu_threshold",
    "panoptic_quality",
    "partial_auc",
    "pearson",
    "per_region_overlap",
    "pixel_statistics",
    "pr_curve",
    "precision",
    "quantile_threshold",
    "recall",
    "region_weights",
    "relative_volume_difference",
    "reliability_diagram",
    "roc_auc",
    "roc_curve",
    "score_statistics",
    "selector_concentration",
    "selector_entropy",
    "specificity",
    "spectral_angle",
    "spectral_cosine",
    "spectral_entropy_similarity",
    "top_mean",
    "two_stage",
    "volume_difference",
]

# The streams that a configuration can name.
STATES: dict[str, type[Stream]] = {
    "dice": Dice,
    "iou": Iou,
    "hd95": Hd95,
    "assd": Assd,
    "nsd": Nsd,
    "cl_dice": ClDice,
    "precision": Precision,
    "recall": Recall,
    "specificity": Specificity,
    "f_beta": FBeta,
    "mcc": Mcc,
    "accuracy": Accuracy,
    "cohen_kappa": CohenKappa,
    "generalized_dice": GeneralizedDice,
    "roc_auc": RocAucOfCases,
    "average_precision": AveragePrecisionOfCases,
    "f1_max": F1MaxOfCases,
    "fpr_at_tpr": FprAtTprOfCases,
    "partial_auc": PartialAucOfCases,
}


def get(name: str) -> type[Stream]:
    """The stream of this name.

    Raises:
        ValueError: if there is none; it names the nearest ones.
    """
    if name not in STATES:
        raise unknown("metric", name, STATES)
    return STATES[name]
