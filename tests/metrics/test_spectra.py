"""Similarities of spectra against the papers' formulas in float64, on hard pairs and real ones."""

import functools
import inspect
import os
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import AxisType

from lossbench.metrics import spectra
from tests.metrics import peptides, spectra_reference

NAMES, PREDICTED, OBSERVED, WHERE = spectra_reference.examples()
METRICS = {
    "spectral_cosine": (spectra.spectral_cosine, {}, spectra_reference.cosine),
    "spectral_angle": (spectra.spectral_angle, {}, spectra_reference.angle),
    "normalized_spectral_angle": (
        spectra.normalized_spectral_angle,
        {},
        spectra_reference.normalized_angle,
    ),
    "spectral_entropy_similarity": (
        spectra.spectral_entropy_similarity,
        {},
        spectra_reference.entropy_similarity,
    ),
    "unweighted": (
        spectra.spectral_entropy_similarity,
        {"weighted": False},
        spectra_reference.entropy_similarity,
    ),
    "pearson": (spectra.pearson, {}, spectra_reference.pearson),
    "matched_peak_share": (spectra.matched_peak_share, {}, spectra_reference.matched_peak_share),
    "all above 0.2": (
        spectra.matched_peak_share,
        {"threshold": 0.2},
        spectra_reference.matched_peak_share,
    ),
}
CLOSE = {"rtol": 2e-6, "atol": 6e-7}
SYMMETRIC = [name for name in METRICS if name not in ("matched_peak_share", "all above 0.2")]
PEPTIDES = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))


@pytest.fixture(params=METRICS)
def name(request):
    return request.param


def function_of(name):
    metric, options, _ = METRICS[name]
    return functools.partial(metric, **options)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_the_value_is_the_papers(name, masked):
    where = WHERE if masked else np.ones_like(WHERE)
    found = function_of(name)(
        jnp.asarray(PREDICTED), jnp.asarray(OBSERVED), where=jnp.asarray(WHERE) if masked else None
    )
    _, options, formula = METRICS[name]
    wanted = spectra_reference.of_rows(formula, PREDICTED, OBSERVED, where, **options)
    for i, row in enumerate(NAMES):
        np.testing.assert_allclose(found.values[i], wanted[i], **CLOSE, err_msg=row)
    assert found.undefined == np.isnan(wanted).sum() > 0
    assert np.isnan(found.mean)
    assert found.values.dtype == jnp.float32


def test_the_mean_is_over_examples():
    predicted, observed = jnp.asarray(PREDICTED), jnp.asarray(OBSERVED)
    defined = np.array([name.startswith(("random", "alike", "large")) for name in NAMES])
    found = spectra.spectral_cosine(predicted[defined], observed[defined])
    assert defined.sum() == 3
    assert found.undefined == 0
    np.testing.assert_allclose(found.mean, np.mean(found.values), rtol=1e-6)


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -1.0, 1e38])
def test_what_is_under_the_mask_reaches_nothing(name, rubbish):
    where = jnp.asarray(WHERE)
    clean = function_of(name)(jnp.asarray(PREDICTED), jnp.asarray(OBSERVED), where=where)
    soiled = (jnp.where(where, x, rubbish) for x in (PREDICTED, OBSERVED))
    chex.assert_trees_all_equal(function_of(name)(*soiled, where=where), clean)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_counts_and_is_no_number_leaves_no_value(name, broken):
    whole = jnp.broadcast_to(jnp.asarray(PREDICTED[:1]), PREDICTED.shape)
    for pair in ((whole.at[:, 2].set(broken), whole), (whole, whole.at[:, 5:].set(broken))):
        found = function_of(name)(*pair)
        assert np.isnan(found.values).all()
        assert found.undefined == len(NAMES)


def test_a_spectrum_is_like_itself_and_brightness_changes_nothing(as_users):
    """To 1e-7, also angles: the arccos of a cosine that is rounded would be 3e-4, or NaN."""
    spectrum = jnp.abs(jax.random.normal(jax.random.key(0), PREDICTED.shape))
    for name in METRICS:
        best = 0 if name == "spectral_angle" else 1
        function = jax.jit(function_of(name), compiler_options=as_users)
        found = function(spectrum, spectrum)
        np.testing.assert_allclose(found.values, best, atol=2e-7)
        brighter = function(spectrum * 1e6, spectrum * 1e-6)
        np.testing.assert_allclose(brighter.values, best, atol=4e-7)


@pytest.mark.parametrize("size", [1e-36, 3e38])
@pytest.mark.parametrize("name", ["spectral_cosine", "pearson", "spectral_entropy_similarity"])
def test_the_unit_may_be_as_large_or_small_as_floats_are(name, size):
    """XLA multiplies by reciprocals, and that of 3e38 is 0."""
    one, two = jnp.array([[0.25, 1.0, 0.5]]), jnp.array([[1.0, 0.5, 0.25]])
    function = getattr(spectra, name)
    np.testing.assert_allclose(function(one * size, one).values, 1, rtol=1e-6)
    found = function(one * size, two * size).values
    np.testing.assert_allclose(found, function(one, two).values, rtol=1e-6)


def test_a_mask_is_true_whatever_its_bytes_are():
    """Pillow's bitmaps come as bools of 0 and 255."""
    mask = np.array([[255, 0, 255, 255]], np.uint8).view(bool)
    pair = jnp.array([[1.0, 9.0, 2.0, 4.0]]), jnp.array([[2.0, 9.0, 3.0, 7.0]])
    plain = spectra.pearson(*pair, where=jnp.array([[True, False, True, True]]))
    chex.assert_trees_all_equal(spectra.pearson(*pair, where=jnp.asarray(mask)), plain)


def test_angles_too_small_for_the_arccos_of_a_float():
    spectrum, turn = np.array([[3.0, 4.0]]), np.array([[1e-6], [1e-5], [1e-4], [1e-3]])
    turned = spectrum + turn * np.array([[-4.0, 3.0]])
    found = spectra.spectral_angle(
        jnp.asarray(turned, jnp.float32), jnp.broadcast_to(jnp.float32(spectrum), (4, 2))
    )
    np.testing.assert_allclose(found.values, turn[:, 0], rtol=0.02, atol=2e-7)


def test_a_negative_intensity_has_no_entropy():
    predicted = jnp.array([[1.0, 2.0, -0.5], [1.0, 2.0, 0.5]])
    found = spectra.spectral_entropy_similarity(predicted, jnp.ones((2, 3)))
    assert np.isnan(found.values[0])
    assert found.undefined == 1
    where = jnp.array([[True, True, False], [True, True, True]])
    masked = spectra.spectral_entropy_similarity(predicted, jnp.ones((2, 3)), where=where)
    assert masked.undefined == 0


@pytest.mark.parametrize(("count", "few"), [(20, True), (21, False)])
def test_the_power_of_few_peaks_ends_where_it_is_one(count, few):
    """At an entropy of 3 nothing jumps: ln 20 is below, ln 21 above."""
    predicted = (jnp.arange(30) < count).astype(jnp.float32)[None]
    observed = predicted * jnp.where(jnp.arange(30) % 2, 1.0, 1.1)[None]
    plain, raised = (
        spectra.spectral_entropy_similarity(predicted, observed, weighted=weighted)
        for weighted in (False, True)
    )
    assert (plain.values != raised.values)[0] == few
    np.testing.assert_allclose(plain.values, raised.values, atol=1e-5)


def test_a_peak_is_what_is_above_a_share_of_the_largest():
    predicted = jnp.array([[1.0, 0.02, 0.02, 0.0, 0.5]])
    observed = jnp.array([[0.0, 100.0, 2.0, 1.0, 0.5]])
    for threshold, share in ((0, 3 / 4), (0.01, 1.0), (0.03, 0.0)):
        found = spectra.matched_peak_share(predicted, observed, threshold=threshold)
        np.testing.assert_allclose(found.values, [share], rtol=1e-6)
        traced = jax.jit(
            lambda t: spectra.matched_peak_share(predicted, observed, threshold=t).values
        )
        np.testing.assert_array_equal(traced(jnp.float32(threshold)), found.values)
    nothing = spectra.matched_peak_share(0 * predicted, observed)
    np.testing.assert_array_equal(nothing.values, [0])  # defined: nothing of it was found


PAIRS = hnp.arrays(np.float32, (2, 12), elements=st.floats(0, 100, width=32, allow_subnormal=False))
TOGETHER = {name: jax.jit(function_of(name)) for name in METRICS}


@settings(max_examples=40, deadline=None)
@given(pair=PAIRS, order=st.permutations(range(12)))
def test_bounds_symmetry_and_order(pair, order):
    first, second = (jnp.asarray(x[None]) for x in pair)
    for name, function in TOGETHER.items():
        value = function(first, second).values[0]
        low, high = {"pearson": (-1, 1), "spectral_angle": (0, np.pi / 2)}.get(name, (0, 1))
        assert np.isnan(value) or low - 1e-6 <= value <= high + 1e-6, name
        if name in SYMMETRIC:
            np.testing.assert_allclose(function(second, first).values[0], value, **CLOSE)
        moved = function(first[:, jnp.array(order)], second[:, jnp.array(order)])
        # Correlations of what is nearly constant have few digits, which the order of a sum changes.
        np.testing.assert_allclose(moved.values[0], value, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("name", ["spectral_angle", "unweighted", "pearson", "all above 0.2"])
def test_bfloat16_and_strict_dtypes(name, as_users):
    predicted, observed = (jnp.asarray(x).astype(jnp.bfloat16) for x in (PREDICTED, OBSERVED))
    function = jax.jit(function_of(name), compiler_options=as_users)
    found = function(predicted, observed)
    wide = function(predicted.astype(jnp.float32), observed.astype(jnp.float32))
    chex.assert_trees_all_equal(found, wide)
    with jax.numpy_dtype_promotion("strict"):
        jaxpr = str(
            jax.make_jaxpr(function_of(name))(jnp.asarray(PREDICTED), jnp.asarray(OBSERVED))
        )
    assert "callback" not in jaxpr


@pytest.mark.parametrize("name", ["unweighted"])
def test_vmap_float16_and_float64(name):
    predicted, observed = jnp.asarray(PREDICTED[:4]), jnp.asarray(OBSERVED[:4])
    where, function = jnp.asarray(WHERE[:4]), function_of(name)
    whole = function(predicted, observed, where=where)
    alone = jax.vmap(lambda *x: function(x[0], x[1], where=x[2]).values[0])(
        predicted[:, None], observed[:, None], where[:, None]
    )
    np.testing.assert_allclose(alone, whole.values, **CLOSE)
    half = (predicted.astype(jnp.float16), observed.astype(jnp.float16))
    wide = (x.astype(jnp.float32) for x in half)
    chex.assert_trees_all_equal(function(*half, where=where), function(*wide, where=where))
    with jax.enable_x64(True):
        given = (jnp.asarray(np.float64(x[:4])) for x in (PREDICTED, OBSERVED))
        found = function(*given, where=where)
        assert found.values.dtype == jnp.float32
        wide = function(predicted, observed, where=where)
        np.testing.assert_allclose(found.values, wide.values, **CLOSE)


def test_four_devices_give_what_one_does():
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    given = jnp.asarray(PREDICTED), jnp.asarray(OBSERVED)
    spread = jax.device_put(given, jax.NamedSharding(mesh, jax.P("data")))
    assert len(spread[0].sharding.device_set) == 4
    found = jax.device_get(spectra.spectral_angle(*spread).values)
    np.testing.assert_allclose(found, spectra.spectral_angle(*given).values, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": lambda x: x.astype(jnp.int32)}, "predicted: expected a floating dtype"),
        ({"observed": lambda x: x.astype(jnp.int32)}, "observed: expected a floating dtype"),
        ({"observed": lambda x: x[:, 1:]}, "observed: expected shape"),
        ({"predicted": lambda x: x[0]}, r"predicted: expected shape \(batch, peaks\)"),
        ({"predicted": lambda x: x[:, :0]}, "predicted: .* at least one peak"),
        ({"where": lambda _: jnp.ones(WHERE.shape)}, "where: expected bool"),
        ({"where": lambda _: jnp.ones((3, 4), bool)}, "where: expected shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, change, message):
    given = {"predicted": jnp.asarray(PREDICTED), "observed": jnp.asarray(OBSERVED)}
    for argument, function in change.items():
        given[argument] = function(given.get(argument))
    metric, options, _ = METRICS[name]
    # The public function as users have it, without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(metric)(**given, **options)


def test_a_threshold_out_of_range_is_refused():
    pair = jnp.ones((1, 3)), jnp.ones((1, 3))
    for threshold in (-0.1, 1, 2.0):
        with pytest.raises(ValueError, match=r"threshold: expected from 0 to below 1, got"):
            spectra.matched_peak_share(*pair, threshold=threshold)


@pytest.mark.skipif(
    not (PEPTIDES / "peptides").is_dir(), reason="peptides is not under LOSSBENCH_DATA"
)
def test_spectra_of_peptides_are_like_their_ions_and_not_like_those_of_others():
    """HCD spectra of MassIVE-KB, in bins of 0.1 Th, against b and y ions of the right peptide."""
    observed, ions = peptides.binned(PEPTIDES / "peptides", count=40)
    wrong = np.roll(ions, 1, axis=0)
    for name, (metric, options, formula) in METRICS.items():
        right, other = (
            metric(jnp.asarray(x), jnp.asarray(observed), **options) for x in (ions, wrong)
        )
        every = np.ones(observed[:10].shape, bool)
        wanted = spectra_reference.of_rows(formula, ions[:10], observed[:10], every, **options)
        np.testing.assert_allclose(right.values[:10], wanted, **CLOSE, err_msg=name)
        assert right.undefined == other.undefined == 0
        better = (right.values - other.values) * (-1 if name == "spectral_angle" else 1) > 0
        assert np.mean(better) > 0.95, name
