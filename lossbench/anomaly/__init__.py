"""Anomaly detection around the losses: statistics, preprocessing, classical detectors, bands.

Detectors are fitted by `fit_...(x, where=...)` and are trees of arrays with `scores(x)`, of which
higher is more anomalous. `x` is `*space channels`: a scene, several, or the rows of a table.
"""

from lossbench.anomaly.band_scores import (
    SelectedBands,
    auc_scores,
    fisher_scores,
    mutual_information_scores,
    select_bands,
)
from lossbench.anomaly.collapse import Limits
from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.lad import Lad, fit_lad
from lossbench.anomaly.pca_reconstruction import PcaReconstruction, fit_pca_reconstruction
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from lossbench.anomaly.rx import Rx, fit_rx
from lossbench.anomaly.rx_local import rx_local
from lossbench.anomaly.spectral_angle_mapper import SpectralAngleMapper, fit_spectral_angle_mapper
from lossbench.anomaly.sphere import svdd_center, svdd_radius
from lossbench.anomaly.statistics import Covariance, Moments, Quantiles, Range
from lossbench.anomaly.svdd_options import SvddOptions

__all__ = [
    "Covariance",
    "DeepSvdd",
    "Lad",
    "Limits",
    "Moments",
    "PcaReconstruction",
    "Pipeline",
    "Preprocessed",
    "Quantiles",
    "Range",
    "Rx",
    "SelectedBands",
    "SpectralAngleMapper",
    "SvddOptions",
    "auc_scores",
    "fisher_scores",
    "fit_lad",
    "fit_pca_reconstruction",
    "fit_rx",
    "fit_spectral_angle_mapper",
    "mutual_information_scores",
    "rx_local",
    "select_bands",
    "svdd_center",
    "svdd_radius",
]
