import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.bench.cost import peers, torch_peers
from lossbench.bench.cost.cases import make_inputs
from lossbench.bench.cost.measure import Contestant

INPUTS = make_inputs("dice", (2, 6, 5, 3))


def test_names_are_read():
    assert peers.names("all", "--peers") == list(peers.PEERS)
    assert peers.names("none", "--peers") == []
    assert peers.names("monai, optax", "--peers") == ["monai", "optax"]
    with pytest.raises(ValueError, match="unknown peer in --peers 'monay'; did you mean 'monai'"):
        peers.names("monay", "--peers")


def test_an_absent_peer_is_no_error(monkeypatch):
    def load(module):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(torch_peers, "load", load)
    there = peers.load(["kornia", "optax"])
    assert there.absent == {"kornia": "ImportError: No module named 'kornia.losses'"}
    assert list(there.modules) == list(there.versions) == ["optax"]
    labels = [name for name, _ in peers.contestants("dice", INPUTS, there, [])]
    assert labels == ["optax"]


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy", "dice"])
def test_optax_has_the_same_loss(name):
    """Two programs written apart from each other; neither is the other's reference elsewhere."""
    x, y = jnp.asarray(INPUTS.logits[0]), jnp.asarray(INPUTS.labels)
    with jax.numpy_rank_promotion("allow"):  # optax's own business
        value = peers.jax_losses()[name](x, y)
    np.testing.assert_allclose(value, losses.CATALOG[name].function(x, y).mean(), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(peers.jax_losses()))
def test_every_loss_of_optax_is_a_number(name):
    x, y = jnp.asarray(INPUTS.logits[0]), jnp.asarray(INPUTS.labels)
    with jax.numpy_rank_promotion("allow"):
        value = jax.eval_shape(peers.jax_losses()[name], x, y)
    assert (value.shape, value.dtype) == ((), jnp.float32)


def test_a_peer_that_cannot_be_built_is_its_reason(monkeypatch):
    def table(module, problem):
        return {"dice": lambda: module.missing}

    module = types.SimpleNamespace()
    monkeypatch.setitem(peers.PEERS, "own", peers.Peer("own", "own", table))
    monkeypatch.setattr(torch_peers, "Problem", lambda torch, inputs: None)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace())
    there = peers.Peers({"own": module}, {"own": "1"}, {})
    found = dict(peers.contestants("dice", INPUTS, there, ["own"]))
    assert list(found) == ["own", "own compiled"]
    assert all("missing" in str(reason) for reason in found.values())
    assert dict(peers.contestants("mcc", INPUTS, there, ["own"])) == {}


def test_a_peer_of_jax_is_a_contestant():
    there = peers.load(["optax"])
    with jax.numpy_rank_promotion("allow"):
        found = dict(peers.contestants("dice", INPUTS, there, []))
    assert isinstance(found["optax"], Contestant)
    value, gradient = found["optax"].start()
    assert jnp.isfinite(value)
    assert gradient.shape == INPUTS.logits[0].shape
