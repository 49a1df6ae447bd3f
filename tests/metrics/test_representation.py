"""Variance that components explain, and how orthogonal they are, against float64 and an SVD."""

import inspect
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench.metrics import representation
from lossbench.metrics.representation import component_orthogonality, explained_variance

FEATURES, COMPONENTS = 6, 3
RNG = np.random.default_rng(0)
SPECTRA = (RNG.standard_normal((4, 15, FEATURES)) @ RNG.standard_normal((FEATURES, FEATURES))) + 30
SPECTRA = SPECTRA.astype(np.float32)
OBLIQUE = RNG.standard_normal((COMPONENTS, FEATURES)).astype(np.float32)
WHERE = RNG.random(SPECTRA.shape[:2]) < 0.7
CLOSE = {"rtol": 3e-6, "atol": 1e-6}


def pca(x):
    """Principal components, and the shares scikit-learn's `explained_variance_ratio_` is."""
    x = x.reshape(-1, x.shape[-1]).astype(np.float64)
    _, singular, rows = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return rows, singular**2 / (singular**2).sum()


def shares(x, components):
    """Of each component, and of the space of the first ones by a QR decomposition; float64."""
    x = x.reshape(-1, x.shape[-1]).astype(np.float64)
    x, w = x - x.mean(0), np.asarray(components, np.float64)
    total = (x**2).sum()
    each = ((x @ w.T / np.linalg.norm(w, axis=1)) ** 2).sum(0) / total
    basis, _ = np.linalg.qr(w.T)
    return each, np.cumsum(((x @ basis) ** 2).sum(0)) / total


def cosines(w):
    w = np.asarray(w, np.float64)
    pairs = itertools.combinations(w, 2)
    return [abs(a @ b) / np.sqrt(a @ a * (b @ b)) for a, b in pairs]


def test_a_pca_has_the_shares_of_its_singular_values():
    rows, wanted = pca(SPECTRA)
    found = explained_variance(jnp.asarray(SPECTRA), jnp.asarray(rows, jnp.float32))
    np.testing.assert_allclose(found.per_component, wanted, **CLOSE)
    np.testing.assert_allclose(found.cumulative, np.cumsum(wanted), **CLOSE)
    np.testing.assert_allclose(found.total, 1, **CLOSE)
    assert found.undefined == 0


def test_what_is_left_out_counts_and_in_cuvis_does_not():
    """Its ratio is over the variance of the components that were kept, so their total is 1."""
    rows, wanted = pca(SPECTRA)
    found = explained_variance(jnp.asarray(SPECTRA), jnp.asarray(rows[:2], jnp.float32))
    np.testing.assert_allclose(found.total, wanted[:2].sum(), **CLOSE)
    assert found.total < 0.95


def test_components_that_are_not_orthogonal_share_variance_once():
    found = explained_variance(jnp.asarray(SPECTRA), jnp.asarray(OBLIQUE))
    each, together = shares(SPECTRA, OBLIQUE)
    np.testing.assert_allclose(found.per_component, each, **CLOSE)
    np.testing.assert_allclose(found.cumulative, together, **CLOSE)
    np.testing.assert_array_equal(found.total, found.cumulative[-1])
    assert each.sum() > together[-1] + 0.01


def test_a_component_that_adds_nothing():
    """One that comes twice, that lies between two, and one that is 0."""
    first, second = OBLIQUE[:2]
    rows = np.stack([first, 3 * first, second, first - 2 * second, np.zeros(FEATURES), OBLIQUE[2]])
    found = explained_variance(jnp.asarray(SPECTRA), jnp.asarray(rows, jnp.float32))
    _, together = shares(SPECTRA, OBLIQUE)
    wanted = together[[0, 0, 1, 1, 1, 2]]
    np.testing.assert_allclose(found.cumulative, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.per_component[4], 0)
    assert found.undefined == 0


@pytest.mark.parametrize("scale", [1e-36, 1e36])
def test_scale_and_offset_do_not_matter(scale):
    """No square overflows or vanishes, of the data or of the components."""
    found = explained_variance(jnp.asarray(SPECTRA), jnp.asarray(OBLIQUE))
    scaled = explained_variance(
        jnp.asarray(SPECTRA * np.float32(scale)), jnp.asarray(OBLIQUE * np.float32(scale))
    )
    chex.assert_trees_all_close(scaled, found, rtol=1e-5)
    moved = explained_variance(jnp.asarray(SPECTRA + 1000), jnp.asarray(OBLIQUE))
    chex.assert_trees_all_close(moved, found, rtol=1e-4)
    angles = component_orthogonality(jnp.asarray(OBLIQUE * np.float32(scale)))
    chex.assert_trees_all_close(angles, component_orthogonality(jnp.asarray(OBLIQUE)), rtol=1e-6)


@pytest.mark.parametrize("offset", [1e5, 1e7])
def test_a_mean_that_is_large_beside_the_variance(offset):
    """Numbers as float32 has them there; a mean in float32 would be off by the rounding of sums."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((1, 100, FEATURES)) * np.arange(1, 7) + offset).astype(np.float32)
    found = explained_variance(jnp.asarray(x), jnp.asarray(OBLIQUE))
    each, together = shares(x, OBLIQUE)
    np.testing.assert_allclose(found.per_component, each, **CLOSE)
    np.testing.assert_allclose(found.cumulative, together, **CLOSE)
    with jax.enable_x64(True):
        wide = x.astype(np.float64) + 1e10
        found = explained_variance(jnp.asarray(wide), jnp.asarray(OBLIQUE))
        np.testing.assert_allclose(found.per_component, each, **CLOSE)
        assert found.total.dtype == jnp.float32


def test_a_mask_is_true_whatever_its_bytes_are():
    """Pillow's bitmaps come as bools of 0 and 255."""
    mask = (WHERE * np.uint8(255)).view(bool)
    given = jnp.asarray(SPECTRA), jnp.asarray(OBLIQUE)
    plain = explained_variance(*given, where=jnp.asarray(WHERE))
    chex.assert_trees_all_equal(explained_variance(*given, where=jnp.asarray(mask)), plain)


def test_masked_equals_removed_whatever_lies_there():
    hidden = np.where(WHERE[..., None], SPECTRA, np.nan)
    masked = explained_variance(jnp.asarray(hidden), jnp.asarray(OBLIQUE), where=jnp.asarray(WHERE))
    each, together = shares(SPECTRA[WHERE], OBLIQUE)
    np.testing.assert_allclose(masked.per_component, each, **CLOSE)
    np.testing.assert_allclose(masked.cumulative, together, **CLOSE)


def test_undefined_variance_is_nan_and_counted():
    x, w = jnp.asarray(SPECTRA), jnp.asarray(OBLIQUE)
    everywhere = jnp.ones(WHERE.shape, bool)
    cases = {
        "nothing is counted": (x, w, ~everywhere),
        "one pixel": (x, w, ~everywhere.at[1, 2].set(False)),
        "all alike": (jnp.full_like(x, 0.1), w, everywhere),
        "NaN": (x.at[0, 0, 0].set(jnp.nan), w, everywhere),
        "infinite": (x.at[0, 0, 0].set(jnp.inf), w, everywhere),
        "NaN in a component": (x, w.at[1, 1].set(jnp.nan), everywhere),
    }
    for name, (data, components, where) in cases.items():
        found = explained_variance(data, components, where=where)
        assert found.undefined == 1, name
        for value in found[:3]:
            assert np.isnan(value).all(), name


def test_orthogonality_is_over_pairs_of_different_components():
    found = component_orthogonality(jnp.asarray(OBLIQUE))
    np.testing.assert_allclose(found.mean, np.mean(cosines(OBLIQUE)), **CLOSE)
    np.testing.assert_allclose(found.largest, max(cosines(OBLIQUE)), **CLOSE)
    rows, _ = pca(SPECTRA)
    for orthogonal in (rows, 7 * rows, -rows):
        found = component_orthogonality(jnp.asarray(orthogonal, jnp.float32))
        assert found.mean < found.largest < 1e-6
    same = component_orthogonality(jnp.ones((3, 4)))
    np.testing.assert_allclose([same.mean, same.largest], 1, rtol=1e-6)
    assert same.largest <= 1


def test_of_cuvis_the_diagonal_is_in_the_mean_and_lengths_are_too():
    """Its "average off-diagonal" of cuvis-ai 0.19.3 is the mean of all of |W W^T - 1|."""
    w = np.sin(0.9 * np.arange(18) + 0.1).reshape(3, 6).astype(np.float32)
    theirs = 1.580802
    gram = w.astype(np.float64) @ w.T
    np.testing.assert_allclose(np.abs(gram - np.eye(3)).mean(), theirs, rtol=1e-5)
    found = component_orthogonality(jnp.asarray(w))
    np.testing.assert_allclose(found.mean, np.mean(cosines(w)), **CLOSE)


def test_undefined_orthogonality_is_nan_and_counted():
    w = jnp.asarray(OBLIQUE)
    for broken in (w[:1], w.at[1].set(0), w.at[0, 0].set(jnp.nan), w.at[0, 0].set(jnp.inf)):
        found = component_orthogonality(broken)
        assert found.undefined == 1
        assert np.isnan(found.mean)
        assert np.isnan(found.largest)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_shares_are_within_0_and_1_and_rise(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 8, 4)) * 10.0 ** rng.integers(-3, 4, 4)
    w = rng.standard_normal((6, 4))  # more than there are features
    w[2] = w[rng.integers(0, 2)] * rng.choice([-1, 2])
    found = explained_variance(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32))
    for share in found[:3]:
        assert ((share >= 0) & (share <= 1)).all()
    assert (np.diff(found.cumulative) >= 0).all()
    assert (found.cumulative >= np.maximum.accumulate(found.per_component) - 1e-5).all()
    np.testing.assert_allclose(found.total, 1, rtol=1e-4)
    turned = explained_variance(jnp.asarray(x, jnp.float32), jnp.asarray(-2 * w, jnp.float32))
    chex.assert_trees_all_close(turned, found, rtol=1e-5)


def test_space_dtypes_jit_vmap_and_devices():
    x, w = jnp.asarray(SPECTRA), jnp.asarray(OBLIQUE)
    whole = explained_variance(x, w)
    chex.assert_trees_all_close(explained_variance(x.reshape(4, 3, 5, -1), w), whole, rtol=1e-6)
    chex.assert_trees_all_close(jax.jit(explained_variance)(x, w), whole, rtol=1e-6)
    many = jax.vmap(lambda x: explained_variance(x, w))(x[:, None])
    for i in range(4):
        alone = explained_variance(x[i : i + 1], w)
        chex.assert_trees_all_close(jax.tree.map(lambda y, i=i: y[i], many), alone, rtol=1e-5)
    half = explained_variance(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16))
    assert half.total.dtype == jnp.float32
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    spread = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
    found = jax.device_get(
        explained_variance(spread, jax.device_put(w, jax.NamedSharding(mesh, jax.P())))
    )
    chex.assert_trees_all_close(found, jax.device_get(whole), rtol=1e-5)
    with jax.numpy_dtype_promotion("strict"):
        for function, given in ((explained_variance, (x, w)), (component_orthogonality, (w,))):
            assert "callback" not in str(jax.make_jaxpr(function)(*given))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": lambda x: x.astype(jnp.int32)}, "embeddings: expected a floating dtype"),
        ({"embeddings": lambda x: x[0, 0]}, r"embeddings: expected shape \(batch, \*space, feat"),
        ({"embeddings": lambda x: x[:0]}, "embeddings: .* not empty"),
        ({"components": lambda w: w[:, 1:]}, r"components: expected shape \(components, 6\)"),
        ({"components": lambda w: w[0]}, r"components: expected shape \(components, features\)"),
        ({"components": lambda w: w[:0]}, "components: .* not empty"),
        ({"where": lambda _: jnp.ones((4, 15))}, "where: expected bool"),
        ({"where": lambda _: jnp.ones((4, 5), bool)}, "where: expected shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    arguments = {"embeddings": jnp.asarray(SPECTRA), "components": jnp.asarray(OBLIQUE)}
    for argument, function in change.items():
        arguments[argument] = function(arguments.get(argument))
    # The public function as users have it, without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(representation.explained_variance)(**arguments)
    if "components" in change and "6" not in message:
        with pytest.raises(ValueError, match=message):
            inspect.unwrap(component_orthogonality)(arguments["components"])
