"""The loss nodes of cuvis-ai, as of 0.19.3: channels last, scalars out; and its pipelines.

A node becomes a function of its input ports, under their names, that returns the value of its port
`loss`. `read_pipeline` turns the loss nodes of a pipeline's YAML into an `Objective`.

>>> import jax.numpy as jnp
>>> from lossbench.compat import cuvis
>>> scores = jnp.zeros((1, 2, 2, 1)).at[0, 0, 0, 0].set(3.0)
>>> mask = jnp.zeros((1, 2, 2, 1), bool).at[0, 0, 0, 0].set(True)
>>> print(f"{cuvis.AnomalyBCEWithLogits(weight=10.0)(scores, mask):.3f}")
5.320

Not reproduced: NaN (`CrossEntropyLoss` of nothing but ignored pixels costs 0 here, as does
`DistinctnessLoss` of selectors that share no channel), and errors about values, such as an id
outside the classes (`lossbench.debug_checks()` has them). The arguments `name` and
`execution_stages` of a node belong to its pipeline and are left out. Each node says where it
deviates.

Names have changed between versions of cuvis-ai: `ConcreteBandSelector`, of 0.3 and before, is
`ConcreteChannelMixer` since 0.4, with the same parameters. Both are networks and no losses; what
they give as `selection_weights` is what `DistinctnessLoss` takes.
"""

from lossbench.compat.cuvis._anomaly import (
    DeepSVDDSoftBoundaryLoss,
    DistinctnessLoss,
    ForegroundContrastLoss,
    MSEReconstructionLoss,
    OrthogonalityLoss,
    SelectorDiversityRegularizer,
    SelectorEntropyRegularizer,
)
from lossbench.compat.cuvis._nodes import (
    AnomalyBCEWithLogits,
    CrossEntropyLoss,
    DiceLoss,
    IoULoss,
)
from lossbench.compat.cuvis._pipeline import read_pipeline

__all__ = [
    "AnomalyBCEWithLogits",
    "CrossEntropyLoss",
    "DeepSVDDSoftBoundaryLoss",
    "DiceLoss",
    "DistinctnessLoss",
    "ForegroundContrastLoss",
    "IoULoss",
    "MSEReconstructionLoss",
    "OrthogonalityLoss",
    "SelectorDiversityRegularizer",
    "SelectorEntropyRegularizer",
    "read_pipeline",
]
