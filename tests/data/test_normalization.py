import numpy as np
import pytest

from lossbench.data.normalization import normalize


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6, 1e25])
def test_it_undoes_scale_and_offset(scale):
    image = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    reference = normalize(image)
    clipped = np.clip(image, *np.percentile(image, (0.5, 99.5)))
    np.testing.assert_allclose(reference, (clipped - clipped.mean()) / clipped.std(), atol=1e-5)
    got = normalize((scale * (image + 2)).astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference, atol=1e-3)


def test_it_withstands_outliers_and_constants():
    image = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    spoiled = image.copy()
    spoiled[0, 0, :5] = 1e6
    inner = (np.abs(image) < 1.5) & (spoiled == image)
    np.testing.assert_allclose(normalize(spoiled)[inner], normalize(image)[inner], atol=0.02)
    for value in (0.0, -7.3, 1e30):
        assert not normalize(np.full((4, 4, 4), value, np.float32)).any()
    sparse = np.zeros((20, 20, 20), np.float32)
    sparse[3, 3, 3] = 5
    assert normalize(sparse).std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_other_types_and_numbers_of_axes_give_the_same(dtype):
    image = np.random.default_rng(0).integers(0, 2, (9, 11))
    reference = normalize(image.astype(np.float32))
    for got in (normalize(image.astype(dtype)), normalize(image.astype(dtype).ravel())):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got.reshape(image.shape), reference, atol=1e-6)
    assert normalize(np.full((3, 3), 1, dtype)).dtype == np.float32
