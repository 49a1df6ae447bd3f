"""Losses: pure functions, arrays in, one value per example out.

`import lossbench.losses` needs nothing but JAX and jaxtyping.
"""

from lossbench.losses.blob import blob, component_map
from lossbench.losses.boundary import (
    boundary,
    boundary_optimum,
    boundary_schedule,
    signed_distance_map,
)
from lossbench.losses.boundary_dou import boundary_dou
from lossbench.losses.calibration import (
    brier,
    margin_label_smoothing,
    neighbor_aware_calibration,
)
from lossbench.losses.catalog import CATALOG, get
from lossbench.losses.cc_dice import cc_dice, component_regions
from lossbench.losses.cl_dice import cl_dice
from lossbench.losses.combo import combo
from lossbench.losses.cross_entropy import binary_cross_entropy, cross_entropy
from lossbench.losses.deep_sad import deep_sad
from lossbench.losses.deep_supervision import deep_supervision
from lossbench.losses.dice import dice
from lossbench.losses.distance_weighted import (
    distance_weighted_cross_entropy,
    unet_weight_map,
)
from lossbench.losses.focal import focal, sigmoid_focal
from lossbench.losses.foreground_contrast import foreground_contrast
from lossbench.losses.generalized_dice import generalized_dice
from lossbench.losses.hausdorff import hausdorff_dt, hausdorff_er, log_hausdorff_dt
from lossbench.losses.hypersphere_classifier import hypersphere_classifier
from lossbench.losses.jaccard import jaccard
from lossbench.losses.lovasz import lovasz_hinge, lovasz_softmax
from lossbench.losses.mcc import mcc
from lossbench.losses.noise_robust import generalized_cross_entropy, symmetric_cross_entropy
from lossbench.losses.orthogonality import orthogonality
from lossbench.losses.poly import poly_cross_entropy
from lossbench.losses.reconstruction import reconstruction
from lossbench.losses.selectors import distinctness, selector_diversity, selector_entropy
from lossbench.losses.sensitivity_specificity import sensitivity_specificity
from lossbench.losses.signed_distance_regression import signed_distance_regression
from lossbench.losses.skeleton_recall import skeleton_recall, tubed_skeleton
from lossbench.losses.spectra import spectral_angle, spectral_information_divergence
from lossbench.losses.svdd import (
    learned_radius,
    svdd_distance,
    svdd_one_class,
    svdd_soft_boundary,
)
from lossbench.losses.top_k import top_k_cross_entropy
from lossbench.losses.tversky import focal_tversky, tversky
from lossbench.losses.unified_focal import asymmetric_focal, unified_focal
from lossbench.losses.wasserstein_dice import wasserstein_dice

__all__ = [
    "CATALOG",
    "asymmetric_focal",
    "binary_cross_entropy",
    "blob",
    "boundary",
    "boundary_dou",
    "boundary_optimum",
    "boundary_schedule",
    "brier",
    "cc_dice",
    "cl_dice",
    "combo",
    "component_map",
    "component_regions",
    "cross_entropy",
    "deep_sad",
    "deep_supervision",
    "dice",
    "distance_weighted_cross_entropy",
    "distinctness",
    "focal",
    "focal_tversky",
    "foreground_contrast",
    "generalized_cross_entropy",
    "generalized_dice",
    "get",
    "hausdorff_dt",
    "hausdorff_er",
    "hypersphere_classifier",
    "jaccard",
    "learned_radius",
    "log_hausdorff_dt",
    "lovasz_hinge",
    "lovasz_softmax",
    "margin_label_smoothing",
    "mcc",
    "neighbor_aware_calibration",
    "orthogonality",
    "poly_cross_entropy",
    "reconstruction",
    "selector_diversity",
    "selector_entropy",
    "sensitivity_specificity",
    "sigmoid_focal",
    "signed_distance_map",
    "signed_distance_regression",
    "skeleton_recall",
    "spectral_angle",
    "spectral_information_divergence",
    "svdd_distance",
    "svdd_one_class",
    "svdd_soft_boundary",
    "symmetric_cross_entropy",
    "top_k_cross_entropy",
    "tubed_skeleton",
    "tversky",
    "unet_weight_map",
    "unified_focal",
    "wasserstein_dice",
]
