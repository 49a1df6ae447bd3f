"""Several losses at once: weights of losses, and combinations of their gradients.

Two forms, both pairs of pure functions `(init, update)`: a `Weighting` chooses a number for each
loss of a step; a combination is an optax transformation that turns gradients, stacked on a leading
axis of terms, into one: `optax.chain(weighting.pcgrad(), optax.adamw(1e-3))`.
"""

from lossbench.weighting._weighting import Weighting, get_weights
from lossbench.weighting.catalog import WEIGHTINGS, Row, get
from lossbench.weighting.gradients import combined, cosines, gramian, part, per_term

__all__ = [
    "WEIGHTINGS",
    "Row",
    "Weighting",
    "combined",
    "cosines",
    "get",
    "get_weights",
    "gramian",
    "part",
    "per_term",
]
