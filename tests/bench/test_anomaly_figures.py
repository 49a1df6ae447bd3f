import base64
import io
import re
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest

from lossbench._colors import FOUND, NO_SCORE
from lossbench.bench import drawing
from lossbench.bench.anomaly_figures import heat_bar, heat_png, scene, score_maps
from lossbench.training.heat import common_limits, heat


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return {"RX": rng.chisquare(9, (12, 16)), "SVDD": 5 * rng.chisquare(3, (12, 16))}


def rgb(color):
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def texts(figure):
    return [e.text for e in ElementTree.fromstring(drawing.svg(figure, "a")).iter("text")]


def shown(figure):
    """Pixels of each picture of a figure that is not its color bar, as a reader sees them."""
    made = []
    for data in re.findall(r'href="data:image/png;base64,([^"]*)"', drawing.svg(figure, "a")):
        png = base64.b64decode(re.sub(r"\s", "", data))
        made.append(np.round(255 * matplotlib.image.imread(io.BytesIO(png))[..., :3]).astype(int))
    return made


def holds(pictures, wanted):
    """Whether a picture is drawn; SVG may hold it upside down."""
    return any(
        p.shape == wanted.shape and ((p == wanted).all() or (p[::-1] == wanted).all())
        for p in pictures
    )


def test_all_maps_are_on_one_scale_that_is_stated(maps):
    figure = score_maps(maps)
    limits = common_limits(maps.values())
    for scores in maps.values():
        assert holds(shown(figure), heat(scores, limits))
        assert not holds(shown(figure), heat(scores, common_limits([scores])))
    words = texts(figure)
    assert {"RX", "SVDD"} <= set(words)
    assert "Anomaly score, percentiles 1 to 99.5 of all" in words


def test_scenes_are_rows_on_the_same_scale(maps):
    nested = {"airport": maps, "beach": {"RX": 100 * maps["RX"]}}
    figure = score_maps(nested, percentiles=(5, 95))
    limits = common_limits([*maps.values(), 100 * maps["RX"]], (5, 95))
    assert all(
        holds(shown(figure), heat(scores, limits))
        for row in nested.values()
        for scores in row.values()
    )
    assert {"airport", "beach"} <= set(texts(figure))
    assert any("percentiles 5 to 95 of all" in text for text in texts(figure) if text)


def test_limits_can_be_given(maps):
    figure = score_maps(maps, limits=(0.0, 1e4))
    assert holds(shown(figure), heat(maps["RX"], (0.0, 1e4)))
    assert "Anomaly score" in texts(figure)


def test_what_has_no_score_is_grey_and_named(maps):
    assert "not counted, or no score" not in texts(score_maps(maps))
    maps["RX"][:3] = np.nan
    figure = score_maps(maps)
    assert "not counted, or no score" in texts(figure)
    grey = [(p == rgb(NO_SCORE)).all(-1).sum() for p in shown(figure) if p.shape == (12, 16, 3)]
    assert sorted(grey) == [0, 3 * 16]


@pytest.mark.parametrize("fill", [0.0, -4.0, np.nan, np.inf])
def test_constant_maps_can_be_drawn(fill):
    figure = score_maps({"a": np.full((5, 4), fill), "b": np.full((5, 4), fill)})
    assert drawing.figure_png(figure, dots=50)


def test_many_maps_wrap_and_shapes_may_differ(maps):
    many = {f"map {k}": np.ones((3 + k, 9)) * k for k in range(5)}
    figure = score_maps(many, columns=3)
    assert set(many) <= set(texts(figure))


def test_what_is_no_map_is_named(maps):
    with pytest.raises(ValueError, match="expected at least one"):
        score_maps({})
    with pytest.raises(ValueError, match="expected height width"):
        score_maps({"a": np.zeros((2, 3, 4))})


def test_a_scene_goes_from_picture_to_decision(maps):
    scores, color = maps["RX"], np.full((12, 16, 3), 0.5)
    labels, flagged = np.zeros((12, 16), bool), scores > 15
    labels[2, 3:6] = True
    figure = scene(color, scores, labels=labels, flagged=flagged, title="harbor")
    found, missed = int((labels & flagged).sum()), int((labels & ~flagged).sum())
    assert {"harbor", "Scores", "Decision", f"{found} found", f"{missed} missed"} <= set(
        texts(figure)
    )
    assert holds(shown(figure), heat(scores, common_limits([scores])))


def test_a_scene_may_know_no_truth_or_no_decision(maps):
    scores, color = maps["RX"], np.full((12, 16, 3), 0.5)
    flagged, where = scores > 15, np.ones((12, 16), bool)
    where[:4] = False
    figure = scene(color, scores, flagged=flagged, where=where)
    count = int((flagged & where).sum())
    assert f"{count} flagged" in texts(figure)
    assert count in [(p == rgb(FOUND)).all(-1).sum() for p in shown(figure)]
    assert f"{int(flagged.sum())} anomalous" in texts(scene(color, scores, labels=flagged))
    assert len([p for p in shown(scene(color, scores)) if p.shape == (12, 16, 3)]) == 2


def test_large_maps_are_thinned_and_lose_no_peak():
    scores = np.zeros((700, 900))
    scores[333, 777] = 9
    got = np.round(255 * matplotlib.image.imread(io.BytesIO(heat_png(scores, (0, 9)))))[..., :3]
    assert got.shape[:2] == (175, 225)
    assert (got.sum(-1) > 600).sum() == 1
    figure = scene(np.zeros((700, 900, 3)), scores, flagged=scores > 1, limits=(0, 9))
    assert max(p.shape[0] for p in shown(figure)) <= 512
    assert 1 in [(p == rgb(FOUND)).all(-1).sum() for p in shown(figure)]


def test_a_scale_that_stands_alone_names_its_ends():
    assert {"0.5", "1,250", "Score"} <= set(texts(heat_bar((0.5, 1250.0), "Score")))
    named = texts(heat_bar((0.0, 2.0), "cost", {0.0: "all", 2.0: "none"}))
    assert {"all", "none"} <= set(named)
    heat_bar((1.0, 1.0), "constant")
