"""The one table of losses; configs, the command line, the bench and the tests read it.

A new loss is a function in its family's file, a row here, and its name in `__init__.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from lossbench._names import find
from lossbench.losses.cross_entropy import binary_cross_entropy, cross_entropy
from lossbench.losses.dice import dice
from lossbench.losses.focal import focal


class Row(NamedTuple):
    """What a program may want to know of a loss before it runs it.

    Attributes:
        function: the loss; its name is the row's name.
        family: "pixel-wise" or "region".
        needs: the arrays it cannot do without.
        lower_bound: the least value.
        may_be_negative: true for losses that logarithmic weightings must refuse.
        grows_with_size: true if the value grows with the image for the same picture.
        soft_labels: "yes", "biased" (accepted, but the label is not the optimum) or "no".
        paper: where it is from.
    """

    function: Callable
    family: str
    needs: tuple[str, ...]
    lower_bound: float
    may_be_negative: bool
    grows_with_size: bool
    soft_labels: str
    paper: str

    @property
    def name(self) -> str:
        """The public name."""
        return self.function.__name__


_ARRAYS = ("logits", "labels")
CATALOG = {
    row.name: row
    for row in (
        Row(cross_entropy, "pixel-wise", _ARRAYS, 0.0, False, False, "yes", "Bishop 2006"),
        Row(binary_cross_entropy, "pixel-wise", _ARRAYS, 0.0, False, False, "yes", "Bishop 2006"),
        Row(focal, "pixel-wise", _ARRAYS, 0.0, False, False, "biased", "Lin et al., ICCV 2017"),
        Row(dice, "region", _ARRAYS, 0.0, False, False, "biased", "Milletari et al., 3DV 2016"),
    )
}


def get(name: str) -> Callable:
    """The loss of this name.

    Args:
        name: a row of the catalog; or a loss of your own, as `package.module:function` or
            `path/to/file.py:function`.

    Raises:
        ValueError: if there is none; it names the nearest ones.

    Example:
        >>> get("dice").__name__
        'dice'
    """
    return find("loss", name, {row.name: row.function for row in CATALOG.values()})
