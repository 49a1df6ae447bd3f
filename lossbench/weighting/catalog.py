"""The one table of weightings; configurations, the command line, the cost and the tests read it.

A new weighting is a function in its family's file, a row here, and its name in `__init__.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from lossbench._names import find
from lossbench.weighting.aligned_mtl import aligned_mtl, aligned_mtl_weighting
from lossbench.weighting.cagrad import cagrad, cagrad_weighting
from lossbench.weighting.config import config, config_weighting
from lossbench.weighting.dual_cone import (
    dual_projection,
    dual_projection_weighting,
    upgrad,
    upgrad_weighting,
)
from lossbench.weighting.fair import (
    fairgrad,
    fairgrad_weighting,
    imtl_g,
    imtl_g_weighting,
    nash_mtl,
    nash_mtl_weighting,
)
from lossbench.weighting.famo import famo
from lossbench.weighting.fixed import constant, random, scheduled, stages
from lossbench.weighting.geometry import geometric, stch
from lossbench.weighting.graddrop import graddrop
from lossbench.weighting.history import coefficient_of_variation, dwa, soft_adapt
from lossbench.weighting.learned import softmax, uncertainty
from lossbench.weighting.min_norm import mgda, mgda_weighting
from lossbench.weighting.moco import moco
from lossbench.weighting.norms import gradnorm, last_layer_ratio
from lossbench.weighting.relobralo import relobralo
from lossbench.weighting.surgery import gradvac, gradvac_weighting, pcgrad, pcgrad_weighting


class Row(NamedTuple):
    """What a program may want to know of a weighting before it runs it.

    Attributes:
        function: options -> a `Weighting`, or an optax transformation of stacked gradients.
        form: "weights" (of losses, one backward pass), "norms" (the same, and needs the norms of
            the terms' gradients), "gramian" (weights of gradients) or "gradients" (something else
            than weights).
        paper: where it is from.
        positive: whether it refuses a loss that may be negative.
        weighting: for the form "gramian": options -> the `Weighting` inside the transformation.
    """

    function: Callable
    form: str
    paper: str
    positive: bool = False
    weighting: Callable | None = None

    @property
    def name(self) -> str:
        """The public name."""
        return self.function.__name__


WEIGHTINGS = {
    row.name: row
    for row in (
        Row(constant, "weights", ""),
        Row(scheduled, "weights", ""),
        Row(stages, "weights", ""),
        Row(random, "weights", "Lin et al., TMLR 2022"),
        Row(softmax, "weights", ""),
        Row(uncertainty, "weights", "Kendall et al., CVPR 2018", positive=True),
        Row(dwa, "weights", "Liu et al., CVPR 2019", positive=True),
        Row(soft_adapt, "weights", "Heydari et al., 2019"),
        Row(coefficient_of_variation, "weights", "Groenendijk et al., WACV 2021", positive=True),
        Row(relobralo, "weights", "Bischof and Kraus, 2021", positive=True),
        Row(famo, "weights", "Liu et al., NeurIPS 2023", positive=True),
        Row(geometric, "weights", "Chennupati et al., CVPR Workshops 2019", positive=True),
        Row(stch, "weights", "Lin et al., ICML 2024"),
        Row(gradnorm, "norms", "Chen et al., ICML 2018", positive=True),
        Row(last_layer_ratio, "norms", "Esser et al., CVPR 2021"),
        Row(mgda, "gramian", "Sener and Koltun, NeurIPS 2018", weighting=mgda_weighting),
        Row(cagrad, "gramian", "Liu et al., NeurIPS 2021", weighting=cagrad_weighting),
        Row(imtl_g, "gramian", "Liu et al., ICLR 2021", weighting=imtl_g_weighting),
        Row(nash_mtl, "gramian", "Navon et al., ICML 2022", weighting=nash_mtl_weighting),
        Row(fairgrad, "gramian", "Ban and Ji, ICML 2024", weighting=fairgrad_weighting),
        Row(upgrad, "gramian", "Quinton and Rey, 2024", weighting=upgrad_weighting),
        Row(
            dual_projection,
            "gramian",
            "Lopez-Paz and Ranzato, NeurIPS 2017",
            weighting=dual_projection_weighting,
        ),
        Row(pcgrad, "gramian", "Yu et al., NeurIPS 2020", weighting=pcgrad_weighting),
        Row(gradvac, "gramian", "Wang et al., ICLR 2021", weighting=gradvac_weighting),
        Row(graddrop, "gradients", "Chen et al., NeurIPS 2020"),
        Row(aligned_mtl, "gramian", "Senushkin et al., CVPR 2023", weighting=aligned_mtl_weighting),
        Row(config, "gramian", "Liu et al., ICLR 2025", weighting=config_weighting),
        Row(moco, "gradients", "Fernando et al., ICLR 2023"),
    )
}


def get(name: str) -> Callable:
    """The weighting of a name, or the function at `package.module:attribute`."""
    return find("weighting", name, {row.name: row.function for row in WEIGHTINGS.values()})
