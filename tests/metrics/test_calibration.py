"""Calibration errors against loops in float64, and against what other libraries give."""

import functools
import inspect
import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

import lossbench
from lossbench.metrics import _confidence, _reliability, calibration

STORED = json.loads((Path(__file__).parent / "data" / "calibration_values.json").read_text())
# Images: honest, too sure, on edges of bins, and certain.
PROBABILITIES = np.array(STORED["probabilities"], np.float32)
LABELS = np.array(STORED["labels"])
CLASSES = PROBABILITIES.shape[-1]
WHERE = np.random.default_rng(0).random(LABELS.shape) < 0.7
ERRORS = ("expected_calibration_error", "classwise_calibration_error", "adaptive_calibration_error")
NORMS = ("l1", "l2", "max", "mean")
CLOSE = {"rtol": 2e-6, "atol": 2e-7}


def top_label(p, labels):
    return p.max(-1), p.argmax(-1) == labels


def equal_width(confidence, bins):
    """The bin of each; a confidence of k / bins, as float32 has it, is the first one of bin k."""
    edges = np.float32(np.arange(1, bins) / bins)
    return np.array([sum(c >= edge for edge in edges) for c in confidence], int)


def equal_mass(confidence, bins):
    """The bin of each; bin k begins with the value of rank floor(k n / bins)."""
    ranked = np.sort(confidence)
    edges = [ranked[k * len(ranked) // bins] for k in range(1, bins)]
    return np.array([sum(c >= edge for edge in edges) for c in confidence], int)


def error(confidence, right, place, norm):
    """The gaps of the bins, put together; float64."""
    shares, gaps = [], []
    for k in set(place.tolist()):
        inside = place == k
        shares.append(inside.mean())
        gaps.append(abs(right[inside].mean() - confidence[inside].astype(np.float64).mean()))
    shares, gaps = np.array(shares), np.array(gaps)
    if not len(gaps):
        return np.nan
    return {
        "l1": (shares * gaps).sum(),
        "l2": np.sqrt((shares * gaps**2).sum()),
        "max": gaps.max(),
        "mean": gaps.mean(),
    }[norm]


def reference(name, p, labels, bins=15, norm="l1"):
    """The error of one image by its definition; of each class, where that is what it is of."""
    if name.startswith("classwise"):
        columns = [(p[:, c], labels == c) for c in range(p.shape[1])]
        return [error(x, true, equal_width(x, bins), norm) for x, true in columns]
    confidence, right = top_label(p, labels) if p.shape[1] > 1 else (p[:, 0], labels == 1)
    place = (equal_mass if name.startswith("adaptive") else equal_width)(confidence, bins)
    return error(confidence, right, place, norm)


EVERYWHERE = jnp.ones(LABELS.shape, bool)  # always given, so that more tests share a program


def of_images(name, p=PROBABILITIES, labels=LABELS, where=EVERYWHERE, **options):
    arrays = jnp.asarray(p), jnp.asarray(labels)
    return getattr(calibration, name)(*arrays, where=jnp.asarray(where), **options)


@pytest.mark.parametrize(
    ("norm", "bins"), [("l1", 1), ("l1", 15), ("l2", 15), ("max", 15), ("mean", 20)]
)
@pytest.mark.parametrize("name", ERRORS)
def test_equals_the_definition(name, norm, bins):
    found = of_images(name, where=WHERE, bins=bins, norm=norm)
    rows = zip(PROBABILITIES, LABELS, WHERE, strict=True)
    wanted = [reference(name, p[w], y[w], bins, norm) for p, y, w in rows]
    np.testing.assert_allclose(found.values, wanted, **CLOSE)
    np.testing.assert_allclose(found.mean, np.mean(wanted), **CLOSE)
    assert found.undefined == 0
    assert found.values.dtype == jnp.float32


@pytest.mark.parametrize(("norm", "bins"), [("l1", 15), ("l2", 15), ("max", 15), ("l1", 10)])
def test_equals_torchmetrics_where_nothing_is_certain(norm, bins):
    """Of images 1 and 3 some confidences are 1, for which torchmetrics has a bin of its own."""
    top = of_images("expected_calibration_error", bins=bins, norm=norm).values
    one = of_images("classwise_calibration_error", bins=bins, norm=norm).values[:, 1]
    for i, stored in enumerate(STORED["values"]["torchmetrics"]):
        if not (top_label(PROBABILITIES[i], LABELS[i])[0] == 1).any():
            np.testing.assert_allclose(top[i], stored[f"multiclass {norm} {bins}"], **CLOSE)
        if not (PROBABILITIES[i, :, 1] == 1).any():
            np.testing.assert_allclose(one[i], stored[f"binary {norm} {bins}"], **CLOSE)


@pytest.mark.parametrize(
    ("reduction", "norm"), [("expected", "l1"), ("average", "mean"), ("maximum", "max")]
)
def test_equals_monai_of_each_class(reduction, norm):
    found = of_images("classwise_calibration_error", bins=20, norm=norm).values
    stored = [image[reduction] for image in STORED["values"]["monai"]]
    np.testing.assert_allclose(found, stored, **CLOSE)


def test_the_diagram_is_scikit_learns():
    """But for image 2, of which all are on edges, which there belong to the bin below."""
    found = of_images("reliability_diagram", PROBABILITIES[..., 1:2], LABELS == 1, bins=5)
    for i in (0, 1, 3):
        confidence, accuracy = STORED["values"]["scikit-learn"][i]["curve of class 1"]
        there = np.asarray(found.number[i]) > 0
        np.testing.assert_allclose(found.confidence[i, there], confidence, **CLOSE)
        np.testing.assert_allclose(found.accuracy[i, there], accuracy, **CLOSE)
        assert np.isnan(found.confidence[i, ~there]).all()


def of_two(p, labels, bins):
    p = jnp.array(p, jnp.float32)[None, :, None]
    return calibration.expected_calibration_error(p, jnp.array([labels]), bins=bins).values[0]


def test_a_probability_on_an_edge_is_in_the_bin_above_and_not_so_elsewhere():
    """torchmetrics' edges are multiples of a rounded 1/15: the third of them is above 0.2.

    MONAI's belong to the bin below, though it says otherwise of `right=False`.
    """
    ours = of_two([0.2, 0.19], [1, 0], 15)  # one bin each
    np.testing.assert_allclose(ours, (0.8 + 0.19) / 2, **CLOSE)
    stored = STORED["on edges"]["on 3 / 15"]
    assert all(abs(value - abs(0.5 - 0.195)) < 1e-6 for value in stored.values())

    ours = of_two([0.5, 0.47], [1, 0], 20)
    np.testing.assert_allclose(ours, (0.5 + 0.47) / 2, **CLOSE)
    stored = STORED["on edges"]["on 10 / 20"]
    np.testing.assert_allclose(stored["torchmetrics"], ours, **CLOSE)
    np.testing.assert_allclose(stored["monai"], 0.5 - 0.485, **CLOSE)


def test_a_probability_of_1_is_in_the_last_bin_and_not_so_in_torchmetrics():
    """There it is alone: [14/15, 1) and 1 are 16 bins, so an image that is saturated has two."""
    ours = of_two([1.0, 0.98], [0, 1], 15)
    np.testing.assert_allclose(ours, 0.99 - 0.5, **CLOSE)
    stored = STORED["on edges"]["certain"]
    np.testing.assert_allclose(stored["monai"], ours, **CLOSE)
    np.testing.assert_allclose(stored["torchmetrics"], (1 + 0.02) / 2, **CLOSE)


def test_an_image_of_a_million_pixels_and_torchmetrics_float32_sums():
    """There the confidences of a bin are added up one after the other: 0.9 comes to 0.891."""
    p, labels = jnp.full((1, 2**20, 1), 0.9), jnp.ones((1, 2**20), bool)
    ours = calibration.expected_calibration_error(p, labels).values
    np.testing.assert_allclose(ours, [1 - np.float64(np.float32(0.9))], rtol=1e-6)
    assert STORED["of many"]["torchmetrics"] > 1.08 * ours[0]


def test_every_edge_is_met_by_the_number_it_stands_for():
    count = jax.jit(_reliability.equal_width, static_argnums=1)
    for bins in (15, 100):
        p = jnp.array([k / bins for k in range(bins + 1)], jnp.float32)[None]
        judged = _confidence.Judged(p, p > 0, jnp.ones(p.shape, bool), jnp.zeros((1,), bool))
        number = _reliability.gaps_of(count(judged, bins)).number.high
        np.testing.assert_array_equal(number, [[1.0] * (bins - 1) + [2.0]])


def test_one_class_is_binned_from_0_to_1_and_two_by_the_top_label():
    p = jnp.asarray(PROBABILITIES[..., :1])
    labels = LABELS == 0
    one = calibration.expected_calibration_error(p, jnp.asarray(labels)).values
    of_class = calibration.classwise_calibration_error(p, jnp.asarray(labels)).values
    np.testing.assert_array_equal(of_class[:, 0], one)
    two = jnp.concatenate([1 - p, p], axis=-1)
    top = calibration.expected_calibration_error(two, jnp.asarray(labels)).values
    wanted = [reference(ERRORS[0], np.asarray(x), y) for x, y in zip(two, labels, strict=True)]
    np.testing.assert_allclose(top, wanted, **CLOSE)
    # Ids, masks, and a last axis of 1 mean the same.
    for same in (jnp.asarray(labels.astype(np.uint8)), jnp.asarray(labels)[..., None]):
        again = calibration.expected_calibration_error(p, same).values
        np.testing.assert_array_equal(again, one)


def test_classes_that_do_not_exclude_each_other():
    masks = np.random.default_rng(1).random(PROBABILITIES.shape) < 0.4
    p = np.random.default_rng(2).random(PROBABILITIES.shape).astype(np.float32)
    found = calibration.classwise_calibration_error(jnp.asarray(p), jnp.asarray(masks)).values
    for c in range(CLASSES):
        alone = calibration.classwise_calibration_error(
            jnp.asarray(p[..., c : c + 1]), jnp.asarray(masks[..., c])
        )
        np.testing.assert_array_equal(found[:, c], alone.values[:, 0])


@pytest.mark.parametrize("name", [*ERRORS, "reliability_diagram"])
def test_masked_equals_removed_whatever_lies_there(name):
    there = np.arange(LABELS.shape[1]) < 20
    where = np.broadcast_to(there, LABELS.shape)
    kept = of_images(name, PROBABILITIES[:, there], LABELS[:, there], where[:, there])
    ids = np.where(there, LABELS, 99)
    hidden = np.where(there[:, None], PROBABILITIES, np.float32(np.nan))
    chex.assert_trees_all_equal(of_images(name, hidden, ids, where), kept)
    # A label that is no class is as if it were masked.
    chex.assert_trees_all_equal(of_images(name, labels=ids), kept)


@pytest.mark.parametrize("broken", [np.nan, 1.5, -0.5, np.inf])
@pytest.mark.parametrize("name", [*ERRORS, "reliability_diagram"])
def test_what_is_undefined_is_nan_and_counted(name, broken):
    p, where = PROBABILITIES.copy(), np.ones(LABELS.shape, bool)
    p[1, 5, 2] = broken
    where[2] = False
    found = of_images(name, p, where=where)
    values = np.asarray(found[0]).reshape(4, -1)
    assert found.undefined == 2
    assert np.isnan(values[1:3]).all()
    assert not np.isnan(values[[0, 3]]).all(axis=1).any()
    if name in ERRORS:
        assert np.isnan(found.mean)
    where[1, 5] = False
    assert of_images(name, p, where=where).undefined == 1


def test_rounding_may_take_a_probability_past_1():
    p = jnp.array([[[1 + 1e-6, -1e-6], [0.75, 0.25]]])
    found = calibration.expected_calibration_error(p, jnp.array([[0, 0]]), bins=2)
    np.testing.assert_allclose(found.values, [0.125])


def test_a_hundred_logits_in_bfloat16_are_no_probabilities():
    """Though a sum of so many may be as far from 1 as they are from 0."""
    logits = jnp.linspace(-0.5, 1.5, 100, dtype=jnp.bfloat16)[None]
    for p, undefined in ((logits, 1), (jax.nn.softmax(logits), 0)):
        found = calibration.expected_calibration_error(p, jnp.array([99]))
        assert found.undefined == undefined


@pytest.mark.parametrize("name", ["expected", "classwise"])
def test_a_mask_is_true_whatever_its_bytes_are(name):
    """Pillow's bitmaps come as bools of 0 and 255."""
    mask = np.array([[255, 0, 255, 255]], np.uint8).view(bool)
    p = jnp.array([[0.9, 0.2, 0.7, 0.1]])[..., None]
    function = getattr(calibration, f"{name}_calibration_error")
    plain = function(p, jnp.array([[True, False, True, True]]))
    chex.assert_trees_all_equal(function(p, jnp.asarray(mask)), plain)
    if name == "classwise":
        p, plain = (jnp.concatenate([x] * 2, axis=-1) for x in (p, plain.values))
        found = function(p, jnp.asarray(np.stack([mask] * 2, axis=-1)))
        np.testing.assert_array_equal(found.values, plain)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 64), st.booleans()), min_size=24, max_size=24))
def test_ties_and_order(pixels):
    """Sixty-fourths, many of them equal: no order of the pixels changes a bit."""
    p = np.array([x for x, _ in pixels], np.float32) / 64
    labels = np.array([y for _, y in pixels])
    for name in ("expected_calibration_error", "adaptive_calibration_error"):
        function = getattr(calibration, name)
        found = function(jnp.asarray(p)[None, :, None], jnp.asarray(labels)[None], bins=5)
        wanted = reference(name, p[:, None], labels, 5)
        np.testing.assert_allclose(found.values, [wanted], **CLOSE)
        turned = function(
            jnp.asarray(p[::-1])[None, :, None], jnp.asarray(labels[::-1])[None], bins=5
        )
        np.testing.assert_array_equal(turned.values, found.values)
        assert 0 <= found.values[0] <= 1


def test_who_is_right_as_often_as_he_says_has_no_error():
    p = jnp.repeat(jnp.array([0.25, 0.75]), 4)[None, :, None]
    labels = jnp.array([[1, 0, 0, 0, 1, 1, 1, 0]], bool)
    for name in ERRORS[::2]:
        function = functools.partial(getattr(calibration, name), bins=4)
        np.testing.assert_array_equal(function(p, labels).values, [0])
        wrong = function(jnp.ones(p.shape), jnp.zeros(labels.shape, bool))
        np.testing.assert_array_equal(wrong.values, [1])


@pytest.mark.parametrize("few", [64, 0], ids=["few bins", "many bins"])
def test_sums_of_many_are_exact(monkeypatch, few):
    """In pieces of 16, with a total of units beyond 2^31: all equal, 0.99 in float32."""
    for name, value in (("PIECE", 16), ("PART", 4), ("FEW", few)):
        monkeypatch.setattr(_reliability, name, value)
    p = jnp.full((1, 3001), 0.99, jnp.float32)
    judged = _confidence.Judged(p, p > 0.5, p > 0, jnp.zeros((1,), bool))
    found = jax.jit(lambda x: _reliability.gaps_of(_reliability.equal_width(x, 4)))(judged)
    np.testing.assert_array_equal(found.confidence[0, -1], np.float32(0.99))
    np.testing.assert_allclose(found.gap[0, -1], 1 - np.float64(np.float32(0.99)), rtol=1e-6)


@pytest.mark.parametrize("name", ERRORS)
def test_space_dtypes_vmap_and_tracing(name):
    whole = of_images(name)
    space = (4, 2, 4, 6)
    shaped = of_images(
        name, PROBABILITIES.reshape(*space, CLASSES), LABELS.reshape(space), WHERE.reshape(space)
    )
    chex.assert_trees_all_equal(shaped, of_images(name, where=WHERE))
    function, arrays = getattr(calibration, name), (jnp.asarray(PROBABILITIES), jnp.asarray(LABELS))
    alone = jax.vmap(function)(*(x[:, None] for x in arrays))
    chex.assert_trees_all_equal(alone.values[:, 0], whole.values)
    half = arrays[0].astype(jnp.bfloat16)
    rounded = of_images(name, half.astype(jnp.float32))
    chex.assert_trees_all_equal(of_images(name, half), rounded)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(*arrays))


def test_float64_is_read_as_float32():
    with jax.enable_x64(True):
        name = "adaptive_calibration_error"
        found = of_images(name, PROBABILITIES.astype(np.float64), LABELS.astype(np.int64))
        assert found.values.dtype == jnp.float32
        np.testing.assert_array_equal(found.values, of_images(name).values)


@pytest.mark.parametrize("name", ERRORS)
def test_four_devices_give_what_one_does(name):
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    given = jnp.asarray(PROBABILITIES), jnp.asarray(LABELS)
    spread = jax.device_put(given, jax.NamedSharding(mesh, jax.P("data")))
    found = jax.device_get(getattr(calibration, name)(*spread).values)
    np.testing.assert_array_equal(found, of_images(name).values)


def test_many_classes_and_bins():
    rng = np.random.default_rng(3)
    logits = rng.standard_normal((2, 60, 20))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    p, labels = p.astype(np.float32), rng.integers(0, 20, (2, 60))
    for name in ERRORS[1:]:
        found = getattr(calibration, name)(jnp.asarray(p), jnp.asarray(labels), bins=100).values
        wanted = [reference(name, *image, bins=100) for image in zip(p, labels, strict=True)]
        np.testing.assert_allclose(found, wanted, **CLOSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": lambda x: x.astype(jnp.int32)}, "probabilities: expected a floating"),
        ({"probabilities": lambda x: x[:, :0]}, "probabilities: expected shape .* not empty"),
        ({"labels": lambda x: x * 1.0}, "labels: expected class ids .* got float32"),
        ({"labels": lambda x: x[:, 1:]}, "labels: expected shape"),
        ({"labels": lambda x: x > 0}, "labels: one mask .* cannot tell 3 classes apart"),
        ({"where": lambda _: jnp.ones(LABELS.shape)}, "where: expected bool"),
        ({"where": lambda _: jnp.ones((3, 4), bool)}, "where: expected shape"),
        ({"bins": lambda _: 0}, "bins: expected an integer of at least 1, got 0"),
        ({"bins": lambda _: True}, "bins: expected an integer of at least 1, got True"),
        ({"norm": lambda _: "l3"}, "norm: expected one of 'l1', .*, got 'l3'"),
    ],
)
@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_fit_is_refused_by_name(name, change, message):
    arguments = {"probabilities": jnp.asarray(PROBABILITIES), "labels": jnp.asarray(LABELS)}
    for argument, function in change.items():
        arguments[argument] = function(arguments.get(argument))
    # The public function as users have it, without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(getattr(calibration, name))(**arguments)


def test_values_are_checked_in_debug_mode():
    labels = jnp.array([[0, 1]])
    for p, message in (
        ([[0.5, 0.6], [0.5, 0.5]], "some do not sum to 1"),
        ([[3.0, -2.0], [0.5, 0.5]], "one is NaN or outside"),
    ):
        with lossbench.debug_checks(), pytest.raises(Exception, match=message):
            calibration.expected_calibration_error(jnp.array([p]), labels)
