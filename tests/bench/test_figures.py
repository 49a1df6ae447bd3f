import io
import json
import re
from xml.etree import ElementTree

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from lossbench.bench import figures, rasters, results, tables


def drawn(comparison):
    rows = tables.standings(comparison, comparison.metric)
    return {
        "means": figures.means(comparison, rows),
        "differences": figures.differences(comparison, rows),
        "paired": figures.paired(comparison),
        "validation": figures.validation_curves(comparison),
        **{
            f"training of {loss}": figures.training_curve(comparison, loss)
            for loss in comparison.losses
        },
    }


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


def test_figures_are_well_formed_and_can_share_a_page(fabricate):
    comparison = results.load(fabricate(states={("focal", 1): "diverged", ("dice", 0): "pending"}))
    made = drawn(comparison)
    ids = []
    for svg in made.values():
        root = ElementTree.fromstring(svg)
        own = [element.get("id") for element in root.iter() if element.get("id")]
        ids += own
        references = re.findall(r'(?:href="|url\()#([^")]*)', svg)
        assert set(references) <= set(own)
        assert "http" not in svg
        assert "<style" not in svg
    assert len(ids) == len(set(ids))


def test_names_are_drawn_letter_by_letter(fabricate):
    names = ("cross_entropy", "$x^2$", "<b>&amp;", "\\alpha_{1}", "損失", "bell\x07")
    for name, svg in drawn(results.load(fabricate(losses=names))).items():
        if name in ("means", "differences", "paired"):
            assert {*names[:-1], "bell\ufffd"} <= set(texts(svg))


def test_long_names_are_cut(fabricate):
    long = "a" * 500
    svg = drawn(results.load(fabricate(losses=("cross_entropy", long))))["paired"]
    assert max(len(text) for text in texts(svg) if text) < 60


@pytest.mark.parametrize("state", ["failed", "pending", "completed"])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_figures_of_little_data_can_be_drawn(fabricate, state, seeds):
    losses = ("cross_entropy", "dice")
    states = {(loss, seed): state for loss in losses for seed in seeds}
    for svg in drawn(results.load(fabricate(losses=losses, seeds=seeds, states=states))).values():
        ElementTree.fromstring(svg)


def test_scores_at_the_edge_and_curves_that_overflow_can_be_drawn(fabricate):
    directory = fabricate(effects={"dice": 5.0, "focal": -5.0, "cross_entropy": 5.0})
    for path in (directory / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        result["history"]["train"][-1]["loss"] = None
        result["history"]["train"][-2]["loss"] = 1e300
        path.write_text(json.dumps(result))
    drawn(results.load(directory))


def test_the_axes_of_a_distance_have_its_unit_and_no_end_at_one(fabricate, by_hd95):
    comparison = results.load(fabricate(seeds=(0, 1), noise=0.02, **by_hd95))
    made = drawn(comparison)
    assert "Test HD95 (mm) ↓" in texts(made["means"])
    assert "Difference in test HD95 (mm) ↓ to cross_entropy" in texts(made["differences"])
    assert "Validation HD95 (mm) ↓" in texts(made["validation"])
    # All scores are above 1 or the whole interval is drawn: nothing is cut at what a share can be.
    numbers = [float(t.replace("−", "-")) for t in texts(made["means"]) if t[-1:].isdigit()]
    assert max(numbers) > 1


def test_no_interval_of_a_distance_is_drawn_below_0(fabricate, by_hd95, monkeypatch):
    comparison = results.load(fabricate(seeds=(0, 1), noise=0.2, **by_hd95))
    rows = tables.standings(comparison, "hd95")
    assert min(row.interval.low for row in rows.values()) < 0
    lows = []
    monkeypatch.setattr(figures, "_whisker", lambda _axes, _y, _mean, low, *_: lows.append(low))
    figures.means(comparison, rows)
    assert lows == [max(row.interval.low, 0) for row in rows.values()]
    lows.clear()
    figures.differences(comparison, rows)  # a difference may well be
    assert min(lows) < 0


def test_a_long_name_leaves_the_axis_its_unit(fabricate, by_hd95):
    facts = by_hd95["metrics"]["hd95"]
    plan = by_hd95 | {"metric": "h" * 30, "metrics": {"h" * 30: facts, "dice": {}}}
    comparison = results.load(fabricate(**plan))
    rows = tables.standings(comparison, comparison.metric)
    assert f"Test {'h' * 23}… (mm) ↓" in texts(figures.means(comparison, rows))


def test_a_users_settings_neither_reach_the_figures_nor_are_changed(fabricate):
    comparison = results.load(fabricate())
    plain = drawn(comparison)
    with matplotlib.rc_context({"font.size": 40, "text.usetex": True, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert drawn(comparison) == plain
        assert dict(matplotlib.rcParams) == before


def test_every_loss_has_its_own_line(fabricate):
    losses = tuple(f"loss_{k}" for k in range(13))
    comparison = results.load(fabricate(losses=losses, seeds=(0,), size=16))
    colors = figures.loss_colors(comparison)
    assert colors["loss_0"] == "#000000"
    styles = {(color, str(dash)) for color, dash in figures.line_styles(comparison).values()}
    assert len(styles) == 13


def pixels(png):
    return np.round(matplotlib.image.imread(io.BytesIO(png)) * 255).astype(int)


def rgb(color):
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def test_each_kind_of_error_has_its_color():
    labels = np.array([[0, 0, 1], [1, 1, 2]])
    prediction = np.array([[0, 1, 0], [1, 2, 2]])
    got = pixels(figures.errors_png(labels, prediction))
    kinds = [
        [None, "false positive", "false negative"],
        ["correct", "wrong class", "correct"],
    ]
    for y, row in enumerate(kinds):
        for x, kind in enumerate(row):
            if kind is None:
                assert got[y, x, 3] == 0
            else:
                assert got[y, x, :3].tolist() == rgb(figures.ERRORS[kind])


def test_labels_are_painted_in_the_colors_of_the_legend():
    got = pixels(figures.labels_png(np.array([[0, 1], [2, 9]], np.uint8)))
    colors = figures.class_colors(9)
    assert got[0, 0, 3] == 0
    for place, k in (((0, 1), 1), ((1, 0), 2), ((1, 1), 9)):
        assert got[place][:3].tolist() == rgb(colors[k - 1])


def test_image_is_grey_and_large_ones_are_thinned():
    image = np.array([[0.0, 0.5], [1.0, np.nan]], np.float32)
    assert pixels(figures.image_png(image))[..., 0].tolist() == [[0, 128], [255, 0]]
    assert rasters.shown_every((600, 300)) == 3
    assert pixels(figures.image_png(np.zeros((600, 300)))).shape[:2] == (200, 100)
    assert pixels(figures.labels_png(np.zeros((600, 300), np.uint8))).shape[:2] == (200, 100)
