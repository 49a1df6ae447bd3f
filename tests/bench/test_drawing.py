import io
import re
from xml.etree import ElementTree

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from lossbench.bench import drawing


def made(name):
    with drawing.canvas(2.0) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=drawing.LINES[0], label="$x_1$ <b>")
        axes.legend()
        return drawing.svg(figure, name)


def test_figures_share_a_page():
    ids = []
    for name in ("one", "other"):
        svg = made(name)
        own = [e.get("id") for e in ElementTree.fromstring(svg).iter() if e.get("id")]
        assert own
        assert all(i.startswith(f"{name}-") for i in own)
        assert set(re.findall(r'(?:href="|url\()#([^")]*)', svg)) <= set(own)
        ids += own
    assert len(ids) == len(set(ids))


def test_names_are_drawn_letter_by_letter():
    assert "$x_1$ <b>" in [e.text for e in ElementTree.fromstring(made("a")).iter("text")]


def test_the_style_ends_with_the_figure():
    before = dict(matplotlib.rcParams)
    first = made("a")
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"lines.linewidth": 20, "font.size": 40}):
        assert made("a") == first  # nor does a user's style reach a report


def test_a_long_name_is_cut():
    assert drawing.short("dice") == "dice"
    assert drawing.short("a" * 100) == "a" * 23 + "…"


def test_long_curves_are_averaged_in_blocks():
    steps, values = drawing.thin(np.arange(1000.0), np.arange(1000.0) * 2)
    assert steps.size <= 200
    np.testing.assert_allclose(values, 2 * steps)
    np.testing.assert_allclose(steps[:2], [2.0, 7.0])


def test_a_picture_in_a_figure_needs_nothing_from_outside():
    with drawing.sheet(2.0, 4.0, 1, 2) as (figure, axes):
        for panel in axes[0]:
            panel.imshow(np.zeros((3, 4, 3)), interpolation="none")
    svg = drawing.svg(figure, "maps")
    references = [
        value
        for element in ElementTree.fromstring(svg).iter("image")
        for key, value in element.items()
        if key.endswith("href")
    ]
    assert len(references) == 2
    assert all(value.startswith("data:image/png;base64,") for value in references)
    assert "xlink" not in svg


def test_a_figure_becomes_a_png_on_white_in_the_reports_style():
    def drawn():
        with drawing.canvas(1.0, width=2.0) as (figure, axes):
            axes.plot([0, 1], [0, 1], label="損失 $x$")
            axes.legend()
        return drawing.figure_png(figure, dots=100)

    first = drawn()
    shown = matplotlib.image.imread(io.BytesIO(first))
    assert shown.shape[:2] == (100, 200)
    assert shown[0, 0].tolist() == [1, 1, 1, 1]
    with matplotlib.rc_context({"xtick.labelsize": 30, "savefig.facecolor": "red"}):
        assert drawn() == first


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (2390.6, "2,390"),
        (0.012345, "0.0123"),
        (-3.0, "-3"),
        (1.2e-7, "1.2e-07"),
        (4.56e8, "4.56e+08"),
        (999999, "1,000,000"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_brief(value, text):
    assert drawing.brief(value) == text


def test_an_axis_has_room_for_a_constant():
    assert drawing.apart((1.0, 2.0)) == (1.0, 2.0)
    for value in (0.0, 3.0, -1e9):
        low, high = drawing.apart((value, value))
        assert low < value < high
