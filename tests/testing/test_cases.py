import numpy as np
import pytest

from lossbench.testing import cases


@pytest.mark.parametrize("classes", [1, 2, 3, 100])
def test_random_cases_differ_by_seed_and_have_every_class(classes):
    case, other = (cases.random(classes, seed=s, space=(16, 16)) for s in (0, 1))
    assert case.logits.shape == (4, 16, 16, classes)
    assert not np.array_equal(case.logits, other.logits)
    for ids in case.ids:
        assert set(np.unique(ids)) == set(range(max(classes, 2)))


def test_one_hot_has_one_class_a_pixel_and_a_single_class_is_a_mask():
    case = cases.random(3)
    np.testing.assert_array_equal(cases.one_hot(case.ids, 3).argmax(axis=-1), case.ids)
    assert np.all(cases.one_hot(case.ids, 3).sum(axis=-1) == 1)
    np.testing.assert_array_equal(cases.one_hot(case.ids % 2, 1)[..., 0], case.ids % 2)


def test_saturated_cases_reach_the_largest_logit():
    every = cases.saturated(cases.random(3))
    assert max(np.abs(c.logits).max() for c in every.values()) == 1e4
    right = every["logits of ±20 (right)"]
    np.testing.assert_array_equal(right.logits.argmax(axis=-1), right.ids)


@pytest.mark.parametrize(
    ("kind", "ones"), [("empty", 0), ("full", 30), ("one pixel", 1), ("absent class", 20)]
)
def test_degenerate_labels(kind, ones):
    case = cases.degenerate(cases.random(3), kind)
    assert np.all((case.ids == 1).sum(axis=(1, 2)) == ones)
    assert case.ids.max() <= 1


def test_rubbish_lies_under_the_mask_only():
    case = cases.part_masked(cases.random(3))
    soiled = cases.soiled(case, np.nan, 255)
    assert np.all(np.isnan(soiled.logits[:, 4:]))
    np.testing.assert_array_equal(soiled.ids[:, 4:], 255)
    np.testing.assert_array_equal(soiled.logits[:, :4], case.logits[:, :4])
    np.testing.assert_array_equal(soiled.rubbish, ~case.where)


def test_parts_and_tiles():
    case = cases.part_masked(cases.random(3))
    part = cases.take(case, np.s_[:2])
    assert part.logits.shape[0] == part.ids.shape[0] == part.where.shape[0] == 2
    tiles = cases.tiled(case, (2, 3))
    np.testing.assert_array_equal(tiles.ids[:, 6:, 10:], case.ids)
    np.testing.assert_array_equal(tiles.logits[:, :6, 5:10], case.logits)
