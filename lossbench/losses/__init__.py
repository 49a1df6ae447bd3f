"""Losses: pure functions, arrays in, one value per example out.

`import lossbench.losses` needs nothing but JAX and jaxtyping.
"""

from lossbench.losses.catalog import CATALOG, get
from lossbench.losses.cross_entropy import binary_cross_entropy, cross_entropy
from lossbench.losses.dice import dice
from lossbench.losses.focal import focal

__all__ = ["CATALOG", "binary_cross_entropy", "cross_entropy", "dice", "focal", "get"]
