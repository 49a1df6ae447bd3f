"""optax 0.2.8's losses for segmentation, computed by `lossbench.losses`.

The layout is optax's: classes last (or along `axis`), any leading axes, and one value for each
element that is left, to be averaged by the caller. The numbers come back in float32 at least, also
for logits of half precision, whose dtype optax keeps.

Not reproduced:

- `apply_softmax=False` looks at the values of the predictions in optax, and so fails under `jit`;
  `binary_dice_loss(apply_sigmoid=False)` fails unless every probability is 1. Both work here, and
  nobody checks that probabilities sum to 1.
- A class without label and prediction with `smooth=0` is NaN in optax and costs 0 here.
- A softmax over one class is an error here and costs 0 there.
- An integer label that `where` excludes costs 0 here, as the same label does as one-hot; optax
  returns the normalizer minus the excluded logit. A label outside the classes is NaN or wraps
  around there, and is undefined here (`lossbench.debug_checks()` finds it).
- `dice_loss(axis=...)` with the axis of the classes among the axes is refused.

Reproduced, though its name promises another loss: `multiclass_generalized_dice_loss` is a weighted
mean of the classes' ratios, in which a class absent from the batch takes nearly all the weight, not
the one ratio of Sudre et al.; that is `losses.generalized_dice`. So is `dice_loss` of
`[batch, height, width]`: its last axis are the classes, whatever its documentation says of binary
arrays; give it `x[..., None]`, or use `binary_dice_loss`.
"""

from lossbench.compat.optax._classification import (
    poly_loss_cross_entropy,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
)
from lossbench.compat.optax._segmentation import (
    binary_dice_loss,
    dice_loss,
    multiclass_generalized_dice_loss,
)

__all__ = [
    "binary_dice_loss",
    "dice_loss",
    "multiclass_generalized_dice_loss",
    "poly_loss_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
]
