"""Which parameters move, and when."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench.training.optimizers import optimizer
from lossbench.training.options import TrainOptions
from lossbench.training.trainable import hold, labels, matching

PARAMS = {
    "body": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    "head": {"kernel": jnp.ones(2)},
    "preprocessing": {"z_score": {"mean": jnp.ones(2)}},
}
HELD = ("preprocessing/*",)


def trained(options, steps, **patterns):
    """The parameters after steps of a constant gradient."""
    update = optimizer(TrainOptions(steps=100, schedule="constant", **options), **patterns)
    params, state = PARAMS, update.init(PARAMS)
    step = jax.jit(update.update)
    for _ in range(steps):
        updates, state = step(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
    return params


def moved(params):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if not np.array_equal(leaf, jnp.ones_like(leaf))
    }


def test_what_a_model_holds_back_stays_unless_named():
    assert moved(trained({}, 1, held=HELD)) == {"body/kernel", "body/bias", "head/kernel"}
    named = {"trainable": (("preprocessing/z_score/mean", 0), ("head/*", 0))}
    assert moved(trained(named, 1, held=HELD)) == {"preprocessing/z_score/mean", "head/kernel"}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_group_moves_from_its_step_on(kind):
    options = {"optimizer": kind, "trainable": (("head/*", 0), ("body/*", 2))}
    assert moved(trained(options, 2)) == {"head/kernel"}
    assert moved(trained(options, 3)) == {"head/kernel", "body/kernel", "body/bias"}


def test_the_first_pattern_that_matches_decides():
    options = {"trainable": (("*/bias", 5), ("*", 0))}
    assert "body/bias" not in moved(trained(options, 3))


def test_the_gradient_of_what_stays_does_not_clip_the_others():
    """Of 9 gradients of 1, two are trained: their norm is the root of 2."""
    options = {"optimizer": "sgd", "momentum": 0.0, "clip_norm": 2**0.5, "learning_rate": 0.5}
    params = trained({**options, "trainable": (("head/*", 0),)}, 1)
    np.testing.assert_allclose(params["head"]["kernel"], 0.5, rtol=1e-6)


def test_no_decay_of_what_is_no_weight():
    options = {"learning_rate": 0.1, "weight_decay": 1.0}
    plain = trained(options, 1, undecayed=("body/*",))
    decayed = trained(options, 1)
    np.testing.assert_allclose(plain["body"]["bias"] - decayed["body"]["bias"], 0.1, rtol=1e-5)
    assert np.array_equal(plain["head"]["kernel"], decayed["head"]["kernel"])


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"'heat/.*There are: body/bias.*it matches no parameter"):
        labels(PARAMS, (("heat/*", 0),), ())
    with pytest.raises(ValueError, match="nothing would be trained"):
        labels({"preprocessing": PARAMS["preprocessing"]}, (), HELD)


def test_no_gradient_of_what_is_held():
    def total(params):
        return sum(jnp.sum(x) for x in jax.tree.leaves(hold(params, (("head/*", 3),), ())))

    gradient = jax.grad(total)(PARAMS)
    assert np.array_equal(gradient["head"]["kernel"], jnp.ones(2))
    assert not gradient["body"]["bias"].any()


def test_matching_is_by_name():
    found = matching(PARAMS, ("*/kernel",))
    assert found["body"] == {"kernel": True, "bias": False}


@pytest.mark.parametrize(
    ("given", "table"),
    [
        (["head/*"], (("head/*", 0),)),
        ("head/*", (("head/*", 0),)),
        ({"head/*": 0, "body/*": 20}, (("head/*", 0), ("body/*", 20))),
        ([["head/*", 3]], (("head/*", 3),)),
    ],
)
def test_a_configuration_has_a_list_or_a_mapping(given, table):
    assert TrainOptions.from_config({"trainable": given}).trainable == table


@pytest.mark.parametrize("given", [{"head/*": -1}, {"head/*": "0"}, [3], {"head/*": True}])
def test_another_table_is_refused(given):
    with pytest.raises(ValueError, match=r"train.trainable: expected a list of patterns"):
        TrainOptions.from_config({"trainable": given})
