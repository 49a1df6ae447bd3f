import io
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest

from lossbench.bench import drawing
from lossbench.bench.outcome_figures import (
    OUTCOMES,
    count_text,
    grey_of,
    outcome_maps,
    outcomes,
    outcomes_png,
)

LABELS = np.array([[0, 1, 1, 0], [0, 1, 0, 0]])
FLAGGED = np.array([[1, 1, 0, 0], [1, 0, 0, 1]])


def texts(figure):
    return [e.text for e in ElementTree.fromstring(drawing.svg(figure, "a")).iter("text")]


def pixels(png):
    return np.round(matplotlib.image.imread(io.BytesIO(png)) * 255).astype(int)


def rgb(color):
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def test_every_outcome_has_its_mask():
    where = np.array([[True, True, True, True], [False, True, True, True]])
    got = outcomes(LABELS, FLAGGED, where)
    assert list(got) == list(OUTCOMES)
    assert np.argwhere(got["found"]).tolist() == [[0, 1]]
    assert np.argwhere(got["false alarm"]).tolist() == [[0, 0], [1, 3]]
    assert np.argwhere(got["missed"]).tolist() == [[0, 2], [1, 1]]


def test_every_outcome_has_its_color_on_a_clear_ground():
    where = np.ones((2, 4), bool)
    where[1, 0] = False
    got = pixels(outcomes_png(LABELS, FLAGGED, where))
    kinds = [["false alarm", "found", "missed", None], [0, "missed", None, "false alarm"]]
    for y, row in enumerate(kinds):
        for x, kind in enumerate(row):
            if kind is None:
                assert got[y, x, 3] == 0
            elif kind:
                assert got[y, x].tolist() == [*rgb(OUTCOMES[kind]), 255]
            else:
                assert 0 < got[y, x, 3] < 255


def test_a_block_of_a_large_picture_shows_its_worst():
    labels, flagged = np.zeros((2, 700, 700), bool)
    labels[:3, :3] = True
    flagged[:3, :3] = True
    flagged[0, 0] = False  # missed, beside what is found
    got = pixels(outcomes_png(labels, flagged))
    assert got.shape[:2] == (234, 234)
    assert got[0, 0, :3].tolist() == rgb(OUTCOMES["missed"])


def test_counts_are_in_the_legend():
    background = np.linspace(0, 1, 8).reshape(2, 4)
    figure = outcome_maps(LABELS, {"RX": FLAGGED, "none": 0 * FLAGGED}, background)
    words = texts(figure)
    assert {"RX", "1 found", "3 false alarms", "2 missed"} <= set(words)
    assert {"none", "0 found", "0 false alarms", "3 missed"} <= set(words)


def test_a_clean_scene_shows_its_false_alarms_as_errors():
    figure = outcome_maps(np.zeros((2, 4)), {"RX": FLAGGED}, np.ones((2, 4)))
    assert {"0 found", "4 false alarms", "0 missed"} <= set(texts(figure))
    got = pixels(outcomes_png(np.zeros((2, 4)), FLAGGED))
    assert (got[..., :3] == rgb(OUTCOMES["false alarm"])).all(-1).sum() == 4


def test_the_grey_below_is_never_one_of_the_colors():
    greys = np.repeat(np.linspace(0.15, 0.75, 50)[:, None], 3, axis=1)
    for color in OUTCOMES.values():
        assert np.abs(greys - np.array(rgb(color)) / 255).max(axis=1).min() > 0.2


def test_colors_of_the_background_become_grey():
    image = np.zeros((1, 3, 3))
    image[0, 0], image[0, 1], image[0, 2, 0] = 1, np.nan, 7
    np.testing.assert_allclose(grey_of(image), [[1, 0, 1]])
    figure = outcome_maps(np.zeros((1, 3)), {"a": np.zeros((1, 3))}, image)
    assert drawing.figure_png(figure, dots=50)


@pytest.mark.parametrize(("count", "text"), [(0, "0 false alarms"), (1, "1 false alarm")])
def test_one_is_no_plural(count, text):
    assert count_text(count, "false alarm") == text
    assert count_text(1234, "missed") == "1,234 missed"


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"flagged: expected the labels' shape \(2, 4\), got \(4,"):
        outcomes(LABELS, FLAGGED.T)
    with pytest.raises(ValueError, match="where: expected"):
        outcomes(LABELS, FLAGGED, np.ones(4, bool))
