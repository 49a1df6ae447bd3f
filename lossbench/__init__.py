"""Losses, metrics and an honest bench for dense prediction in JAX.

`lossbench.losses` and `lossbench.metrics` are pure functions that need nothing but JAX.
"""

from typing import TYPE_CHECKING, Any

from lossbench._checks import debug_checks

if TYPE_CHECKING:
    from lossbench.detection import SVDD

__version__ = "0.1.0"
__all__ = ["SVDD", "__version__", "debug_checks"]


def __getattr__(name: str) -> Any:
    """`SVDD`, loaded when it is first asked for: a trainer comes with it."""
    if name == "SVDD":
        from lossbench.detection import SVDD

        return SVDD
    raise AttributeError(f"module 'lossbench' has no attribute {name!r}")
