import re
from xml.etree import ElementTree

import matplotlib

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
