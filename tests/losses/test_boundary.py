import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.losses.boundary import (
    boundary,
    boundary_optimum,
    boundary_schedule,
    signed_distance_map,
)
from lossbench.losses.distance_weighted import distance_weighted_cross_entropy
from lossbench.losses.hausdorff import hausdorff_dt, log_hausdorff_dt
from lossbench.losses.signed_distance_regression import signed_distance_regression
from tests.losses import agreement, distances

RNG = np.random.default_rng(4)
# Without the annotations' own check.
bare = inspect.unwrap
quick = distances.compiled(boundary)
quick_optimum = distances.compiled(boundary_optimum)
quick_map = distances.compiled(signed_distance_map)


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=False,
    spacing=None,
    normalize=True,
    **map_options,
):
    def cost(p, t, counted):
        phi = distances.signed(t > 0.5, counted, spacing, **map_options)
        phi = phi / distances.diagonal(counted, spacing) if normalize else phi
        return (p * phi)[counted].mean()

    return distances.by_class(
        cost,
        logits,
        targets,
        where=where,
        activation=activation,
        class_weights=class_weights,
        include_background=include_background,
    )


@pytest.mark.parametrize("name", distances.SHARED)
def test_boundary_is_the_formula(name):
    case, options = distances.SHARED[name]
    agreement.agree(boundary, formula, case, options, **distances.TOLERANCE)


@pytest.mark.parametrize("inside", ["paper", "plain"])
@pytest.mark.parametrize("outside", ["ignored", "background"])
@pytest.mark.parametrize("absent", ["zero", "diagonal"])
def test_conventions_of_the_map(inside, outside, absent):
    options = {"inside": inside, "outside": outside, "absent": absent, "include_background": True}
    agreement.agree(boundary, formula, "ids", options, directions=1, **distances.TOLERANCE)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("case", "spacing"),
    [("line", (0.3,)), ("ids", (2.0, 0.5)), ("volume", (1.0, 3.0, 0.7))],
)
def test_spacing(case, spacing, normalize):
    options = {"spacing": spacing, "normalize": normalize}
    agreement.agree(boundary, formula, case, options, directions=1, **distances.TOLERANCE)


def degenerate():
    """Masks of one class: empty, full, one pixel, all but one, a corner."""
    masks = np.zeros((5, 6, 7), bool)
    masks[1] = True
    masks[2, 2, 3] = True
    masks[3] = ~masks[2]
    masks[4, 0, 0] = True
    return masks


@pytest.mark.parametrize("outside", ["ignored", "background"])
@pytest.mark.parametrize("absent", ["zero", "diagonal"])
def test_degenerate_masks(outside, absent):
    masks = degenerate()
    logits = RNG.normal(size=(*masks.shape, 1))
    case = agreement.Case(logits, masks, masks[..., None].astype(float))
    options = {"activation": "sigmoid", "outside": outside, "absent": absent}
    agreement.agree(boundary, formula, case, options, **distances.TOLERANCE)


@pytest.mark.parametrize("options", [{}, {"outside": "background", "absent": "diagonal"}])
def test_value_and_gradient_are_finite(options):
    agreement.assert_finite(boundary, **options)
    agreement.assert_finite(boundary, activation="sigmoid", classes=7, **options)


def test_the_optimum_is_the_value_of_a_perfect_prediction_and_the_least():
    labels = jnp.asarray(RNG.integers(0, 3, (4, 6, 5)))
    perfect = 200 * jax.nn.one_hot(labels, 3)
    any_other = jnp.asarray(RNG.normal(size=(4, 6, 5, 3)), jnp.float32)
    where = jnp.asarray(RNG.random((4, 6, 5)) < 0.8)
    for options in (
        {},
        {"include_background": True, "inside": "plain"},
        {"where": where, "class_weights": jnp.array([1.0, 2.0, 3.0])},
        {"outside": "background", "absent": "diagonal", "normalize": False, "spacing": (2.0, 1.0)},
    ):
        least = quick_optimum(any_other, labels, **options)
        np.testing.assert_allclose(quick(perfect, labels, **options), least, atol=1e-6)
        assert np.all(quick(any_other, labels, **options) > least)
        assert np.all(least <= 0)


def test_a_map_computed_before_gives_the_same():
    labels = jnp.asarray(RNG.integers(0, 3, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 3)), jnp.float32)
    for options in ({}, {"inside": "plain", "outside": "background", "absent": "diagonal"}):
        spacing = (2.0, 0.7)
        maps = quick_map(labels, classes=3, spacing=spacing, **options)
        given = quick(logits, labels, spacing=spacing, distance_map=maps)
        np.testing.assert_allclose(
            given, quick(logits, labels, spacing=spacing, **options), rtol=1e-6
        )
    assert not np.any(jax.grad(lambda m: quick(logits, labels, distance_map=m).sum())(maps))


def test_nan_under_the_mask_stays_there():
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), jnp.float32)
    where = jnp.asarray(RNG.random((2, 6, 5)) < 0.7)
    dirty = jnp.where(where[..., None], logits, jnp.nan)
    rubbish = jnp.where(where, labels, 255)
    maps = jnp.where(where[..., None], quick_map(labels, classes=2, where=where), jnp.nan)
    clean, slope = jax.value_and_grad(lambda x: quick(x, labels, where=where).sum())(logits)
    for options in ({}, {"distance_map": maps}):
        value, gradient = jax.value_and_grad(
            lambda x, o=options: quick(x, rubbish, where=where, **o).sum()
        )(dirty)
        np.testing.assert_allclose(value, clean, rtol=1e-6)
        np.testing.assert_allclose(gradient, slope, atol=1e-7)


def test_masks_forms_of_the_map_agree():
    labels = jnp.asarray(RNG.integers(0, 3, (2, 6, 5)))
    one_hot = jnp.equal(labels[..., None], jnp.arange(3)[None, None, None])
    maps = quick_map(labels, classes=3)
    np.testing.assert_array_equal(signed_distance_map(one_hot, classes=3), maps)
    one = quick_map(labels == 1, classes=1)
    np.testing.assert_array_equal(one[..., 0], maps[..., 1])


@pytest.mark.parametrize("space", [(10,), (10, 11), (11, 10), (1, 8), (4, 5, 6)], ids=str)
def test_maps_are_those_of_scipy(space):
    masks = RNG.random((3, *space)) < 0.4
    spacing = tuple(1.0 + 0.5 * k for k in range(len(space)))
    for steps in (None, spacing):
        found = quick_map(jnp.asarray(masks), classes=1, spacing=steps)
        wanted = np.stack(
            [distances.signed(mask, np.ones(mask.shape, bool), steps) for mask in masks]
        )
        np.testing.assert_allclose(found[..., 0], wanted, rtol=1e-5, atol=1e-5)


def test_the_same_shape_at_another_scale_and_in_another_unit_costs_the_same():
    def value(size, **options):
        labels = jnp.asarray(distances.blob((size, size)))[None]
        p = jnp.asarray(distances.blob((size, size), at=0.6), jnp.float32)[None, ..., None]
        return float(quick(p, labels, activation="identity", **options)[0])

    small, large = value(48, inside="plain"), value(96, inside="plain")
    assert abs(large / small - 1) < 0.03
    np.testing.assert_allclose(value(48, spacing=(2.5, 2.5)), value(48), rtol=1e-5)
    paper = value(96, inside="plain", normalize=False) / value(48, inside="plain", normalize=False)
    assert 1.9 < paper < 2.1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_half_precision_is_computed_in_float32(dtype):
    labels = jnp.asarray(RNG.integers(0, 2, (2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(2, 6, 5, 2)), dtype)
    value, gradient = jax.value_and_grad(lambda x: boundary(x, labels).sum())(logits)
    assert value.dtype == jnp.float32
    assert gradient.dtype == dtype
    np.testing.assert_allclose(value, boundary(logits.astype(jnp.float32), labels).sum(), rtol=1e-6)


def test_vmap_jit_and_no_callback():
    labels = jnp.asarray(RNG.integers(0, 3, (3, 2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(3, 2, 6, 5, 3)), jnp.float32)
    mapped = jax.jit(jax.vmap(boundary))(logits, labels)
    one_by_one = [quick(x, y) for x, y in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(mapped, jnp.stack(one_by_one), rtol=1e-5)
    gradient = jax.grad(lambda x: boundary(x, labels[0]).sum())
    assert not distances.callbacks(gradient, logits[0])


def test_the_schedule_shifts_weight_by_the_paper():
    weight = boundary_schedule(10)
    alpha = 1.0
    for epoch in range(120):
        for step in (10 * epoch, 10 * epoch + 9):
            np.testing.assert_allclose(weight.region(step), max(alpha, 0.01), atol=1e-6)
            np.testing.assert_allclose(weight.boundary(step), 1 - max(alpha, 0.01), atol=1e-6)
        alpha -= 0.01
    traced = jax.jit(weight.boundary)(jnp.array(55))
    np.testing.assert_allclose(traced, 0.05, atol=1e-6)


def test_a_schedule_refuses_what_it_cannot_mean():
    with pytest.raises(ValueError, match="interval: expected at least 1"):
        boundary_schedule(0)
    with pytest.raises(ValueError, match="start, end: expected"):
        boundary_schedule(1, start=0.2, end=0.4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inside": "out"}, "inside: expected one of 'paper', 'plain'"),
        ({"outside": "in"}, "outside: expected one of 'ignored', 'background'"),
        ({"absent": "skip"}, "absent: expected one of 'zero', 'diagonal'"),
        ({"activation": "relu"}, "activation: expected one of"),
        ({"spacing": (1.0,)}, "spacing: expected 2 numbers above 0"),
        ({"spacing": (1.0, 0.0)}, "spacing: expected 2 numbers above 0"),
        ({"distance_map": np.zeros((3, 4, 5))}, "distance_map: expected shape"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(boundary, options, message)


def test_probabilities_have_no_boundary():
    agreement.assert_refused(boundary, {}, "labels: the boundary loss needs hard labels", "soft")


def test_spacing_may_be_traced():
    """One program for every spacing, of every loss that takes one."""
    logits, labels = (
        jnp.asarray(RNG.normal(size=(1, 4, 5, 2)), jnp.float32),
        jnp.eye(4, 5, dtype=int)[None],
    )
    losses = [boundary, distance_weighted_cross_entropy, hausdorff_dt, signed_distance_regression]

    def values(spacing):
        return jnp.stack([loss(logits, labels, spacing=spacing) for loss in losses])

    spacings = [(1.0, 2.0), (3.0, 0.5)]
    swept = jax.jit(jax.vmap(values))(jnp.array(spacings))
    wanted = jax.jit(lambda: jnp.stack([values(spacing) for spacing in spacings]))()
    np.testing.assert_allclose(swept, wanted, rtol=1e-6)


def test_maps_of_labels_name_what_is_wrong_with_them():
    with pytest.raises(ValueError, match=r"labels: expected one mask a class.*astype\(int\)"):
        bare(signed_distance_map)(jnp.array([[True, False, True]]), classes=2)
    with pytest.raises(ValueError, match="classes: expected at least 1"):
        bare(signed_distance_map)(jnp.array([[0, 1]]), classes=0)
    with pytest.raises(ValueError, match="decrement: expected at least 0"):
        boundary_schedule(1, decrement=-0.5)


@pytest.mark.long
@pytest.mark.parametrize("loss", [boundary, hausdorff_dt, log_hausdorff_dt])
def test_a_little_more_than_256_cubed_voxels_cost_what_their_tile_does(loss):
    """Float32 stops counting there. In a tile that is its own mirror image no border is nearer."""
    tile, times = (16, 16, 257), (16, 16, 1)
    ids, seen = np.zeros(tile, np.int32), np.full(tile, -1.0, np.float32)
    ids[5:11, 5:11, 100:150], seen[4:12, 4:12, 90:160] = 1, 1
    seen += RNG.uniform(-0.5, 0.5, tile).astype(np.float32)

    @jax.jit
    def cost(seen, ids):
        logits = jnp.stack([jnp.zeros_like(seen), seen], axis=-1)
        return loss(logits[None], ids[None], normalize=False)[0]

    part = cost(jnp.asarray(seen), jnp.asarray(ids))
    whole = cost(jnp.asarray(np.tile(seen, times)), jnp.asarray(np.tile(ids, times)))
    np.testing.assert_allclose(whole, part, rtol=1e-5)
