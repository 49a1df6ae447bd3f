"""Values, gradients and their products, against NumPy in float64 and gradients by hand."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench.bench.diagnosis.measure import measurement
from lossbench.objective import Objective, Term
from lossbench.weighting import Weighting

BATCHES, PIXELS = 5, 6


class Linear:
    """Logits are products of pixels and a kernel; anything with `init` and `apply` is a model."""

    def init(self, key, image):
        return {"params": {"body": {"kernel": jnp.zeros(image.shape[-1])}, "shift": jnp.zeros(())}}

    def apply(self, variables, image):
        params = variables["params"]
        return {"logits": image @ params["body"]["kernel"] + params["shift"]}


def square(logits, labels):
    return jnp.mean((logits - labels) ** 2, axis=1)


def product(logits, labels):
    return jnp.mean(logits * labels, axis=1)


def tiny(logits, labels):
    return 1e-30 * square(logits, labels)


def huge(logits, labels):
    return 1e25 * product(logits, labels)


def sometimes(logits, labels, broken):
    """Infinite where the batch is broken, and so are its derivatives."""
    return jnp.mean(jnp.sqrt(logits**2 + 1), axis=1) / (1.0 - broken)


TERMS = {
    "square": Term(square, weight=2.0),
    "product": Term(product, weight=lambda step: 0.5 * step),
    "tiny": Term(tiny),
    "huge": Term(huge),
    "sometimes": Term(sometimes),
}


def batch(k):
    rng = np.random.default_rng(k)
    return {
        "image": rng.normal(size=(2, PIXELS, 3)).astype(np.float32),
        "labels": rng.normal(size=(2, PIXELS)).astype(np.float32),
        "broken": np.full(2, k == 3),
    }


DATA = [batch(k) for k in range(BATCHES)]
KERNEL, SHIFT = np.array([0.5, -1.0, 0.25], np.float32), np.float32(0.1)
VARIABLES = {"params": {"body": {"kernel": jnp.array(KERNEL)}, "shift": jnp.array(SHIFT)}}


def by_hand(one):
    """Values and gradients (kernel, then shift) of square, product and sometimes, float64."""
    x, t = one["image"].astype(np.float64), one["labels"].astype(np.float64)
    z = x @ KERNEL.astype(np.float64) + np.float64(SHIFT)
    root = np.sqrt(z**2 + 1)
    values = np.mean((z - t) ** 2), np.mean(z * t), np.mean(root)
    slopes = 2 * (z - t), t, z / root

    def gradient(slope):
        return np.append(np.einsum("bp,bpk->k", slope, x), slope.sum()) / z.size

    return np.array(values), np.stack([gradient(slope) for slope in slopes])


@pytest.fixture(scope="module")
def found():
    measure = measurement(Linear(), Objective(TERMS))
    return measure(VARIABLES, {}, DATA, 3)


@pytest.fixture(scope="module")
def truth():
    """Values `batches terms` and gradients `batches terms parameters` of all five terms."""
    values, gradients = zip(*map(by_hand, DATA), strict=True)
    values, gradients = np.stack(values), np.stack(gradients)
    values = np.stack(
        [values[:, 0], values[:, 1], 1e-30 * values[:, 0], 1e25 * values[:, 1], values[:, 2]], 1
    )
    gradients = np.stack(
        [
            gradients[:, 0],
            gradients[:, 1],
            1e-30 * gradients[:, 0],
            1e25 * gradients[:, 1],
            gradients[:, 2],
        ],
        1,
    )
    gradients[3, 4] = np.nan
    return values, gradients


def test_values_and_weights(found, truth):
    values = truth[0].copy()
    values[3, 4] = np.inf
    np.testing.assert_allclose(found.values, values, rtol=2e-5, atol=0)
    np.testing.assert_allclose(found.weights, [2.0, 1.5, 1, 1, 1])
    assert found.names == tuple(TERMS)
    assert (found.step, found.parameters) == (3, 4)
    assert found.length == pytest.approx(np.sqrt(np.sum(KERNEL**2) + SHIFT**2), rel=1e-6)
    np.testing.assert_array_equal(found.factors, np.ones((BATCHES, 5)))


def test_inner_products_of_every_batch_whatever_the_size(found, truth):
    gradients = truth[1]
    wanted = np.einsum("bip,bjp->bij", gradients, gradients)
    norms = np.linalg.norm(gradients, axis=2)
    scale = norms[:, :, None] * norms[:, None, :]
    there = np.isfinite(wanted)
    np.testing.assert_array_equal(np.isfinite(found.products), there)
    np.testing.assert_allclose((found.products / scale)[there], (wanted / scale)[there], atol=3e-6)
    np.testing.assert_allclose(found.norms, norms, rtol=2e-6)
    assert found.counts.tolist() == [5, 5, 5, 5, 4]


def test_means_and_deviations_leave_out_what_is_not_finite(found, truth):
    means = np.nanmean(truth[1], axis=0)
    wanted = means @ means.T
    scale = np.sqrt(np.outer(np.diagonal(wanted), np.diagonal(wanted)))
    np.testing.assert_allclose(found.mean_products / scale, wanted / scale, atol=5e-6)
    deviations = np.nansum((truth[1] - means) ** 2, axis=(0, 2))
    np.testing.assert_allclose(found.deviations, deviations, rtol=1e-5)


def test_gradients_of_a_part_of_the_parameters(truth):
    found = measurement(Linear(), Objective(TERMS), ("body/*",))(VARIABLES, {}, DATA[:2], 3)
    kernel = truth[1][:2, :, :3]
    assert found.parameters == 3
    np.testing.assert_allclose(found.norms, np.linalg.norm(kernel, axis=2), rtol=3e-6)
    with pytest.raises(ValueError, match="head"):
        measurement(Linear(), Objective(TERMS), ("head/*",))(VARIABLES, {}, DATA[:1], 3)


def doubling(count):
    """A weighting that gives twice the trace of the Gramian, times the state, to each term."""

    def update(values, state, gramian=None):
        assert gramian is not None
        return 2 * jnp.trace(gramian) * state * jnp.ones(count), state + 1

    return Weighting(lambda terms, seed=0: jnp.ones(()), update, needs_gramian=True)


def test_what_a_weighting_gives_is_seen_and_its_state_left_alone(truth):
    two = {"square": TERMS["square"], "product": TERMS["product"]}
    objective = Objective(two, weighting=doubling(2))
    found = measurement(Linear(), objective)(VARIABLES, jnp.float32(3), DATA[:2], 3)
    squares = np.sum(truth[1][:2, :2] ** 2, axis=2) @ np.array([4.0, 1.5**2])
    np.testing.assert_allclose(found.factors, (6 * squares)[:, None].repeat(2, 1), rtol=1e-5)


def test_a_transformation_of_gradients_is_measured_along_its_update(truth):
    """One that takes the second of the weighted gradients alone."""
    second = optax.GradientTransformation(
        lambda params: (), lambda g, state, params=None: (jax.tree.map(lambda x: x[1], g), state)
    )
    objective = Objective(
        {"square": TERMS["square"], "product": TERMS["product"]}, weighting=second
    )
    found = measurement(Linear(), objective)(VARIABLES, (), DATA[:2], 3)
    direction = 1.5 * truth[1][:2, 1]
    rows = np.concatenate([truth[1][:2, :2], direction[:, None]], axis=1)
    np.testing.assert_allclose(found.along, np.einsum("bip,bp->bi", rows, direction), rtol=1e-5)
    assert np.isnan(found.factors).all()


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="no batch"):
        measurement(Linear(), Objective(TERMS))(VARIABLES, {}, [], 0)


def test_collections_beside_the_parameters_are_left_as_they_are():
    class Counting(Linear):
        def apply(self, variables, image, mutable=()):
            scale = variables["state"]["scale"]
            outputs = super().apply(variables, image)
            changed = {"state": {"scale": scale + 1}}
            return ({"logits": scale * outputs["logits"]}, changed) if mutable else outputs

    variables = {**VARIABLES, "state": types.MappingProxyType({"scale": jnp.float32(2)})}
    variables["state"] = dict(variables["state"])
    found = measurement(Counting(), Objective({"product": Term(product)}))(
        variables, {}, DATA[:2], 0
    )
    wanted = [2 * by_hand(one)[0][1] for one in DATA[:2]]
    np.testing.assert_allclose(found.values[:, 0], wanted, rtol=1e-5)
