"""Deep SVDD: the paper's formulas, its gradients, its promise of nu; values of cuvis-ai."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import embedded

WHERE = np.random.default_rng(3).random((3, 4, 5)) < 0.6


def distance(z, c):
    return ((np.asarray(z, np.float64) - np.asarray(c, np.float64)) ** 2).sum(-1)


def one_class(z, c, where):
    """Equation 4 of Ruff et al. 2018, without weight decay."""
    d = distance(z, c)
    return np.array([row[w].mean() for row, w in zip(d, where, strict=True)])


def soft_boundary(z, c, radius, nu, where):
    """Equation 3."""
    d = distance(z, c)
    rows = []
    for row, w in zip(d, where, strict=True):
        slack = [max(0.0, x - radius**2) for x in row[w]]
        rows.append(radius**2 + sum(slack) / (nu * len(slack)))
    return np.array(rows)


def given(name="svdd_one_class", **options):
    inputs = embedded.arrays(name, **options)
    return inputs, inputs["embeddings"], inputs["center"]


@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
def test_one_class_is_the_formula(where):
    inputs, z, c = given()
    value, gradient = embedded.value_and_gradient("svdd_one_class", inputs, where)
    kept = np.ones((3, 4, 5), bool) if where is None else where
    np.testing.assert_allclose(value, one_class(z, c, kept), rtol=1e-6)
    slope = 2 * (z - c) * kept[..., None] / kept.sum((1, 2))[:, None, None, None]
    np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
@pytest.mark.parametrize(("radius", "nu"), [(1.5, 0.3), (0.0, 1.0), (3.0, 0.01)])
def test_soft_boundary_is_the_formula(where, radius, nu):
    inputs, z, c = given("svdd_soft_boundary")
    kept = np.ones((3, 4, 5), bool) if where is None else where
    inputs |= {"radius": np.float32(radius), "nu": nu}
    value, _ = embedded.value_and_gradient("svdd_soft_boundary", inputs, where)
    np.testing.assert_allclose(value, soft_boundary(z, c, radius, nu, kept), rtol=1e-5)


def test_distances_are_scores():
    _, z, c = given()
    scores = jax.jit(losses.svdd_distance)(jnp.asarray(z), jnp.asarray(c))
    np.testing.assert_allclose(scores, distance(z, c), rtol=1e-6)
    kept = losses.svdd_one_class(jnp.asarray(z), jnp.asarray(c), reduction="none")
    np.testing.assert_array_equal(kept, scores)


@pytest.mark.parametrize("name", ["svdd_one_class", "svdd_soft_boundary", "deep_sad"])
def test_the_center_is_a_constant(name):
    inputs = embedded.on_device(embedded.arrays(name))
    center = inputs.pop("center")
    loss = getattr(losses, name)
    slope = jax.jit(jax.grad(lambda c: jnp.sum(loss(center=c, **inputs))))(center)
    np.testing.assert_array_equal(slope, 0)


def test_the_gradient_of_the_radius():
    """2 R (1 - share outside / nu)."""
    _, z, c = given("svdd_soft_boundary")
    nu = 0.3

    @jax.jit
    def slope(r):
        return jax.grad(lambda r: losses.svdd_soft_boundary(z, c, r, nu=nu)[0])(r)

    z, c = jnp.asarray(z), jnp.asarray(c)
    d = distance(z, c)[0]
    for radius in (0.0, 0.5, 1.5, 2.5, 100.0):
        share = np.mean(d > radius**2)
        wanted = 2 * radius * (1 - share / nu)
        np.testing.assert_allclose(slope(jnp.float32(radius)), wanted, rtol=1e-5, atol=1e-6)


def test_on_the_sphere_is_inside():
    """d = R^2 exactly: gradient 0 for the pixel, and for the radius that of R^2 alone."""
    z, c = jnp.array([[[3.0, 4.0]]]), jnp.zeros(2)
    slopes = jax.grad(lambda z, r: losses.svdd_soft_boundary(z, c, r, nu=0.1)[0], argnums=(0, 1))
    of_z, of_r = slopes(z, jnp.float32(5.0))
    np.testing.assert_array_equal(of_z, 0)
    assert of_r == 10


@pytest.mark.parametrize("nu", [0.05, 0.1, 0.5])
def test_the_nu_property(nu):
    """Proposition 4: at the least loss, at most nu is outside, at least nu outside or on it."""
    rng = np.random.default_rng(1)
    z = jnp.asarray(rng.normal(size=(1, 400, 4)), jnp.float32)
    c = jnp.zeros(4)
    d = np.sort(np.asarray(losses.svdd_distance(z, c))[0])
    # The loss is a line in R^2 between two distances: the least value is at one of them.
    radii = jnp.sqrt(jnp.asarray(d))
    values = jax.jit(jax.vmap(lambda r: losses.svdd_soft_boundary(z, c, r, nu=nu)[0]))(radii)
    best = d[int(jnp.argmin(values))]
    assert np.mean(d > best * (1 + 1e-6)) <= nu + 1e-6
    assert np.mean(d >= best * (1 - 1e-6)) >= nu - 1e-6


def test_a_sweep_over_nu_is_a_vmap():
    _, z, c = given("svdd_soft_boundary")
    nus = jnp.array([0.05, 0.3, 1.0])
    values = jax.jit(
        jax.vmap(lambda nu: losses.svdd_soft_boundary(jnp.asarray(z), jnp.asarray(c), 1.5, nu=nu))
    )(nus)
    kept = np.ones((3, 4, 5), bool)
    wanted = [soft_boundary(z, c, 1.5, nu, kept) for nu in (0.05, 0.3, 1.0)]
    np.testing.assert_allclose(values, wanted, rtol=1e-5)


def wave(*shape, f=0.7, p=0.1, s=1.0, o=0.0):
    index = np.arange(np.prod(shape))
    return (s * np.sin(f * index + p) + o).astype(np.float32).reshape(shape)


# nu, the raw parameter, the loss, its derivative for the raw parameter: cuvis-ai 0.19.3.
CUVIS = [
    (0.05, 0.0, 99.8194199, -1.3169796),
    (0.05, 0.3, 98.1448822, -11.0352201),
    (0.05, -0.2, 99.9076462, -0.0574947),
    (0.1, 0.0, 49.9121094, -0.6238325),
    (0.1, 0.3, 49.1189079, -5.22721),
    (0.1, -0.2, 49.9539032, -0.0272343),
    (0.5, 0.0, 9.9862661, -0.0693147),
    (0.5, 0.3, 9.8981323, -0.5808011),
    (0.5, -0.2, 9.9909096, -0.003026),
]
RADII = {0.0: 0.069314718, 0.3: 0.304858735, -0.2: 0.012692801}


def test_cuvis_values_of_a_learned_radius():
    z, c = jnp.asarray(wave(2, 3, 4, 5)).reshape(1, 24, 5), jnp.asarray(wave(5, f=1.3, p=0.4))

    @jax.jit
    def asked(raw, nu):
        def loss(raw):
            return losses.svdd_soft_boundary(z, c, losses.learned_radius(raw), nu=nu)[0]

        return jax.value_and_grad(loss)(raw)

    for nu, raw, loss, slope in CUVIS:
        found = asked(jnp.float32(raw), jnp.float32(nu))
        np.testing.assert_allclose(found, (loss, slope), rtol=3e-5)
    for raw, radius in RADII.items():
        np.testing.assert_allclose(losses.learned_radius(raw), radius, rtol=1e-5)
    scores = losses.svdd_distance(jnp.asarray(wave(2, 3, 4, 5)), c)
    np.testing.assert_allclose(
        scores[0, 0], [4.6247411, 6.2348418, 1.8751042, 8.9494457], rtol=1e-6
    )


def test_a_learned_radius_is_above_zero_and_straight():
    for raw in (-3.0, 100.0, 1e4):
        value = float(losses.learned_radius(raw))
        assert value > 0
        if raw > 0:
            np.testing.assert_allclose(value, raw, rtol=1e-6)
    with pytest.raises(ValueError, match="beta: expected a number above 0"):
        losses.learned_radius(0.0, beta=0.0)
