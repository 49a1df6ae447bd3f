"""MONAI's segmentation losses, as of MONAI 1.6.1: `batch channel *space` in, a scalar out.

The classes take MONAI's arguments under MONAI's names and defaults and are called with JAX arrays,
inside `jit` and `grad` as well; `other_act` is a JAX function. Values and gradients are MONAI's.

>>> import jax.numpy as jnp
>>> from lossbench.compat import monai
>>> logits = jnp.zeros((1, 2, 4)).at[:, 1, 2:].set(2.0)  # batch, channel, space
>>> target = jnp.array([[[0, 0, 1, 1]]])
>>> print(f"{monai.DiceCELoss(to_onehot_y=True, softmax=True)(logits, target):.3f}")
0.731

Reproduced, though surprising (each class says so): the factor that `ignore_index` brings into the
mean of `FocalLoss`; `alpha` dropped by a softmax without background, and that softmax taken after
the background is gone; the softmax's cross entropy in `DiceCELoss(sigmoid=True)`; half the
smoothing in `DiceLoss(jaccard=True)`; background missed under the mask of `MaskedDiceLoss`; the
weights and the smoothing of `GeneralizedDiceLoss`.

Not reproduced:

- NaN and infinite gradients: a `FocalLoss` with `gamma < 1` on a saturated softmax, the power of
  `AsymmetricFocalTverskyLoss` where nothing is wrong, empty denominators with `smooth_dr=0` (they
  cost 0 here). They would end a training.
- `use_softmax=True` over one channel that counts in `FocalLoss`: the loss is 0 and trains nothing,
  so it is an error.
- Inputs without a spatial axis, `batch channel`, in losses over regions and in
  `FocalLoss(reduction="sum")`: PyTorch reads "no axes" as "all axes", so that MONAI sums over batch
  and classes. An error says to add an axis.
- `ignore_index` naming a channel of a target that is not one-hot: pixels with any share of that
  class are left out, not a share of each pixel.
- Checks of values, such as an id outside the classes: `lossbench.debug_checks()` has them.
- Negative inputs of losses over regions, which only `other_act` can give, with `soft_label=True`
  or where a denominator becomes negative.

- Distances rounded down to whole pixels, which the Hausdorff losses do to the target's where that
  is of an integer type and not turned into masks.
- `SoftDiceclDiceLoss(reduction="none")`, which adds a value a class to a value an example, each to
  each: an error.

Losses that segment nothing are not here.
"""

from lossbench.compat.monai._cl_dice import SoftclDiceLoss, SoftDiceclDiceLoss
from lossbench.compat.monai._compound import DiceCELoss, DiceFocalLoss, GeneralizedDiceFocalLoss
from lossbench.compat.monai._dice import DiceLoss, MaskedDiceLoss
from lossbench.compat.monai._distance import BoundaryLoss, HausdorffDTLoss, LogHausdorffDTLoss
from lossbench.compat.monai._focal import FocalLoss
from lossbench.compat.monai._generalized import (
    GeneralizedDiceLoss,
    GeneralizedWassersteinDiceLoss,
)
from lossbench.compat.monai._other import DeepSupervisionLoss, NACLLoss
from lossbench.compat.monai._overlap import MCCLoss, TverskyLoss
from lossbench.compat.monai._unified_focal import (
    AsymmetricFocalLoss,
    AsymmetricFocalTverskyLoss,
    AsymmetricUnifiedFocalLoss,
)

__all__ = [
    "AsymmetricFocalLoss",
    "AsymmetricFocalTverskyLoss",
    "AsymmetricUnifiedFocalLoss",
    "BoundaryLoss",
    "DeepSupervisionLoss",
    "DiceCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "FocalLoss",
    "GeneralizedDiceFocalLoss",
    "GeneralizedDiceLoss",
    "GeneralizedWassersteinDiceLoss",
    "HausdorffDTLoss",
    "LogHausdorffDTLoss",
    "MCCLoss",
    "MaskedDiceLoss",
    "NACLLoss",
    "SoftDiceclDiceLoss",
    "SoftclDiceLoss",
    "TverskyLoss",
]
