"""Losses, metrics and an honest bench for dense prediction in JAX.

`lossbench.losses` and `lossbench.metrics` are pure functions that need nothing but JAX.
"""

from lossbench._checks import debug_checks

__version__ = "0.1.0"
__all__ = ["__version__", "debug_checks"]
