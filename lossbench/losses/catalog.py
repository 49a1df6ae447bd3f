"""The one table of losses; configs, the command line, the bench and the tests read it.

A new loss is a function in its family's file, a row here, and its name in `__init__.py`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from lossbench._names import find
from lossbench.losses.blob import blob
from lossbench.losses.boundary import boundary
from lossbench.losses.boundary_dou import boundary_dou
from lossbench.losses.calibration import (
    brier,
    margin_label_smoothing,
    neighbor_aware_calibration,
)
from lossbench.losses.cc_dice import cc_dice
from lossbench.losses.cl_dice import cl_dice
from lossbench.losses.combo import combo
from lossbench.losses.cross_entropy import binary_cross_entropy, cross_entropy
from lossbench.losses.deep_sad import deep_sad
from lossbench.losses.dice import dice
from lossbench.losses.distance_weighted import distance_weighted_cross_entropy
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
from lossbench.losses.skeleton_recall import skeleton_recall
from lossbench.losses.spectra import spectral_angle, spectral_information_divergence
from lossbench.losses.svdd import svdd_one_class, svdd_soft_boundary
from lossbench.losses.top_k import top_k_cross_entropy
from lossbench.losses.tversky import focal_tversky, tversky
from lossbench.losses.unified_focal import asymmetric_focal, unified_focal
from lossbench.losses.wasserstein_dice import wasserstein_dice

_ARRAYS = ("logits", "labels")
_SPHERE = ("embeddings", "center")
_PAIR = ("reconstructed", "image")


class Row(NamedTuple):
    """What a program may want to know of a loss before it runs it.

    Attributes:
        function: the loss; its name is the row's name.
        family: "pixel-wise", "region", "distance", "topology", "instance", "calibration",
            "anomaly", "spectral" or "regularizer", which is of parameters: a scalar, no batch.
        soft_labels: "yes", "biased" (accepted, but the label is not the optimum) or "no".
        paper: where it is from.
        needs: the arrays it cannot do without, and the numbers that come with a batch, such as a
            radius.
        lower_bound: the least value; minus infinity if that depends on the arrays.
        grows_with_size: true if the value grows with the image for the same picture.
    """

    function: Callable
    family: str
    soft_labels: str
    paper: str
    needs: tuple[str, ...] = _ARRAYS
    lower_bound: float = 0.0
    grows_with_size: bool = False

    @property
    def name(self) -> str:
        """The public name."""
        return self.function.__name__

    @property
    def may_be_negative(self) -> bool:
        """Whether weightings that take logarithms must refuse it."""
        return self.lower_bound < 0


CATALOG = {
    row.name: row
    for row in (
        Row(cross_entropy, "pixel-wise", "yes", "Bishop 2006"),
        Row(binary_cross_entropy, "pixel-wise", "yes", "Bishop 2006"),
        Row(focal, "pixel-wise", "biased", "Lin et al., ICCV 2017"),
        Row(sigmoid_focal, "pixel-wise", "biased", "Lin et al., ICCV 2017"),
        Row(asymmetric_focal, "pixel-wise", "biased", "Yeung et al., CMIG 2022"),
        Row(top_k_cross_entropy, "pixel-wise", "biased", "Wu et al., 2016"),
        Row(poly_cross_entropy, "pixel-wise", "biased", "Leng et al., ICLR 2022"),
        Row(generalized_cross_entropy, "pixel-wise", "biased", "Zhang and Sabuncu, NeurIPS 2018"),
        Row(symmetric_cross_entropy, "pixel-wise", "biased", "Wang et al., ICCV 2019"),
        Row(distance_weighted_cross_entropy, "pixel-wise", "no", "Caliva et al., MIDL 2019"),
        Row(dice, "region", "yes", "Milletari et al., 3DV 2016"),
        Row(jaccard, "region", "yes", "Rahman and Wang, ISVC 2016"),
        Row(generalized_dice, "region", "yes", "Sudre et al., DLMIA 2017"),
        Row(tversky, "region", "yes", "Salehi et al., MLMI 2017"),
        Row(focal_tversky, "region", "yes", "Abraham and Khan, ISBI 2019"),
        Row(unified_focal, "region", "biased", "Yeung et al., CMIG 2022"),
        Row(combo, "region", "biased", "Taghanaki et al., CMIG 2019"),
        Row(lovasz_softmax, "region", "no", "Berman et al., CVPR 2018"),
        Row(lovasz_hinge, "region", "no", "Yu and Blaschko, ICML 2015"),
        Row(mcc, "region", "yes", "Abhishek and Hamarneh, ISBI 2021"),
        Row(sensitivity_specificity, "region", "biased", "Brosch et al., MICCAI 2015"),
        Row(
            wasserstein_dice,
            "region",
            "biased",
            "Fidon et al., BrainLes 2017",
            needs=(*_ARRAYS, "distances"),
        ),
        Row(boundary_dou, "region", "yes", "Sun et al., MICCAI 2023"),
        Row(boundary, "distance", "no", "Kervadec et al., MIDL 2019", lower_bound=-1.0),
        Row(hausdorff_dt, "distance", "yes", "Karimi and Salcudean, TMI 2020"),
        Row(
            log_hausdorff_dt,
            "distance",
            "yes",
            "Karimi and Salcudean, TMI 2020",
            grows_with_size=True,
        ),
        Row(
            hausdorff_er, "distance", "yes", "Karimi and Salcudean, TMI 2020", grows_with_size=True
        ),
        Row(signed_distance_regression, "distance", "no", "Xue et al., AAAI 2020"),
        Row(cl_dice, "topology", "biased", "Shit et al., CVPR 2021"),
        Row(skeleton_recall, "topology", "no", "Kirchhoff et al., ECCV 2024"),
        Row(blob, "instance", "no", "Kofler et al., IPMI 2023"),
        Row(cc_dice, "instance", "no", "Jaus et al., AAAI 2025"),
        Row(brier, "calibration", "yes", "Brier 1950"),
        Row(margin_label_smoothing, "calibration", "yes", "Liu et al., CVPR 2022"),
        Row(neighbor_aware_calibration, "calibration", "biased", "Murugesan et al., MICCAI 2023"),
        Row(svdd_one_class, "anomaly", "no", "Ruff et al., ICML 2018", needs=_SPHERE),
        Row(
            svdd_soft_boundary,
            "anomaly",
            "no",
            "Ruff et al., ICML 2018",
            needs=(*_SPHERE, "radius"),
        ),
        Row(deep_sad, "anomaly", "no", "Ruff et al., ICLR 2020", needs=(*_SPHERE, "labels")),
        Row(
            hypersphere_classifier,
            "anomaly",
            "no",
            "Ruff et al., 2020",
            needs=(*_SPHERE, "labels"),
        ),
        Row(reconstruction, "anomaly", "no", "Hinton and Salakhutdinov, 2006", needs=_PAIR),
        Row(spectral_angle, "spectral", "no", "Kruse et al., RSE 1993", needs=_PAIR),
        Row(spectral_information_divergence, "spectral", "no", "Chang, TIT 2000", needs=_PAIR),
        Row(
            foreground_contrast,
            "spectral",
            "no",
            "cuvis-ai 2026",
            needs=("colors", "labels"),
            lower_bound=-math.inf,
        ),
        Row(
            orthogonality,
            "regularizer",
            "no",
            "Bansal et al., NeurIPS 2018",
            needs=("components",),
        ),
        Row(
            distinctness,
            "regularizer",
            "no",
            "cuvis-ai 2026",
            needs=("selector_weights",),
            lower_bound=-1.0,
        ),
        Row(
            selector_entropy,
            "regularizer",
            "no",
            "Grandvalet and Bengio, NeurIPS 2004",
            needs=("selector_weights",),
            lower_bound=-math.inf,
        ),
        Row(
            selector_diversity,
            "regularizer",
            "no",
            "cuvis-ai 2026",
            needs=("selector_weights",),
            lower_bound=-math.inf,
        ),
    )
}


def get(name: str) -> Callable:
    """The loss of this name.

    Args:
        name: a row of the catalog; or a loss of your own, as `package.module:function` or
            `path/to/file.py:function`.

    Raises:
        ValueError: if there is none; it names the nearest ones.

    Example:
        >>> get("dice").__name__
        'dice'
    """
    return find("loss", name, {row.name: row.function for row in CATALOG.values()})
