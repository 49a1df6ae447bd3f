"""Local RX against float64 NumPy, one pixel after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.rx_local import rx_local

RNG = np.random.default_rng(0)
H, W, C = 7, 6, 3
IMAGE = (RNG.standard_normal((H, W, C)) @ RNG.standard_normal((C, C)) * 9 + 500).astype("f4")
WHERE = RNG.random((H, W)) < 0.8
SIDES = {"inner": 3, "outer": 5}


def background(image, where, i, j, inner, outer):
    far = np.maximum(*np.abs(np.indices(where.shape) - np.array([i, j])[:, None, None]))
    return image[(far <= outer // 2) & (far > inner // 2) & where].astype(np.float64)


def reference(image, where, inner, outer, shrinkage=0.0, floor=1e-3):
    scores = np.full(where.shape, np.nan)
    for i, j in np.ndindex(where.shape):
        kept = background(image, where, i, j, inner, outer)
        if len(kept) < 2:
            continue
        s = np.cov(kept.T)
        s = (1 - shrinkage) * s + shrinkage * np.trace(s) / len(s) * np.eye(len(s))
        s[np.diag_indices(len(s))] *= 1 + floor
        d = image[i, j] - kept.mean(0)
        scores[i, j] = d @ np.linalg.solve(s, d)
    return scores


@pytest.mark.parametrize("options", [{}, {"shrinkage": 0.2, "floor": 0.0}])
def test_scores_are_those_of_float64(options):
    found = rx_local(IMAGE, where=WHERE, **SIDES, **options)
    np.testing.assert_allclose(found, reference(IMAGE, WHERE, **SIDES, **options), rtol=1e-3)


def test_nan_under_the_mask_reaches_its_own_score_alone():
    image = np.where(WHERE[..., None], IMAGE, np.nan)
    found = np.asarray(rx_local(image, where=WHERE, **SIDES))
    plain = np.asarray(rx_local(IMAGE, where=WHERE, **SIDES))
    np.testing.assert_array_equal(found[WHERE], plain[WHERE])


def test_constant_bands_and_no_background():
    image = np.concatenate([IMAGE, np.full((H, W, 1), 5, np.float32)], axis=2)
    plain = rx_local(IMAGE, **SIDES)
    np.testing.assert_allclose(rx_local(image, **SIDES), plain, rtol=1e-4)
    np.testing.assert_array_equal(rx_local(IMAGE * 0 + 3, **SIDES), 0)
    assert np.isnan(rx_local(IMAGE, where=WHERE & False, **SIDES)).all()


def test_fewer_pixels_than_bands():
    image = RNG.standard_normal((4, 4, 12)).astype(np.float32)
    every = np.ones((4, 4), bool)
    found = rx_local(image, inner=1, outer=3, floor=0.01)
    wanted = reference(image, every, inner=1, outer=3, floor=0.01)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_inside_vmap():
    many = jax.jit(jax.vmap(lambda image: rx_local(image, **SIDES)))(jnp.stack([IMAGE, IMAGE + 1]))
    np.testing.assert_allclose(many[0], rx_local(IMAGE, **SIDES), rtol=1e-4)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (IMAGE[0], SIDES, "expected shape .height, width, channels."),
        (IMAGE, {"inner": 2, "outer": 5}, "inner: expected an odd number of pixels, got 2"),
        (IMAGE, {"inner": 5, "outer": 5}, "outer: expected more than inner, which is 5, got 5"),
        (IMAGE, {**SIDES, "shrinkage": "ledoit_wolf"}, "a number from 0 to 1, got 'ledoit_wolf'"),
        (IMAGE, {**SIDES, "where": WHERE[:2]}, "where: expected shape"),
    ],
)
def test_what_does_not_fit(image, options, message):
    with pytest.raises(ValueError, match=message):
        rx_local(image, **options)
