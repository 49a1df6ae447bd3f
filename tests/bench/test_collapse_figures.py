from xml.etree import ElementTree

import numpy as np
import pytest

from lossbench.anomaly.collapse import Limits, collapsed
from lossbench.bench import drawing
from lossbench.bench.collapse_figures import (
    QUANTITIES,
    collapse_curve,
    collapse_curves,
    columns_of,
    crossed,
)


def rows(rate, count=30):
    return [
        {
            "step": 10 * i,
            "spread": float(np.exp(-rate * i)),
            "effective_rank": 1 + float(np.exp(-rate * i)),
            "distinct": 1.0,
            "outside": 0.1,
            "nu": 0.1,
            "drift": 0.05 * rate * i,
            "radius": 0.3,
            "offset": 0.1 * i,
        }
        for i in range(count)
    ]


def texts(figure):
    return [e.text for e in ElementTree.fromstring(drawing.svg(figure, "a")).iter("text")]


def test_rows_become_columns():
    got = columns_of([{"step": 5, "spread": 1.0}, {"step": 6, "spread": None, "outliers": 3}])
    np.testing.assert_array_equal(got["step"], [5, 6])
    np.testing.assert_array_equal(got["spread"], [1, np.nan])
    assert set(got) == {"step", "spread"}
    assert columns_of([{"spread": 1.0}])["step"].tolist() == [0]
    assert columns_of([]) == {}


@pytest.mark.parametrize("name", ["spread", "distinct", "drift"])
@pytest.mark.parametrize("factor", [0.999, 1.001])
def test_a_limit_is_crossed_where_the_monitor_stops(name, factor):
    facts = {"step": 40, "spread": 1.0, "distinct": 1.0, "drift": 0.0}
    at = facts | {name: factor * getattr(Limits(), name)}
    found = crossed(columns_of([facts, at | {"step": 50}]))
    assert found == ({name: 50} if collapsed(at, Limits()) else {})


def test_the_first_step_beyond_counts_and_what_is_not_defined_is_beyond():
    spread = [1.0, 1e-4, 1.0, 1e-4]
    found = crossed(columns_of([{"step": 7 * i, "spread": s} for i, s in enumerate(spread)]))
    assert found == {"spread": 7}
    broken = [{"step": 1, "spread": 1.0, "outside": None}, {"step": 2, "spread": float("nan")}]
    assert crossed(columns_of(broken)) == {"spread": 2}


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("count", [1, 30, 900])
def test_each_quantity_is_drawn_with_its_level(name, count):
    runs = {"a": [columns_of(rows(0.01, count)), columns_of(rows(2.0, count))], "b": []}
    figure = collapse_curve(name, runs)
    level = {"effective_rank": "a line", "outside": "ν = 0.1", "drift": "limit 0.5"}
    level |= {"spread": "limit 0.005", "distinct": "limit 0.01"}
    assert name not in level or level[name] in texts(figure)
    assert not any("mathdefault" in text for text in texts(figure) if text)
    low, high = figure.axes[0].get_ylim()
    for line in figure.axes[0].lines:
        assert low <= np.nanmin(line.get_ydata())
        assert np.nanmax(line.get_ydata()) <= high


def test_all_are_drawn_together_with_the_names_of_the_losses():
    figure = collapse_curves({"soft": [columns_of(rows(0.1))], "moving": [columns_of(rows(1.0))]})
    assert {"soft", "moving", *(q.label for q in QUANTITIES.values())} <= set(texts(figure))


def test_quantities_that_no_run_has_are_left_out():
    figure = collapse_curves({"a": [columns_of([{"step": 1, "spread": 0.5}])]})
    assert QUANTITIES["drift"].label not in texts(figure)
    assert drawing.figure_png(collapse_curves({"a": []}), dots=50)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_values_that_no_axis_has_can_be_drawn(value):
    columns = columns_of([{"step": i, "spread": value, "drift": value} for i in range(3)])
    for name in ("spread", "drift"):
        assert texts(collapse_curve(name, {"a": [columns]}))
