"""Every loss of the catalog passes the suite."""

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.testing import CHECKS
from lossbench.testing.discovery import subject_of
from lossbench.testing.suite import check_subject, with_limits

# Class 0 is the background in their formulas.
BACKGROUND = {"asymmetric_focal", "unified_focal", "wasserstein_dice"}
BACKGROUND |= {
    row.name
    for row in losses.CATALOG.values()
    if row.family in ("distance", "topology", "instance")
}
OPTIONS = {
    "wasserstein_dice": lambda n: {"distances": jnp.asarray(1 - np.eye(n), jnp.float32)},
}
# What a formula does not promise.
EXEMPT = {
    # A pixel's nearest border may lie in the next tile: other distances than in the picture alone.
    # `tests/losses/test_boundary.py` has as many voxels in tiles of which that is not true.
    "boundary": {"256^3 sums"},
    "hausdorff_dt": {"256^3 sums"},
    # Tiles of a picture share borders, which are boundaries of the picture by itself.
    "boundary_dou": {"2^18 pixels", "256^3 sums"},
    # As large as those of `cl_dice` and `lovasz_softmax`, by the same kernels, and a minute each.
    "skeleton_recall": {"256^3 sums"},
    "lovasz_hinge": {"256^3 sums"},
    # `tests/losses/test_boundary.py` has it at this size.
    "log_hausdorff_dt": {"256^3 sums"},
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


def subject(name, **settings):
    found = subject_of(losses.get(name), options=OPTIONS.get(name), **settings)
    limits = {"special_background": name in BACKGROUND, "memory_limit": MEMORY.get(name, 1.35)}
    return with_limits(found, name=name, **limits)


REGULARIZERS = {row.name for row in losses.CATALOG.values() if row.family == "regularizer"}
OF_IMAGES = [name for name in losses.CATALOG if name not in REGULARIZERS]


@pytest.mark.parametrize("name", OF_IMAGES)
def test_quick_checks_of_programs_as_users_compile_them(name, as_users):
    checks = set(QUICK) - EXEMPT.get(name, set())
    verdict = check_subject(subject(name, compiler_options=as_users), only=checks)
    assert verdict.passed, str(verdict)


@pytest.mark.long
@pytest.mark.parametrize("name", losses.CATALOG)
def test_every_check(name):
    verdict = check_subject(subject(name), only=set(CHECKS) - EXEMPT.get(name, set()))
    assert verdict.passed, str(verdict)
