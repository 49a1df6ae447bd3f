"""clDice against the formula, with skeletons of scikit-image and of `ops.skeleton`."""

import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import metrics
from lossbench.metrics.cl_dice import cl_dice
from lossbench.ops.thinning import skeleton
from tests.metrics.surface_reference import blobs

STORED = Path(__file__).parents[1] / "ops" / "data" / "skeletons.json"
CASES = [case for case in json.loads(STORED.read_text())["cases"] if case["space"][0] > 1]
quick = jax.jit(cl_dice, static_argnames="empty")


def formula(predicted, true, predicted_line, true_line):
    precision = (predicted_line & true).sum() / predicted_line.sum()
    sensitivity = (true_line & predicted).sum() / true_line.sum()
    both = precision + sensitivity
    return 2 * precision * sensitivity / both if both else 0.0


def moved(mask, steps):
    """A mask in a larger image, and the same elsewhere: by even steps, so is its 3D skeleton."""
    wide = np.pad(mask, 4)
    return wide, np.roll(wide, steps, range(mask.ndim))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["space"]))
def test_the_value_is_that_of_scikit_image_s_skeletons(case):
    """In 2D of Guo and Hall's exactly, and nearly of Zhang and Suen's; in 3D nearly of Lee's."""
    letters = np.array(list(case["mask"])).reshape(case["space"])
    masks = letters != "."
    for steps in (2, -2, 4):
        pair = moved(masks, (0, steps, *[0] * (masks.ndim - 2)))
        found = quick(*(jnp.asarray(mask)[None] for mask in pair)).values[0]
        for inside, tolerance in (("gb", 1e-6), ("zb", 0.05)):
            if inside == "gb" and masks.ndim == 3:
                continue
            lines = moved(np.isin(letters, list(inside)), (0, steps, *[0] * (masks.ndim - 2)))
            assert abs(found - formula(*pair, *lines)) < tolerance


@pytest.mark.parametrize("space", [(20,), (17, 16), (7, 8, 9)], ids=str)
def test_the_value_is_the_formula(space):
    masks = blobs(space, 8)
    lines = np.asarray(jax.jit(skeleton)(jnp.asarray(masks)))
    found = quick(jnp.asarray(masks[:4]), jnp.asarray(masks[4:]))
    rows = zip(masks[:4], masks[4:], lines[:4], lines[4:], strict=True)
    wanted = [formula(*row) for row in rows]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6)
    np.testing.assert_allclose(found.mean, np.mean(wanted), rtol=1e-6)
    assert found.undefined == 0


def test_a_width_does_not_matter_but_a_gap_does():
    thin = jnp.zeros((1, 15, 30), bool).at[0, 7, 3:27].set(True)
    thick = jnp.zeros((1, 15, 30), bool).at[0, 5:10, 1:29].set(True)
    assert quick(thick, thin).values[0] == 1
    gap = thick.at[0, :, 12:18].set(False)
    assert 0.75 < quick(gap, thick).values[0] < 0.9


def test_empty_full_and_equal_masks():
    some = jnp.zeros((1, 15, 30), bool).at[0, 5:10, 1:29].set(True)
    nothing, full = jnp.zeros_like(some), jnp.ones_like(some)
    for mask in (some, full):
        assert quick(mask, mask).values[0] == 1
        for empty in ("nan", "skip", "worst", "zero"):  # defined
            for pair in ((mask, nothing), (nothing, mask)):
                found = quick(*pair, empty=empty)
                assert (found.values[0], found.undefined) == (0, 0)
    for empty, value in {"nan": np.nan, "skip": np.nan, "worst": 1, "zero": 0}.items():
        found = quick(nothing, nothing, empty=empty)
        np.testing.assert_array_equal(found.values, [value])
        assert found.undefined == 1
    both = jnp.concatenate([some, nothing])
    assert quick(both, both, empty="skip").mean == 1
    assert np.isnan(quick(both, both).mean)


def test_vmap_over_classes_sharding_and_no_callback():
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 4, 8, 9)))
    of_class = lambda c: cl_dice(ids[0] == c, ids[1] == c)  # noqa: E731
    found = jax.jit(jax.vmap(of_class))(jnp.arange(3))
    for c in range(3):
        np.testing.assert_allclose(found.values[c], of_class(c).values, rtol=1e-6)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    pair = jax.device_put((ids[0] == 1, ids[1] == 1), jax.NamedSharding(mesh, jax.P("data")))
    np.testing.assert_allclose(quick(*pair).values, found.values[1], rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(of_class)(0))


def test_wrong_arguments_are_named():
    bare = inspect.unwrap(cl_dice)
    mask = jnp.ones((1, 4, 4), bool)
    with pytest.raises(ValueError, match="labels: expected one to three spatial axes"):
        bare(mask[:, 0, 0], mask[:, 0, 0])
    with pytest.raises(ValueError, match="predictions: expected shape"):
        bare(mask[:, :3], mask)
    with pytest.raises(ValueError, match="labels: expected a mask"):
        bare(mask, mask * 1.0)
    with pytest.raises(ValueError, match="empty: expected one of"):
        bare(mask, mask, empty="one")


def test_a_stream_has_the_value_of_each_case_without_its_padding():
    rng = np.random.default_rng(4)
    predictions, labels = rng.integers(0, 3, (2, 3, 9, 8))
    predictions[2], labels[2] = np.minimum(predictions[2], 1), np.minimum(labels[2], 1)
    inside = np.zeros(labels.shape, bool)
    inside[:, 1:8, 2:] = True
    pair = jnp.asarray(predictions), jnp.asarray(labels)
    state = metrics.ClDice.empty(cases=4, num_classes=3)
    state = jax.jit(lambda s: s.update(*pair, case=jnp.arange(3), where=jnp.asarray(inside)))(state)
    scores = state.compute()
    for c in range(3):
        found = quick(*(x[:, 1:8, 2:] == c for x in pair)).values
        np.testing.assert_allclose(scores.per_case[:3, c], found, rtol=1e-6)
    assert np.isnan(scores.per_case[2, 2])
    assert scores.undefined == 1
    assert np.all(np.isnan(scores.per_case[3]))
    assert metrics.get("cl_dice") is metrics.ClDice
