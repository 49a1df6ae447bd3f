"""clDice of two masks, with hard skeletons: for a batch, and over a stream of cases."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench.metrics._cases import static
from lossbench.metrics._examples import PerExample, overlap_filled
from lossbench.metrics._surfaces import check_masks
from lossbench.metrics._whole_cases import WholeCases
from lossbench.ops.sums import sum_pixels
from lossbench.ops.thinning import skeleton

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="ClDice")


def cl_dice(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    empty: str = "nan",
) -> PerExample:
    """Centerline Dice: how much of the skeleton of each mask lies within the other.

    `2 u v / (u + v)` with the precision `u = |S_p & T| / |S_p|` and the sensitivity
    `v = |S_t & P| / |S_t|` of the skeletons `S_p` of the prediction P and `S_t` of the label T, by
    `ops.skeleton`. A vessel counts by its length, whatever its width.

    Args:
        predictions: masks, of one to three spatial axes.
        labels: masks.
        empty: "nan" or "skip" (NaN; the mean with it or without), "worst" (1, for both agree) or
            "zero", where both masks are empty. Where one is, the value is 0.

    Returns:
        In [0, 1]: one value an example, their mean, and how many are undefined. Pixels of skeletons
        count alike, whatever their size; other skeletons give other values, by a few hundredths
        for thick objects.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> vessel = jnp.zeros((1, 5, 12), bool).at[0, 2].set(True)
        >>> broken = vessel.at[0, :, 4:8].set(False)  # 8 of 12 pixels, none of them wrong
        >>> print(cl_dice(broken, vessel).values)
        [0.8]

    Reference: Shit et al., clDice - a Novel Topology-Preserving Loss Function for Tubular Structure
    Segmentation, CVPR 2021.
    """
    axes = labels.ndim - 1
    if not 1 <= axes <= 3:
        raise ValueError(f"labels: expected one to three spatial axes, got shape {labels.shape}")
    check_masks(predictions, labels, [1.0] * axes)
    precision, of_prediction = _share(predictions, labels)
    sensitivity, of_label = _share(labels, predictions)
    both = precision + sensitivity
    values = 2 * precision * sensitivity / jnp.where(both > 0, both, 1)
    return overlap_filled(values, (of_prediction == 0) & (of_label == 0), empty)


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _share(
    mask: Bool[Array, " batch *space"], other: Bool[Array, " batch *space"]
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """The share of a mask's skeleton within another mask, 0 without a skeleton; and its length."""
    line = skeleton(mask).reshape(len(mask), -1)
    length = sum_pixels(line)
    within = sum_pixels(line & other.reshape(line.shape))
    return within / jnp.where(length > 0, length, 1), length


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ClDice(WholeCases):
    """Centerline Dice over a stream of whole cases; higher is better.

    See `metrics.cl_dice`. A case must come whole, as one example: a vessel that is cut has another
    skeleton. The mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> vessel = jnp.zeros((1, 5, 12), int).at[0, 2].set(1)
        >>> state = ClDice.empty(cases=1, num_classes=2)
        >>> state = state.update(vessel.at[0, :, 4:8].set(0), vessel, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.8
    """

    higher_is_better = True
    is_length = False

    name: str = static("cl_dice")

    @classmethod
    def empty(
        cls: type[State],
        *,
        cases: int,
        num_classes: int,
        spacing: Sequence[float | int] | None = None,
        empty: str = "nan",
    ) -> State:
        """A state that has seen nothing.

        Args:
            cases: how many there is room for.
            num_classes: number of classes, background included.
            spacing: changes nothing: pixels of a skeleton count alike.
            empty: what a class gets that has no pixel in the prediction and none in the labels, as
                in `metrics.cl_dice`: "nan", which "skip" means here as well, "worst" or "zero".

        Raises:
            ValueError: for another `empty`.
        """
        return cls._begin(cases, num_classes, empty=empty)

    def measure(
        self, predicted: Bool[Array, " batch *space"], true: Bool[Array, " batch *space"]
    ) -> PerExample:
        """The metric of two masks."""
        return cl_dice(predicted, true, empty=self.when_empty)
