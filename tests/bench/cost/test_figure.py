import xml.etree.ElementTree as ET

from lossbench.bench.cost import figure
from lossbench.bench.cost.rows import COPY, OURS, Row


def rows(shapes=("2x96^3x3", "1x64^3x100")):
    made = []
    for shape in shapes:
        for loss in ("dice", "a_loss"):
            made += [
                Row(loss, shape, OURS, milliseconds=10.0, limit_milliseconds=3.0),
                Row(loss, shape, COPY, milliseconds=2.0),
                Row(loss, shape, "monai", milliseconds=30.0),
                Row(loss, shape, "monai compiled", milliseconds=20.0),
                Row(loss, shape, "a new peer", milliseconds=25.0),
            ]
        made.append(Row("broken", shape, OURS, error="ValueError: no"))
    return made


def test_the_files_are_pictures_with_every_name(tmp_path):
    figure.write(tmp_path, rows())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cost.png", "cost.svg"]
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    text = "".join(ET.parse(tmp_path / "cost.svg").getroot().itertext())
    for name in ("dice", "a_loss", "broken", "lossbench", "monai compiled", "a new peer", "96³"):
        assert name in text


def test_a_panel_a_shape_and_a_mark_an_implementation():
    drawn = figure.draw(rows())
    assert len(drawn.axes) == 2
    marks = [line for line in drawn.axes[0].lines if line.get_linestyle() in ("None", "")]
    # For each of two losses: the limit, ours and three peers; the copy itself has no mark.
    places = sorted(float(line.get_xdata()[0]) for line in drawn.axes[0].lines if line in marks)
    assert places.count(10.0) == 2
    assert places.count(3.0) == 2
    assert 2.0 not in places


def test_nothing_measured_draws_nothing(tmp_path):
    figure.write(tmp_path, [Row("dice", "1x8^2x2", OURS, error="no")])
    assert list(tmp_path.iterdir()) == []
