"""The one table of losses; configs, the command line, the bench and the tests read it.

A new loss is a function in its family's file, a row here, and its name in `__init__.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from lossbench._names import find
from lossbench.losses.calibration import (
    brier,
    margin_label_smoothing,
    neighbor_aware_calibration,
)
from lossbench.losses.combo import combo
from lossbench.losses.cross_entropy import binary_cross_entropy, cross_entropy
from lossbench.losses.dice import dice
from lossbench.losses.focal import focal, sigmoid_focal
from lossbench.losses.generalized_dice import generalized_dice
from lossbench.losses.jaccard import jaccard
from lossbench.losses.lovasz import lovasz_hinge, lovasz_softmax
from lossbench.losses.mcc import mcc
from lossbench.losses.noise_robust import generalized_cross_entropy, symmetric_cross_entropy
from lossbench.losses.poly import poly_cross_entropy
from lossbench.losses.sensitivity_specificity import sensitivity_specificity
from lossbench.losses.top_k import top_k_cross_entropy
from lossbench.losses.tversky import focal_tversky, tversky
from lossbench.losses.unified_focal import asymmetric_focal, unified_focal
from lossbench.losses.wasserstein_dice import wasserstein_dice


class Row(NamedTuple):
    """What a program may want to know of a loss before it runs it.

    Attributes:
        function: the loss; its name is the row's name.
        family: "pixel-wise", "region" or "calibration".
        needs: the arrays it cannot do without.
        lower_bound: the least value.
        may_be_negative: true for losses that logarithmic weightings must refuse.
        grows_with_size: true if the value grows with the image for the same picture.
        soft_labels: "yes", "biased" (accepted, but the label is not the optimum) or "no".
        paper: where it is from.
    """

    function: Callable
    family: str
    needs: tuple[str, ...]
    lower_bound: float
    may_be_negative: bool
    grows_with_size: bool
    soft_labels: str
    paper: str

    @property
    def name(self) -> str:
        """The public name."""
        return self.function.__name__


_ARRAYS = ("logits", "labels")
CATALOG = {
    row.name: row
    for row in (
        Row(cross_entropy, "pixel-wise", _ARRAYS, 0.0, False, False, "yes", "Bishop 2006"),
        Row(binary_cross_entropy, "pixel-wise", _ARRAYS, 0.0, False, False, "yes", "Bishop 2006"),
        Row(focal, "pixel-wise", _ARRAYS, 0.0, False, False, "biased", "Lin et al., ICCV 2017"),
        Row(
            sigmoid_focal,
            "pixel-wise",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Lin et al., ICCV 2017",
        ),
        Row(
            asymmetric_focal,
            "pixel-wise",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Yeung et al., CMIG 2022",
        ),
        Row(
            top_k_cross_entropy,
            "pixel-wise",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Wu et al., 2016",
        ),
        Row(
            poly_cross_entropy,
            "pixel-wise",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Leng et al., ICLR 2022",
        ),
        Row(
            generalized_cross_entropy,
            "pixel-wise",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Zhang and Sabuncu, NeurIPS 2018",
        ),
        Row(
            symmetric_cross_entropy,
            "pixel-wise",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Wang et al., ICCV 2019",
        ),
        Row(dice, "region", _ARRAYS, 0.0, False, False, "yes", "Milletari et al., 3DV 2016"),
        Row(jaccard, "region", _ARRAYS, 0.0, False, False, "yes", "Rahman and Wang, ISVC 2016"),
        Row(
            generalized_dice,
            "region",
            _ARRAYS,
            0.0,
            False,
            False,
            "yes",
            "Sudre et al., DLMIA 2017",
        ),
        Row(tversky, "region", _ARRAYS, 0.0, False, False, "yes", "Salehi et al., MLMI 2017"),
        Row(
            focal_tversky,
            "region",
            _ARRAYS,
            0.0,
            False,
            False,
            "yes",
            "Abraham and Khan, ISBI 2019",
        ),
        Row(
            unified_focal, "region", _ARRAYS, 0.0, False, False, "biased", "Yeung et al., CMIG 2022"
        ),
        Row(combo, "region", _ARRAYS, 0.0, False, False, "biased", "Taghanaki et al., CMIG 2019"),
        Row(lovasz_softmax, "region", _ARRAYS, 0.0, False, False, "no", "Berman et al., CVPR 2018"),
        Row(lovasz_hinge, "region", _ARRAYS, 0.0, False, False, "no", "Yu and Blaschko, ICML 2015"),
        Row(mcc, "region", _ARRAYS, 0.0, False, False, "yes", "Abhishek and Hamarneh, ISBI 2021"),
        Row(
            sensitivity_specificity,
            "region",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Brosch et al., MICCAI 2015",
        ),
        Row(
            wasserstein_dice,
            "region",
            (*_ARRAYS, "distances"),
            0.0,
            False,
            False,
            "biased",
            "Fidon et al., BrainLes 2017",
        ),
        Row(brier, "calibration", _ARRAYS, 0.0, False, False, "yes", "Brier 1950"),
        Row(
            margin_label_smoothing,
            "calibration",
            _ARRAYS,
            0.0,
            False,
            False,
            "yes",
            "Liu et al., CVPR 2022",
        ),
        Row(
            neighbor_aware_calibration,
            "calibration",
            _ARRAYS,
            0.0,
            False,
            False,
            "biased",
            "Murugesan et al., MICCAI 2023",
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
