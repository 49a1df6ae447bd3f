import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import MODELS, BandSelectorNetwork, ChannelSelectorNetwork, UNet
from lossbench.models.selector_networks import PixelHead

CASES = [
    (ChannelSelectorNetwork(features=(5,)), (2, 7, 6), (6,)),
    (ChannelSelectorNetwork(num_classes=2, head="conv", features=(3, 4)), (1, 5, 6, 4), (4,)),
    (BandSelectorNetwork(bands=2, features=(2, 4)), (1, 4, 6, 5), (2, 5)),
]


@pytest.mark.parametrize(("model", "shape", "weights"), CASES)
def test_logits_at_every_pixel_and_a_gradient_for_every_parameter(model, shape, weights):
    image = jax.random.normal(jax.random.key(1), shape)
    variables = jax.jit(model.init)(jax.random.key(0), image)
    assert set(variables) == {"params", "schedule"}

    @jax.jit
    def gradient(params):
        def loss(params):
            outputs, changed = model.apply(
                {**variables, "params": params},
                image,
                mutable=["schedule"],
                rngs={"gumbel": jax.random.key(2)},
            )
            return jnp.sum(jnp.tanh(outputs["logits"]) ** 2), (outputs, changed)

        return jax.grad(loss, has_aux=True)(params)

    found, (outputs, changed) = gradient(variables["params"])
    assert outputs["logits"].shape == (*shape[:-1], model.num_classes)
    assert outputs["selector_weights"].shape == weights
    assert changed["schedule"]["selector"]["step"] == 1
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        assert bool(jnp.isfinite(leaf).all()), path
        assert bool(jnp.any(leaf != 0)), path


def test_the_head_sees_what_the_selector_lets_through():
    model = BandSelectorNetwork(bands=2, features=(2, 4))
    image = jax.random.normal(jax.random.key(1), (1, 4, 6, 5))
    variables = jax.jit(model.init)(jax.random.key(0), image)
    logits = jnp.zeros((2, 5)).at[0, 3].set(1).at[1, 0].set(1)
    params = {**variables["params"], "selector": {"logits": logits}}
    got = jax.jit(model.apply)({**variables, "params": params}, image)["logits"]
    head = UNet(num_classes=1, features=(2, 4))
    bands = image[..., jnp.array([3, 0])]
    expected = jax.jit(head.apply)({"params": params["head"]}, bands)["logits"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("window", [1, 3])
def test_a_head_reaches_as_far_as_its_window(window):
    model = PixelHead(1, (4,), window)
    image = jax.random.normal(jax.random.key(1), (1, 5, 5, 2))
    params = jax.jit(model.init)(jax.random.key(0), image)
    apply = jax.jit(functools.partial(model.apply, params))
    changed = np.asarray(apply(image) != apply(image.at[0, 2, 2].add(1)))[0, :, :, 0]
    assert changed[2, 2]
    reached = np.zeros((5, 5), bool)
    reach = window // 2
    reached[2 - reach : 3 + reach, 2 - reach : 3 + reach] = True
    assert not changed[~reached].any()
    assert changed.sum() >= window


def test_configs_give_hashable_models_that_say_what_they_need():
    config = json.loads('{"features": [8], "variances": [1.0, 2.0], "num_classes": 2, "dims": 2}')
    soft = MODELS["channel_selector"](**config)
    bands = MODELS["band_selector"](head="conv", features=[8], dims=2)
    assert len({hash(soft), hash(bands)}) == 2
    assert soft.reads == bands.reads == ("image", "where")
    assert bands.draws == ("gumbel",)
    assert not hasattr(soft, "draws")
    assert soft.undecayed == bands.undecayed == ("selector/logits",)


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="head: expected one of 'pixel', 'conv', 'unet'"):
        ChannelSelectorNetwork(head="mlp").init(jax.random.key(0), jnp.ones((1, 2, 3)))
