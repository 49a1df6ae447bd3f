"""A torture suite for losses: inputs on which many of them break, for anybody's loss.

`check_loss(loss)` runs it on a JAX function, `check_loss(from_torch(loss))` on a PyTorch one.
"""

from lossbench.testing.suite import CHECKS, check_loss
from lossbench.testing.torch_adapter import from_torch
from lossbench.testing.verdict import Finding, Verdict

__all__ = ["CHECKS", "Finding", "Verdict", "check_loss", "from_torch"]
