"""The network needs PyTorch; where it is installed, `test_weighting_torch.py` compares it."""

import pytest

from lossbench.bench.cost import weighting, weighting_unet


@pytest.mark.filterwarnings("default")
def test_the_network_has_as_many_parameters_as_ours():
    import jax

    torch = pytest.importorskip("torch")
    params = weighting.make_problem((1, 4, 8, 3)).params
    made = weighting_unet.network(torch, params)
    count = sum(parameter.numel() for parameter in made.parameters())
    assert count == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert made.head.bias.shape == (3,)
