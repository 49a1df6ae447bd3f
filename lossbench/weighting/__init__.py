"""Several losses at once: weights of losses, and combinations of their gradients.

Two forms, both pairs of pure functions `(init, update)`: a `Weighting` chooses a number for each
loss of a step; a combination is an optax transformation that turns gradients, stacked on a leading
axis of terms, into one: `optax.chain(weighting.pcgrad(), optax.adamw(1e-3))`.
"""

from lossbench.weighting._combination import combination, without_nonfinite
from lossbench.weighting._weighting import Weighting, get_weights
from lossbench.weighting.aligned_mtl import aligned_mtl, aligned_mtl_weighting
from lossbench.weighting.cagrad import cagrad, cagrad_weighting
from lossbench.weighting.catalog import WEIGHTINGS, Row, get
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
from lossbench.weighting.gradients import combined, cosines, gramian, part, per_term
from lossbench.weighting.history import coefficient_of_variation, dwa, soft_adapt
from lossbench.weighting.learned import softmax, uncertainty
from lossbench.weighting.min_norm import mgda, mgda_weighting
from lossbench.weighting.moco import moco
from lossbench.weighting.norms import gradnorm, last_layer_ratio
from lossbench.weighting.relobralo import relobralo
from lossbench.weighting.surgery import gradvac, gradvac_weighting, pcgrad, pcgrad_weighting

__all__ = [
    "WEIGHTINGS",
    "Row",
    "Weighting",
    "aligned_mtl",
    "aligned_mtl_weighting",
    "cagrad",
    "cagrad_weighting",
    "coefficient_of_variation",
    "combination",
    "combined",
    "config",
    "config_weighting",
    "constant",
    "cosines",
    "dual_projection",
    "dual_projection_weighting",
    "dwa",
    "fairgrad",
    "fairgrad_weighting",
    "famo",
    "geometric",
    "get",
    "get_weights",
    "graddrop",
    "gradnorm",
    "gradvac",
    "gradvac_weighting",
    "gramian",
    "imtl_g",
    "imtl_g_weighting",
    "last_layer_ratio",
    "mgda",
    "mgda_weighting",
    "moco",
    "nash_mtl",
    "nash_mtl_weighting",
    "part",
    "pcgrad",
    "pcgrad_weighting",
    "per_term",
    "random",
    "relobralo",
    "scheduled",
    "soft_adapt",
    "softmax",
    "stages",
    "stch",
    "uncertainty",
    "upgrad",
    "upgrad_weighting",
    "without_nonfinite",
]
