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
# To what `tests/losses/test_contract.py` holds every loss of the catalog by itself.
ELSEWHERE = {"vmap", "gradient", "second derivative"}
# Whose 256^3 voxels take a minute, and whose sums are those of losses that do not: components,
# skeletons, erosions and distances of so large a picture, and sorts.
SLOW = {"blob", "cl_dice", "skeleton_recall", "hausdorff_er", "signed_distance_regression"}
SLOW |= {"distance_weighted_cross_entropy", "lovasz_softmax", "lovasz_hinge"}
# What a formula does not promise.
EXEMPT = {
    # A pixel's nearest border may lie in the next tile: other distances than in the picture alone.
    "boundary": {"2^18 pixels", "256^3 sums"},
    "hausdorff_dt": {"2^18 pixels", "256^3 sums"},
    "log_hausdorff_dt": {"2^18 pixels", "256^3 sums"},
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
    checks = set(CHECKS) - set(QUICK) - ELSEWHERE - EXEMPT.get(name, set())
    checks -= {"256^3 sums"} if name in SLOW else set()
    verdict = check_loss(losses.get(name), only=checks, **settings)
    assert verdict.passed, str(verdict)
