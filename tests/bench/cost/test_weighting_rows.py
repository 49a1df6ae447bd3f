import math

import pytest

from lossbench.bench.cost import weighting_rows
from lossbench.bench.cost.measure import Contestant, Timing
from lossbench.bench.cost.program import Program
from lossbench.bench.cost.rows import OURS, rows_csv
from lossbench.bench.cost.weighting_rows import LAST, PLAIN, TORCH_PLAIN

PEER = "torchjd autojac"


def contestant(name, temporary=None):
    program = None if temporary is None else Program(2.0, temporary)
    return Contestant(name, lambda: None, lambda out: None, program)


def timing(*seconds, value=1.5, error=None):
    return Timing(seconds, tuple(2 * s for s in seconds), value, error)


@pytest.fixture
def made():
    """Five contestants; a slow second round falls on all."""
    contestants = [
        contestant(PLAIN, 100),
        contestant(TORCH_PLAIN),
        contestant(OURS, 250),
        contestant(LAST, 110),
        contestant(PEER),
        contestant("broken"),
    ]
    timings = {
        PLAIN: timing(1.0, 3.0, 1.0),
        TORCH_PLAIN: timing(2.0, 6.0, 2.0, value=1.50001),
        OURS: timing(1.8, 6.0, 2.2),
        LAST: timing(1.1, 3.3, 1.1),
        PEER: timing(6.0, 18.0, 8.0, value=1.6),
        "broken": timing(error="RuntimeError: no"),
    }
    rows = weighting_rows.rows_of("pcgrad", (1, 8, 8, 3), 2, contestants, timings)
    return {row.implementation: row for row in rows}


def test_ratios_are_those_of_a_round_and_of_one_library(made):
    assert made[PLAIN].times_plain == 1
    assert made[TORCH_PLAIN].times_plain == 1
    assert made[OURS].times_plain == pytest.approx(2.0)
    assert made[OURS].times_plain_low == pytest.approx(1.9)
    assert made[OURS].times_plain_high == pytest.approx(2.1)
    assert made[LAST].times_plain == pytest.approx(1.1)
    assert made[PEER].times_plain == pytest.approx(3.0)


def test_a_row_says_what_was_measured(made):
    ours = made[OURS]
    assert (ours.method, ours.form, ours.shape, ours.terms) == ("pcgrad", "gramian", "1x8^2x3", 2)
    assert math.isclose(ours.milliseconds, 2200)
    assert math.isclose(ours.fastest_milliseconds, 1800)
    assert math.isclose(ours.all_cores_milliseconds, 4400)
    assert ours.rounds == 3
    assert (ours.compile_seconds, ours.temporary_bytes) == (2.0, 250)
    assert ours.temporary_to_plain == 2.5
    assert ours.limit == 2.3
    assert made[LAST].limit is None
    assert made[PEER].limit is None


def test_a_value_that_is_not_ours_is_told(made):
    assert made[PEER].other_value is True
    assert made[TORCH_PLAIN].other_value is False


def test_who_is_a_peer(made):
    assert [name for name, row in made.items() if row.is_peer] == [PEER]


def test_what_failed_is_a_row(made):
    assert made["broken"].error == "RuntimeError: no"
    assert made["broken"].milliseconds is None


def test_without_a_plain_sum_there_is_no_ratio():
    (row,) = weighting_rows.rows_of("dwa", (1, 8, 8, 3), 2, [contestant(OURS)], {OURS: timing(1.0)})
    assert (row.times_plain, row.temporary_to_plain, row.other_value) == (None, None, None)
    assert row.limit == 1.05


def test_rows_are_lines_of_a_file(made):
    lines = rows_csv(list(made.values()), {"device": "1 x cpu (cpu)"}).splitlines()
    assert len(lines) == 1 + len(made)
    assert lines[0].startswith("method,form,shape,terms,implementation")
    assert lines[3].startswith("pcgrad,gramian,1x8^2x3,2,lossbench")
