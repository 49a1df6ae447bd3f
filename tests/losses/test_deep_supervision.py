import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses

RNG = np.random.default_rng(0)
SPACES = [(8, 12), (4, 6), (2, 3)]
LOGITS = [jnp.asarray(RNG.normal(size=(2, *s, 3)), jnp.float32) for s in SPACES]
LABELS = RNG.integers(0, 3, (2, 8, 12))
WHERE = RNG.random((2, 8, 12)) < 0.7
WEIGHTS = {
    "uniform": [1 / 3, 1 / 3, 1 / 3],
    "linear": [3 / 6, 2 / 6, 1 / 6],
    "exponential": [4 / 7, 2 / 7, 1 / 7],
    (0.5, 0.0, 2.0): [0.5, 0.0, 2.0],
}


def nearest(x, space):
    """The pixel at the center of each coarse one, in the pixels of the fine grid."""
    for axis, size in enumerate(space, start=1):
        at = [int((i + 0.5) * x.shape[axis] / size) for i in range(size)]
        x = np.take(x, at, axis)
    return x


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", [losses.dice, losses.cross_entropy])
def test_levels_are_summed_by_their_weights(weights, masked, loss):
    value = losses.deep_supervision(loss, weights=weights)(
        LOGITS, jnp.asarray(LABELS), where=jnp.asarray(WHERE) if masked else None
    )
    wanted = 0.0
    for level, weight in zip(LOGITS, WEIGHTS[weights], strict=True):
        space = level.shape[1:-1]
        where = jnp.asarray(nearest(WHERE, space)) if masked else None
        wanted += weight * loss(level, jnp.asarray(nearest(LABELS, space)), where=where)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_exponential_is_the_default():
    np.testing.assert_allclose(
        losses.deep_supervision(losses.dice)(LOGITS, jnp.asarray(LABELS)),
        losses.deep_supervision(losses.dice, weights="exponential")(LOGITS, jnp.asarray(LABELS)),
    )


@pytest.mark.parametrize("weights", ["uniform", "linear", "exponential"])
def test_one_level_is_the_loss(weights):
    value = losses.deep_supervision(losses.dice, weights=weights)(LOGITS[:1], jnp.asarray(LABELS))
    np.testing.assert_allclose(value, losses.dice(LOGITS[0], jnp.asarray(LABELS)), rtol=1e-6)


def test_levels_may_be_steps_of_one_size():
    steps = [LOGITS[0], LOGITS[0][:, ::-1], 2 * LOGITS[0]]
    value = losses.deep_supervision(losses.dice, weights="uniform")(
        tuple(steps), jnp.asarray(LABELS)
    )
    wanted = sum(losses.dice(x, jnp.asarray(LABELS)) for x in steps) / 3
    np.testing.assert_allclose(value, wanted, rtol=1e-6)


@pytest.mark.parametrize("coarse", [(3, 5), (4, 4), (1, 1), (8, 12), (5, 12)], ids=str)
def test_sizes_that_do_not_divide(coarse):
    logits = [LOGITS[0], jnp.asarray(RNG.normal(size=(2, *coarse, 3)), jnp.float32)]
    value = losses.deep_supervision(losses.cross_entropy, weights=(0.0, 1.0))(
        logits, jnp.asarray(LABELS)
    )
    wanted = losses.cross_entropy(logits[1], jnp.asarray(nearest(LABELS, coarse)))
    np.testing.assert_allclose(value, wanted, rtol=1e-6)


def test_other_labels():
    """One value a class, soft; volumes."""
    soft = RNG.dirichlet(np.ones(3), (2, 8, 12)).astype(np.float32)
    loss = losses.deep_supervision(losses.cross_entropy, weights="linear")
    wanted = sum(
        w * losses.cross_entropy(x, jnp.asarray(nearest(soft, x.shape[1:-1])))
        for w, x in zip(WEIGHTS["linear"], LOGITS, strict=True)
    )
    np.testing.assert_allclose(loss(LOGITS, jnp.asarray(soft)), wanted, rtol=1e-6)
    masks = RNG.random((2, 4, 4, 6)) < 0.5
    volumes = [
        jnp.asarray(RNG.normal(size=(2, *s, 1)), jnp.float32) for s in [(4, 4, 6), (2, 2, 3)]
    ]
    loss = losses.deep_supervision(
        functools.partial(losses.dice, activation="sigmoid"), weights="uniform"
    )
    for labels in (masks, masks[..., None]):
        wanted = sum(
            losses.dice(x, jnp.asarray(nearest(labels, x.shape[1:-1])), activation="sigmoid") / 2
            for x in volumes
        )
        np.testing.assert_allclose(loss(volumes, jnp.asarray(labels)), wanted, rtol=1e-6)


def test_options_reach_the_loss():
    value = losses.deep_supervision(losses.dice)(
        LOGITS, jnp.asarray(LABELS), pool="batch", include_background=False
    )
    assert value.shape == ()


def test_every_level_has_its_gradient():
    loss = losses.deep_supervision(losses.cross_entropy, weights=(1.0, 0.0, 3.0))
    gradients = jax.grad(lambda xs: loss(xs, jnp.asarray(LABELS)).sum())(LOGITS)
    for x, weight, gradient in zip(LOGITS, (1.0, 0.0, 3.0), gradients, strict=True):
        labels = jnp.asarray(nearest(LABELS, x.shape[1:-1]))
        alone = jax.grad(lambda x, y=labels: losses.cross_entropy(x, y).sum())(x)
        np.testing.assert_allclose(gradient, weight * alone, rtol=1e-5, atol=1e-8)


def test_weights_may_be_traced():
    @jax.jit
    def cost(weights):
        return losses.deep_supervision(losses.dice, weights=weights)(LOGITS, jnp.asarray(LABELS))

    first = cost(jnp.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(first, losses.dice(LOGITS[0], jnp.asarray(LABELS)), rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "weights", "message"),
    [
        (LOGITS, "quadratic", "weights: "),
        (LOGITS, (1.0, 2.0), "weights: "),
        (LOGITS, jnp.ones(2), "weights: "),
        ([], "uniform", "logits: "),
    ],
    ids=["name", "too few", "too few, traced", "no level"],
)
def test_wrong_levels_and_weights_are_named(logits, weights, message):
    with pytest.raises(ValueError, match=message):
        losses.deep_supervision(losses.dice, weights=weights)(logits, jnp.asarray(LABELS))
