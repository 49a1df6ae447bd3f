"""Distance losses against the stored answers of MONAI, exacta and kornia."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.losses.boundary import boundary
from lossbench.losses.hausdorff import hausdorff_dt, hausdorff_er, log_hausdorff_dt
from tests.compat import stored
from tests.losses import peer_distances

LOSSES = {loss.__name__: loss for loss in (boundary, hausdorff_dt, log_hausdorff_dt, hausdorff_er)}


@pytest.mark.parametrize(
    ("case", "answer"),
    list(zip(peer_distances.CASES, peer_distances.load(), strict=True)),
    ids=[peer_distances.name(case) for case in peer_distances.CASES],
)
def test_the_peer_answers_the_same(case, answer):
    logits, labels = (jnp.asarray(x) for x in stored.array(list(case.inputs)))
    spacing = {} if case.spacing is None else {"spacing": case.spacing}

    @jax.jit
    @jax.value_and_grad
    def ask(x):
        return jnp.mean(LOSSES[case.loss](x, labels, **case.options, **spacing))

    value, gradient = ask(logits)
    np.testing.assert_allclose(value, answer["value"], rtol=1e-5, atol=1e-6)
    wanted = np.array(answer["gradient"])
    np.testing.assert_allclose(np.ravel(gradient), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
