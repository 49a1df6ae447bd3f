"""Every loss of the catalog passes the suite."""

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.testing import CHECKS, check_loss

# What these losses need that others do not: class 0 is the background in their formulas.
SETTINGS = {
    "asymmetric_focal": {"background": True},
    "unified_focal": {"background": True},
    "wasserstein_dice": {
        "background": True,
        "options": lambda classes: {"distances": jnp.asarray(1 - np.eye(classes), jnp.float32)},
    },
}
SETTINGS |= {
    row.name: {"background": True}
    for row in losses.CATALOG.values()
    if row.family in ("distance", "topology", "instance")
}
# What a formula does not promise.
EXEMPT = {
    # A pixel's nearest border may lie in the next tile: other distances than in the picture alone.
    # `tests/losses/test_boundary.py` has as many voxels in tiles of which that is not true.
    "boundary": {"256^3 sums"},
    "hausdorff_dt": {"256^3 sums"},
    # Tiles of a picture share borders, which are boundaries of the picture by itself.
    "boundary_dou": {"2^18 pixels", "256^3 sums"},
    # Components that touch where tiles meet are one.
    "cc_dice": {"2^18 pixels", "256^3 sums"},
    # Errors below one half do not survive an erosion, and cost nothing.
    "hausdorff_er": {"right costs less", "gradient not dead", "all masked"},
}
# Cheap once one program is compiled; the others are for the long run.
QUICK = (
    "right costs less",
    "saturated logits",
    "equal logits",
    "gradient not dead",
    "empty mask",
    "full mask",
    "one-pixel mask",
    "absent class",
    "class permutation",
    "mask leak",
    "NaN under mask",
    "all masked",
)


# Two small examples of 100 classes: the gradient is brought into order once (1.0), and the blocks
# are few. `tests/losses/test_contract.py` bounds one example of ordinary size.
MEMORY = {"lovasz_softmax": 2.4, "lovasz_hinge": 2.4, "neighbor_aware_calibration": 1.7}
# Erosions of one class at a time, from and to arrays of all.
MEMORY |= {"hausdorff_er": 4.5, "cl_dice": 3.3}


@pytest.mark.parametrize("name", losses.CATALOG)
def test_quick_checks(name):
    checks = set(QUICK) - EXEMPT.get(name, set())
    verdict = check_loss(losses.get(name), only=checks, **SETTINGS.get(name, {}))
    assert verdict.passed, str(verdict)


@pytest.mark.long
@pytest.mark.parametrize("name", losses.CATALOG)
def test_all_other_checks(name):
    settings = {"memory_limit": MEMORY.get(name, 1.35)} | SETTINGS.get(name, {})
    checks = set(CHECKS) - set(QUICK) - EXEMPT.get(name, set())
    verdict = check_loss(losses.get(name), only=checks, **settings)
    assert verdict.passed, str(verdict)
