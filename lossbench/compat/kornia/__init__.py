"""kornia 0.9.0's losses for segmentation, computed by `lossbench.losses`.

Functions and classes under kornia's names, with its arguments and layout: channels first, class ids
without a channel axis, one number for the batch. The classes are the functions with their options
bound.

Not reproduced:

- `focal_loss` and `dice_loss` of one channel, whose softmax is 1 whatever the logit: an error here
  that names the binary loss, 0 or a constant there.
- `lovasz_hinge_loss` of labels that are neither 0 nor 1, which kornia neither refuses nor ignores;
  `lovasz_softmax_loss` of labels outside the classes.
- Class weights that are negative or sum to 0, beyond what the docstrings say.
- Half precision as the result's dtype: it is float32 here.
- Losses that are not pixel-wise or region losses of segmentation: `HausdorffERLoss`, `ssim_loss`,
  `total_variation` and the robust regression losses.

Reproduced, though their names promise something else: `dice_loss` with its default
`average="micro"` and without weights is the mean of `1 - p` of the true class, a mean absolute
error, because the sums over all classes of predictions and labels are both the number of pixels;
`focal_loss` with "mean" divides by pixels times classes, ignored pixels included.
"""

from lossbench.compat.kornia._focal import (
    BinaryFocalLossWithLogits,
    FocalLoss,
    binary_focal_loss_with_logits,
    focal_loss,
)
from lossbench.compat.kornia._region import (
    DiceLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    TverskyLoss,
    dice_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    tversky_loss,
)

__all__ = [
    "BinaryFocalLossWithLogits",
    "DiceLoss",
    "FocalLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "TverskyLoss",
    "binary_focal_loss_with_logits",
    "dice_loss",
    "focal_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "tversky_loss",
]
