"""The confusion matrix of hard predictions: for a batch, and over a stream of cases."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from lossbench.metrics._cases import static
from lossbench.metrics._counted_cases import CountedCases
from lossbench.metrics._counts import count_pairs

LARGEST = 2**31 - 1


def confusion_matrix(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Int[Array, "batch classes classes"]:
    """Confusion matrix: pixels of each pair of a true class (row) and a predicted one (column).

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise. A pixel with a label or prediction that is no class is in no cell.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One matrix an example, exact below 2^31; rows are the truth, as in scikit-learn and
        torchmetrics. Defined for every input: 0 where nothing is counted.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]])
        >>> print(confusion_matrix(predictions, labels, num_classes=2))
        [[[2 1]
          [0 1]]]

    Reference: Kohavi and Provost, Glossary of Terms, Machine Learning 30, 1998.
    """
    pairs = count_pairs(predictions, labels, num_classes=num_classes, where=where)
    return pairs[:, :num_classes, :num_classes]


class Confusion(NamedTuple):
    """What a stream of confusion matrices comes to.

    Attributes:
        per_case: one matrix a case, rows true and columns predicted; 0 for a case not seen.
        pooled: their sum; 2^31 - 1 in a cell that has as much or more, whose sum `per_case` gives
            in 64 bits on the host.
        seen: which cases were seen.
    """

    per_case: Int[Array, "cases classes classes"]
    pooled: Int[Array, "classes classes"]
    seen: Bool[Array, " cases"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ConfusionMatrix(CountedCases):
    """Confusion matrices over a stream of cases. It comes to counts and so is no score to rank by.

    Example:
        >>> import jax.numpy as jnp
        >>> state = ConfusionMatrix.empty(cases=1, num_classes=2)
        >>> for piece in ([0, 1], [1, 0]):  # one case in two pieces
        ...     state = state.update(jnp.array([piece]), jnp.array([[0, 1]]), case=jnp.array([0]))
        >>> print(state.compute().pooled)
        [[1 1]
         [1 1]]
    """

    count = staticmethod(confusion_matrix)

    name: str = static("confusion_matrix")

    def compute(self) -> Confusion:
        """The matrices of what was seen. Pure: calling it twice changes nothing."""
        return Confusion(self.counts, _sum_of_cases(self.counts), self.seen)


def _sum_of_cases(counts: Int[Array, "cases ..."]) -> Int[Array, "..."]:
    """The sum over cases, as two halves that cannot overflow below 2^15 cases."""
    low = jnp.sum(counts & 0xFFFF, axis=0, dtype=jnp.int32)
    high = jnp.sum(counts >> 16, axis=0, dtype=jnp.int32) + (low >> 16)
    return jnp.where(high < 2**15, (high << 16) + (low & 0xFFFF), LARGEST)
