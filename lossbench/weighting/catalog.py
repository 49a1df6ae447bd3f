"""The one table of weightings; configurations, the command line, the cost and the tests read it.

A new weighting is a function in its family's file, a row here, and its name in `__init__.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from lossbench._names import find


class Row(NamedTuple):
    """What a program may want to know of a weighting before it runs it.

    Attributes:
        function: options -> a `Weighting`, or an optax transformation of stacked gradients.
        form: "weights" (of losses, one backward pass), "norms" (the same, and needs the norms of
            the terms' gradients), "gramian" (weights of gradients) or "gradients" (something else
            than weights).
        paper: where it is from.
        positive: whether it refuses a loss that may be negative.
        weighting: for the form "gramian": options -> the `Weighting` inside the transformation.
    """

    function: Callable
    form: str
    paper: str
    positive: bool = False
    weighting: Callable | None = None

    @property
    def name(self) -> str:
        """The public name."""
        return self.function.__name__


WEIGHTINGS: dict[str, Row] = {}


def get(name: str) -> Callable:
    """The weighting of a name, or the function at `package.module:attribute`."""
    return find("weighting", name, {row.name: row.function for row in WEIGHTINGS.values()})
