"""Numeric kernels that losses and metrics share; they know arrays, not losses.

Dense arrays travel here as `batch pixels classes`, space flat. `classes` says how the class axis is
handled, `blocks` what is done if it is long.
"""

from lossbench.ops.components import connected_components
from lossbench.ops.distance import distance_transform, feature_transform
from lossbench.ops.morphology import dilate, erode, soft_skeleton, surface
from lossbench.ops.thinning import skeleton

__all__ = [
    "connected_components",
    "dilate",
    "distance_transform",
    "erode",
    "feature_transform",
    "skeleton",
    "soft_skeleton",
    "surface",
]
