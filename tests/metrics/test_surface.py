"""Surface metrics against brute force in float64, and against what their libraries gave."""

import functools
import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from lossbench.metrics import _surfels, surface
from tests.metrics.surface_pairs import DATA, VESSELS, real_pair, unpack
from tests.metrics.surface_reference import Pair, blobs

FUNCTIONS = {
    "hausdorff": surface.hausdorff,
    "hausdorff, directed": functools.partial(surface.hausdorff, percentile=90, directed=True),
    "hd95": surface.hd95,
    "asd": surface.asd,
    "assd": surface.assd,
    "nsd": surface.nsd,
}
OVERLAPS = {"nsd"}
DEFINITIONS = ["monai", "deepmind", "pooled"]
SPACES = {
    (10, 11): (1.0, 1.0),
    (11, 10): (0.5, 1.7),
    (1, 13): (2.0, 1.0),
    (9, 7, 8): (0.5, 7.5, 0.5),
}


@pytest.fixture(params=DEFINITIONS)
def definition(request):
    return request.param


def measure(predictions, labels, *, spacing, tolerance=1.0, **options):
    """Every metric, by name."""
    predictions, labels = jnp.asarray(predictions), jnp.asarray(labels)
    tolerances = {"nsd": {"tolerance": tolerance}}
    return {
        name: metric(predictions, labels, spacing=spacing, **options, **tolerances.get(name, {}))
        for name, metric in FUNCTIONS.items()
    }


def expected(definition, predicted, true, spacing):
    areas = _surfels.areas(spacing) if definition == "deepmind" else None
    pair = Pair(predicted, true, spacing, areas)
    pooled = definition == "pooled"
    return {
        "hausdorff": pair.hausdorff(pooled=pooled),
        "hausdorff, directed": pair.hausdorff(90, directed=True),
        "hd95": pair.hausdorff(95, pooled=pooled),
        "asd": pair.asd(),
        "assd": pair.assd(),
        "nsd": pair.nsd(1.0),
    }


def assert_values(found, wanted, **options):
    for name, values in wanted.items():
        options = {"rtol": 2e-6, "atol": 1e-6, "err_msg": name} | options
        np.testing.assert_allclose(found[name].values, values, **options)


def masks_of(space, kind="blobs", count=3):
    width = {"blobs": 1.2, "noise": 0.0}[kind]
    masks = blobs(space, 2 * count, width=width)
    return masks[:count], masks[count:]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_values_are_the_definitions(definition, space):
    spacing = SPACES[space]
    for kind in ("blobs", "noise"):
        predictions, labels = masks_of(space, kind)
        found = measure(predictions, labels, spacing=spacing, definition=definition)
        pairs = zip(predictions, labels, strict=True)
        rows = [expected(definition, p, t, spacing) for p, t in pairs]
        assert_values(found, {name: [row[name] for row in rows] for name in FUNCTIONS})
        for name, metric in found.items():
            wanted = np.mean([row[name] for row in rows])
            np.testing.assert_allclose(metric.mean, wanted, rtol=2e-6, err_msg=name)
            assert metric.undefined == 0
            assert metric.values.dtype == jnp.float32


def test_percentiles_of_every_kind(definition):
    spacing, percentiles = (0.5, 1.7), (0, 12.5, 50, 95, 97.3, 99.9, 100)
    predictions, labels = masks_of((30, 29))
    options = {"spacing": spacing, "definition": definition}
    of = lambda percentile: functools.partial(  # noqa: E731
        surface.hausdorff, percentile=percentile, **options
    )
    found = jax.jit(lambda p, t: [of(q)(p, t).values for q in percentiles])(predictions, labels)
    areas = _surfels.areas(spacing) if definition == "deepmind" else None
    pairs = [Pair(p, t, spacing, areas) for p, t in zip(predictions, labels, strict=True)]
    for values, percentile in zip(found, percentiles, strict=True):
        wanted = [pair.hausdorff(percentile, pooled=definition == "pooled") for pair in pairs]
        np.testing.assert_allclose(values, wanted, rtol=2e-6)


# --- what the libraries gave --------------------------------------------------------------------

ROWS = json.loads((Path(__file__).parent / "data" / "surface_values.json").read_text())
MADE, REAL = ([row for row in ROWS if ("name" in row) == real] for real in (False, True))


def assert_as_stored(row, predicted, true):
    options = {"spacing": tuple(row["spacing"]), "tolerance": row["tolerance"]}
    for definition, values in row["values"].items():
        found = measure(predicted[None], true[None], definition=definition, **options)
        assert_values(found, values, rtol=1e-5)


@pytest.mark.parametrize("row", MADE, ids=lambda row: str(row["shape"]))
def test_equal_to_monai_and_to_deepmind(row):
    assert_as_stored(row, *(unpack(row[k], row["shape"]) for k in ("predictions", "labels")))


@pytest.mark.long
@pytest.mark.parametrize("row", REAL, ids=lambda row: row["name"])
def test_equal_to_monai_and_to_deepmind_on_real_pairs(row):
    folder = "chase_db1" if row["name"] in VESSELS else "spinalcord"
    if not (DATA / folder).is_dir():
        pytest.skip(f"{folder} is not under LOSSBENCH_DATA")
    pytest.importorskip("PIL" if folder == "chase_db1" else "nibabel")
    predicted, true, spacing = real_pair(row["name"])
    assert list(spacing) == row["spacing"]
    assert_as_stored(row, predicted, true)


# --- areas --------------------------------------------------------------------------------------


def test_every_cell_has_the_area_of_its_mirror_images_and_of_its_complement():
    table = _surfels.areas((1.0, 1.0, 1.0))
    corners = _surfels.cells(3)
    for code, area in enumerate(table):
        assert area == pytest.approx(table[255 - code])
        inside = [c for bit, c in enumerate(corners) if code >> bit & 1]
        turned = [(c[1], c[2], 1 - c[0]) for c in inside]
        assert area == pytest.approx(table[sum(1 << corners.index(c) for c in turned)])
        assert (area > 0) == (code not in (0, 255))


def test_a_plane_has_its_area_and_an_oblique_plane_too():
    spacing = (0.5, 2.0, 3.0)
    table = _surfels.areas(spacing)
    corners = _surfels.cells(3)
    code_of = lambda inside: sum(1 << k for k, c in enumerate(corners) if inside(c))  # noqa: E731
    assert table[code_of(lambda c: c[0] == 0)] == pytest.approx(2 * 3)
    assert table[code_of(lambda c: c[1] == 1)] == pytest.approx(0.5 * 3)
    # The plane x + y + z = 1/2 cuts a triangle off.
    a, b, c = (np.eye(3) * spacing / 2).tolist()
    triangle = np.linalg.norm(np.cross(np.subtract(b, a), np.subtract(c, a))) / 2
    assert table[code_of(lambda c: sum(c) == 0)] == pytest.approx(triangle)
    assert table[code_of(lambda c: sum(c) <= 1)] == pytest.approx(6 * triangle)
    assert _surfels.areas((3.0, 4.0)) == pytest.approx(
        [0, 2.5, 2.5, 4, 2.5, 3, 5, 2.5, 2.5, 5, 3, 2.5, 4, 2.5, 2.5, 0]
    )


# --- empty, full, tiny --------------------------------------------------------------------------

NOTHING = np.zeros((5, 7), bool)
SOME = NOTHING.copy()
SOME[1:3, 2:5] = True
SPACING = (3.0, 0.5)
DIAGONAL = np.hypot(5 * 3.0, 7 * 0.5)


@pytest.mark.parametrize(
    ("definition", "empty", "one", "both", "mean"),
    [
        ("monai", "nan", np.nan, np.nan, np.nan),
        ("monai", "skip", np.nan, np.nan, 0),
        ("monai", "worst", DIAGONAL, 0, DIAGONAL / 2),
        ("monai", "zero", 0, 0, 0),
        ("deepmind", "nan", np.nan, np.nan, np.nan),
        ("deepmind", "worst", DIAGONAL, 0, DIAGONAL / 2),
        ("pooled", "nan", np.nan, np.nan, np.nan),
    ],
)
def test_an_empty_mask(definition, empty, one, both, mean):
    predictions = np.stack([NOTHING, SOME, NOTHING, SOME])
    labels = np.stack([SOME, NOTHING, NOTHING, SOME])
    found = measure(predictions, labels, spacing=SPACING, definition=definition, empty=empty)
    for name, metric in found.items():
        if name in OVERLAPS:  # with one mask empty it is defined
            last = {"worst": 1, "zero": 0}.get(empty, np.nan)
            wanted, undefined = [0, 0, last, 1], 1
            average = 1 / 3 if empty == "skip" else np.mean(wanted)
        else:
            wanted, undefined, average = [one, one, both, 0], 3, mean
        np.testing.assert_allclose(metric.values, wanted, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(metric.mean, average, rtol=1e-6, err_msg=name)
        assert metric.undefined == undefined


def test_nothing_but_undefined_examples_have_no_mean():
    found = surface.hd95(
        jnp.asarray(NOTHING)[None], jnp.asarray(SOME)[None], spacing=SPACING, empty="skip"
    )
    assert np.isnan(found.mean)
    assert found.undefined == 1


def test_identical_masks_agree(definition):
    for mask in (*blobs((10, 11), 2), np.ones((10, 11), bool), np.eye(10, 11, dtype=bool)):
        masks = np.stack([mask] * 3)
        found = measure(masks, masks, spacing=(1.0, 1.0), definition=definition)
        assert_values(found, {name: float(name in OVERLAPS) for name in FUNCTIONS}, rtol=0, atol=0)


def test_a_full_mask_has_the_surface_of_the_image(definition):
    full, pixel = np.ones((9, 7, 8), bool), np.zeros((9, 7, 8), bool)
    pixel[4, 2, 6] = True
    spacing = SPACES[full.shape]
    predictions, labels = np.stack([full, pixel, full]), np.stack([pixel, full, full])
    found = measure(predictions, labels, spacing=spacing, definition=definition)
    pairs = zip(predictions, labels, strict=True)
    rows = [expected(definition, p, t, spacing) for p, t in pairs]
    assert_values(found, {name: [row[name] for row in rows] for name in FUNCTIONS})


def test_one_voxel_moved(definition):
    voxel = np.zeros((9, 7, 8), bool)
    voxel[1, 1, 1] = True
    spacing = SPACES[voxel.shape]
    moved = np.stack([np.roll(voxel, 4, axis) for axis in range(3)])
    found = measure(moved, np.stack([voxel] * 3), spacing=spacing, definition=definition)
    # Of the surface around the voxel one half is a voxel nearer to the other's nearest side.
    mean = 3.5 if definition == "deepmind" else 4
    wanted = {"hausdorff": 4, "hausdorff, directed": 4, "hd95": 4, "asd": mean, "assd": mean}
    assert_values(found, {name: steps * np.array(spacing) for name, steps in wanted.items()})


def test_one_dimension():
    labels = jnp.array([[False, True, True, True, False, False, False, False]])
    predictions = labels.at[0, 6].set(True)
    for definition in ("monai", "pooled"):
        found = surface.hausdorff(predictions, labels, spacing=(2,), definition=definition)
        np.testing.assert_allclose(found.values, [6])


# --- properties ---------------------------------------------------------------------------------


def test_symmetry(definition):
    predictions, labels = masks_of((10, 11))
    there = measure(predictions, labels, spacing=(1.0, 1.0), definition=definition)
    back = measure(labels, predictions, spacing=(1.0, 1.0), definition=definition)
    assert_values(there, {n: back[n].values for n in ("hausdorff", "hd95", "assd", "nsd")})
    assert np.any(there["asd"].values != back["asd"].values)


def test_distances_scale_with_the_spacing(definition):
    masks = masks_of((10, 11))
    once = measure(*masks, spacing=(1.0, 1.0), definition=definition)
    scaled = measure(*masks, spacing=(4.0, 4.0), tolerance=4.0, definition=definition)
    factors = {name: 1 if name in OVERLAPS else 4 for name in FUNCTIONS}
    assert_values(scaled, {name: once[name].values * k for name, k in factors.items()})


def test_turning_the_image_turns_nothing(definition):
    masks = masks_of((11, 10))
    once = measure(*masks, spacing=(0.5, 1.7), definition=definition)
    turned = (np.ascontiguousarray(x.transpose(0, 2, 1)[:, ::-1]) for x in masks)
    again = measure(*turned, spacing=(1.7, 0.5), definition=definition)
    assert_values(again, {name: metric.values for name, metric in once.items()})


def test_a_wider_tolerance_keeps_more(definition):
    masks = map(jnp.asarray, masks_of((10, 11)))
    nsd = functools.partial(surface.nsd, *masks, spacing=SPACING, definition=definition)
    tolerances = jnp.array([0.0, 0.5, 1.0, 2.0, 5.0, 20.0])
    shares = jax.jit(jax.vmap(lambda tolerance: nsd(tolerance=tolerance).values))(tolerances)
    assert np.all(np.diff(shares, axis=0) >= 0)
    np.testing.assert_array_equal(shares[-1], 1)


def test_a_distance_of_the_tolerance_is_within_it():
    """Even where rounding to float32 would have it outside."""
    pixel = jnp.zeros((1, 3, 40), bool).at[0, 1, 1].set(True)
    moved = jnp.stack([jnp.roll(pixel, steps, 2) for steps in range(1, 37)])
    distances = 0.1 * jnp.arange(1, 37, dtype=jnp.float32)
    nsd = functools.partial(surface.nsd, spacing=(1, 0.1))
    share = jax.jit(jax.vmap(lambda p, tolerance: nsd(p, pixel, tolerance=tolerance).values[0]))
    np.testing.assert_array_equal(share(moved, distances), 1)
    np.testing.assert_array_equal(share(moved, distances * (1 - 1e-4)), 0)


# --- inside of JAX ------------------------------------------------------------------------------


def test_examples_do_not_see_each_other(definition):
    predictions, labels = masks_of((10, 11))
    empty = np.zeros((10, 11), bool)
    together = measure(predictions, labels, spacing=(1.0, 1.0), definition=definition)
    for i in range(3):
        others = [np.stack([empty, x[i], ~x[i]]) for x in (predictions, labels)]
        found = measure(*others, spacing=(1.0, 1.0), definition=definition)
        for name, metric in found.items():
            assert metric.values[1] == together[name].values[i], name


@pytest.mark.parametrize("definition", ["monai", "deepmind"])
def test_vmap_over_classes(definition):
    """Class ids give one mask a class; an absent class is undefined in its own count."""
    ids = jnp.asarray(np.random.default_rng(1).integers(0, 3, (2, 3, 10, 11)))
    options = {"spacing": SPACING, "definition": definition}
    of_class = lambda c: measure(ids[0] == c, ids[1] == c, **options)  # noqa: E731
    found = jax.jit(jax.vmap(of_class))(jnp.arange(4))  # also: jit changes nothing
    alone = [of_class(c) for c in range(3)]
    for name, metric in found.items():
        assert metric.values.shape == (4, 3)
        np.testing.assert_array_equal(metric.undefined, [0, 0, 0, 3])
        for c in range(3):
            np.testing.assert_allclose(metric.values[c], alone[c][name].values, rtol=1e-6)


@pytest.mark.parametrize("definition", ["monai", "deepmind"])
def test_four_devices_give_what_one_does(definition):
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    masks = masks_of((9, 10), count=4)
    split = jax.device_put(masks, jax.NamedSharding(mesh, jax.P("data")))
    metrics = jax.jit(functools.partial(measure, spacing=SPACING, definition=definition))
    spread = metrics(*split)
    assert len(split[0].sharding.device_set) == 4
    whole = jax.device_get(measure(*masks, spacing=SPACING, definition=definition))
    for name, metric in jax.device_get(spread).items():
        for a, b in zip(metric, whole[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=name)


def test_no_host_callback_and_strict_dtypes(definition):
    masks = map(jnp.asarray, masks_of((9, 10)))
    metrics = functools.partial(measure, spacing=SPACING, definition=definition)
    with jax.numpy_dtype_promotion("strict"):
        jaxpr = str(jax.make_jaxpr(metrics)(*masks))
    assert "callback" not in jaxpr


def test_scan_over_a_stream():
    pairs = [jnp.asarray(x)[:, None] for x in masks_of((10, 11))]
    metric = functools.partial(surface.hd95, spacing=(1.0, 1.0))
    step = lambda total, pair: (total + metric(*pair).mean, None)  # noqa: E731
    total, _ = jax.jit(lambda pairs: jax.lax.scan(step, jnp.float32(0), pairs))(pairs)
    whole = measure(*masks_of((10, 11)), spacing=(1.0, 1.0), definition="monai")
    np.testing.assert_allclose(total, whole["hd95"].values.sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": jnp.zeros((1, 5, 7))}, "predictions: expected a mask"),
        ({"labels": jnp.zeros((1, 5, 7), jnp.int32)}, "labels: expected a mask .* got int32"),
        ({"predictions": jnp.zeros((1, 5, 6), bool)}, "predictions: expected shape"),
        ({"spacing": (1.0,)}, "spacing: expected 2 numbers above 0"),
        ({"spacing": (1.0, 0.0)}, "spacing: expected 2 numbers above 0"),
        ({"definition": "itk"}, "definition: expected one of 'monai', 'deepmind', 'pooled'"),
        ({"empty": "best"}, "empty: expected one of 'worst', 'nan', 'zero', 'skip'"),
    ],
)
@pytest.mark.parametrize("name", ["hausdorff", "hd95", "asd", "assd", "nsd"])
def test_wrong_arguments_are_named(name, change, message):
    metric = FUNCTIONS[name]
    masks = {"predictions": jnp.asarray(SOME)[None], "labels": jnp.asarray(SOME)[None]}
    options = {"spacing": SPACING} | ({"tolerance": 1.0} if name == "nsd" else {})
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(metric)(**(masks | options | change))


def test_wrong_percentiles_and_dimensions_are_named():
    bare = inspect.unwrap(surface.hausdorff)
    some = jnp.asarray(SOME)[None]
    for percentile in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match="percentile: expected 0 to 100"):
            bare(some, some, spacing=SPACING, percentile=percentile)
    with pytest.raises(ValueError, match="definition: 'deepmind' is defined in 2 and 3 dimensions"):
        bare(some[:, 0], some[:, 0], spacing=(1.0,), definition="deepmind")
