import xml.etree.ElementTree as ET

from lossbench.bench.cost import weighting_figure as figure
from lossbench.bench.cost.rows import OURS
from lossbench.bench.cost.weighting_rows import LAST, PLAIN, Row

JAC = "torchjd autojac"


def rows(shapes=("2x48x64x48x3", "4x64^2x3")):
    made = []
    for shape in shapes:
        for terms in (2, 8):
            for name, times in ((PLAIN, 1.0), (OURS, 0.75 * terms), (LAST, 1.1), (JAC, 20.0)):
                limit = terms + 0.3 if name == OURS else None
                made.append(
                    Row("pcgrad", "gramian", shape, terms, name, times_plain=times, limit=limit)
                )
            made.append(Row("dwa", "weights", shape, terms, OURS, error="ValueError: no"))
    return made


def test_the_files_are_pictures_with_every_name(tmp_path):
    figure.write(tmp_path, rows())
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["weighting-cost.png", "weighting-cost.svg"]
    assert (tmp_path / made[0]).read_bytes().startswith(b"\x89PNG")
    text = "".join(ET.parse(tmp_path / made[1]).getroot().itertext())
    for name in ("pcgrad", "dwa", OURS, LAST, JAC, "8 terms", "64²", "times one backward pass"):
        assert name in text


def test_a_panel_a_number_of_terms_and_a_mark_an_implementation():
    drawn = figure.draw(rows())
    assert len(drawn.axes) == 4
    lines = drawn.axes[1].lines
    places = sorted(float(x.get_xdata()[0]) for x in lines if x.get_linestyle() in ("None", ""))
    assert places == [1.1, 6.0, 8.3, 20.0]


def test_nothing_measured_draws_nothing(tmp_path):
    figure.write(tmp_path, [Row("dwa", "weights", "4x64^2x3", 2, OURS, error="no")])
    assert list(tmp_path.iterdir()) == []
