import numpy as np
import pytest

from lossbench.data.false_color import false_color
from lossbench.training.display import display_slice, has_picture, picture
from lossbench.training.step import Predicted


def batch_of(image, labels, where=None):
    where = np.ones(labels.shape, bool) if where is None else where
    return {"image": image[None, ..., None], "labels": labels[None], "where": where[None]}


def test_a_2d_image_comes_as_it_is_in_unit_range():
    rng = np.random.default_rng(0)
    image, labels = rng.normal(50, 9, (12, 10)), rng.integers(0, 3, (12, 10))
    guess = rng.integers(0, 3, (12, 10))
    seen = display_slice(batch_of(image, labels), guess[None], 0)
    assert seen.index == -1
    assert np.array_equal(seen.labels, labels)
    assert np.array_equal(seen.prediction, guess)
    assert seen.foreground == (labels > 0).sum()
    assert seen.image.min() == 0
    assert seen.image.max() == 1
    # Order is kept between the 1st and 99th percentile.
    low, high = np.percentile(image, (1, 99))
    middle = (image > low) & (image < high)
    np.testing.assert_allclose(seen.image[middle], (image[middle] - low) / (high - low))


def test_a_volume_shows_its_slice_with_most_truth():
    image = np.arange(4 * 5 * 6, dtype=float).reshape(4, 5, 6)
    labels = np.zeros((4, 5, 6), int)
    labels[:2, :2, 4], labels[0, 0, 1] = 2, 1
    guess = np.full_like(labels, 1)
    guess[..., 4] = 2
    seen = display_slice(batch_of(image, labels), guess[None], 0)
    assert seen.index == 4
    assert seen.image.shape == (4, 5)
    assert np.array_equal(seen.labels, labels[..., 4])
    assert (seen.prediction == 2).all()
    assert seen.foreground == 4


def test_padding_is_background_on_both_sides_and_leaves_the_scale_alone():
    image, labels = np.linspace(1, 2, 16).reshape(4, 4), np.ones((4, 4), int)
    where = np.ones((4, 4), bool)
    where[2:] = False
    image[2:] = -1000
    seen = display_slice(batch_of(image, labels, where), np.full((1, 4, 4), 2), 0)
    assert (seen.labels[2:] == 0).all()
    assert (seen.prediction[2:] == 0).all()
    assert (seen.image[2:] == 0).all()
    assert (seen.labels[:2] == 1).all()
    assert (seen.prediction[:2] == 2).all()
    assert seen.image[:2].max() == 1
    assert len(np.unique(seen.image[:2])) > 4


@pytest.mark.parametrize("fill", [0.0, 7.0])
def test_a_constant_image_is_black_and_a_line_is_a_picture(fill):
    flat = np.full(5, fill)
    seen = display_slice(batch_of(flat, np.array([0, 1, 1, 0, 0])), np.zeros((1, 5), int), 0)
    assert seen.image.shape == seen.labels.shape == seen.prediction.shape == (1, 5)
    assert (seen.image == 0).all()
    assert seen.foreground == 2


def test_an_example_that_is_all_padding_is_shown_black():
    labels = np.ones((4, 4), int)
    seen = display_slice(batch_of(np.ones((4, 4)), labels, np.zeros((4, 4), bool)), labels[None], 0)
    assert (seen.image == 0).all()
    assert seen.foreground == 0


def cube_of(shape=(6, 7), bands=9):
    rng = np.random.default_rng(0)
    where = np.ones(shape, bool)
    where[:2] = False
    labels = rng.random(shape) < 0.2
    return {
        "image": rng.normal(size=(1, *shape, bands)),
        "labels": labels[None],
        "where": where[None],
    }


def test_a_cube_is_shown_in_color_with_its_scores():
    batch, waves = cube_of(), np.linspace(400, 800, 9)
    scores = np.random.default_rng(1).normal(size=(1, 6, 7))
    seen = display_slice(batch, scores > 1, 0, scores=scores, color=True, wavelengths=waves)
    where = batch["where"][0]
    want = false_color(batch["image"][0], waves, where=where)
    np.testing.assert_array_equal(seen.image, want)
    np.testing.assert_array_equal(seen.scores, np.where(where, scores[0], np.nan))
    np.testing.assert_array_equal(seen.where, where)
    assert seen.foreground == (batch["labels"][0] & where).sum()
    assert display_slice(batch, scores > 1, 0).image.ndim == 2


def test_a_row_of_pixels_and_a_volume_have_scores_too():
    row = display_slice(cube_of((8,)), np.zeros((1, 8)), 0, scores=np.arange(8.0)[None], color=True)
    assert row.image.shape == (1, 8, 3)
    assert row.scores.shape == (1, 8)
    volume = cube_of((4, 5, 3))
    volume["labels"][...] = False
    volume["labels"][0, 3, 3, 2] = True
    scores = np.random.default_rng(0).normal(size=(1, 4, 5, 3))
    seen = display_slice(volume, scores > 0, 0, scores=scores, color=True)
    assert seen.image.shape == (4, 5, 3)
    assert seen.index == 2
    np.testing.assert_array_equal(seen.scores[2:], scores[0, 2:, :, 2])


def test_labels_without_pixels_have_no_picture():
    assert has_picture(cube_of())
    assert not has_picture({"image": np.zeros((2, 9)), "labels": np.zeros(2, bool)})


@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("bands", [1, 9])
def test_scores_and_color_are_shown_where_metrics_rank_scores(scored, bands):
    batch = cube_of(bands=bands)
    found = Predicted(np.zeros((1, 6, 7), int), np.ones((1, 6, 7)))
    seen = picture(batch, found, 0, None, scored=scored)
    assert (seen.scores is not None) == scored
    assert (seen.image.ndim == 3) == (scored and bands > 1)
