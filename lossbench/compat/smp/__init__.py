"""segmentation-models-pytorch 0.6.0's losses, computed by `lossbench.losses`.

smp's names, arguments and layout: channels first, and one number for the batch, over which all
sums run.

The modes: "binary" takes logits and labels of equally many elements (`batch 1 *space`, the labels
perhaps without the 1), "multiclass" logits `batch classes *space` and class ids `batch *space`,
"multilabel" logits and one mask a class of the same shape. `ignore_index` is a value of the labels;
in "multilabel" it is looked up for each class by itself.

Not reproduced:

- `SoftCrossEntropyLoss()` fails in smp with its own default `smooth_factor=None`; here that is 0.
- `FocalLoss("multilabel", ignore_index=...)` fails in smp; here each element counts by itself.
- `FocalLoss("binary", reduction="none", ignore_index=...)` returns as many numbers as are not
  ignored, a shape that depends on values: an error here.
- `FocalLoss` of several classes with `class_weights` and a reduction "none" or "batchwise_mean"
  multiplies the weights with the last axis of the image: an error here.
- `LovaszLoss("multiclass")` of a batch ignored whole is an array without elements, and `FocalLoss`
  is NaN; both cost 0 here.
- `eps` as the least denominator of the region losses; it matters where a denominator is below it.
- A gradient that is NaN or infinite in smp, as at `log_loss=True` with an overlap of exactly 0, at
  `gamma < 1` with a pixel won outright, and at a mean of exactly 0 to the power of Tversky's
  `gamma < 1`, is finite here.
- A softmax over one class is an error here.

Reproduced, though one may not expect it: `FocalLoss("multiclass")` is a sigmoid focal loss of each
class, not a softmax (that is `losses.focal`), and its `from_logits=False` takes the logarithm of a
probability for the logit of a sigmoid; region losses charge nothing for what is given to a class
that the batch has not, and count it in the mean; the means of `SoftCrossEntropyLoss` and
`SoftBCEWithLogitsLoss` count ignored pixels; `LovaszLoss("multilabel")` is one problem over the
pixels of all classes; `TverskyLoss` raises the mean over classes to the power of gamma;
`LovaszLoss(from_logits=False)` takes logits all the same.
"""

from lossbench.compat.smp._focal import FocalLoss
from lossbench.compat.smp._pixelwise import SoftBCEWithLogitsLoss, SoftCrossEntropyLoss
from lossbench.compat.smp._region import DiceLoss, JaccardLoss, LovaszLoss, MCCLoss, TverskyLoss

__all__ = [
    "DiceLoss",
    "FocalLoss",
    "JaccardLoss",
    "LovaszLoss",
    "MCCLoss",
    "SoftBCEWithLogitsLoss",
    "SoftCrossEntropyLoss",
    "TverskyLoss",
]
