import csv
import io

import numpy as np
import pytest

from lossbench.bench.cost.cases import Inputs
from lossbench.bench.cost.measure import Contestant, Timing
from lossbench.bench.cost.program import Program
from lossbench.bench.cost.rows import COPY, OURS, Row, failed, rows_csv, rows_of

SHAPE = (1, 4, 4, 2)
INPUTS = Inputs((np.zeros(SHAPE, np.float32),), np.zeros(SHAPE[:-1], np.int32))


def contestant(name, program=None):
    return Contestant(name, lambda: (0.0, None), lambda out: out, program)


def rows():
    """Logits of 128 bytes, labels of 64: the least is 320 where the copy moves 256."""
    program = Program(1.5, 256, 1000.0, 2.0)
    contestants = [contestant(OURS, program), *map(contestant, (COPY, "monai", "smp", "exacta"))]
    timings = {
        OURS: Timing((0.012, 0.010, 0.040), (0.02, 0.03, 0.01), 0.5),
        COPY: Timing((0.004, 0.004, 0.005), value=0.0),
        "monai": Timing((0.030,), value=0.50001),
        "smp": Timing((0.030,), value=0.6),
        "exacta": Timing(error="RuntimeError: no"),
    }
    return {row.implementation: row for row in rows_of("dice", SHAPE, INPUTS, contestants, timings)}


def test_the_limit_is_the_copys_bandwidth_on_the_least_bytes():
    ours = rows()[OURS]
    assert ours.milliseconds == pytest.approx(12)
    assert ours.fastest_milliseconds == pytest.approx(10)
    assert ours.limit_milliseconds == pytest.approx(4 * 320 / 256)
    assert ours.times_limit == pytest.approx(12 / 5)
    assert ours.bandwidth_share == pytest.approx(5 / 12)
    assert ours.all_cores_milliseconds == pytest.approx(20)
    assert ours.rounds == 3


def test_what_the_compiler_says_is_there_and_memory_is_told_by_the_logits():
    ours = rows()[OURS]
    assert (ours.compile_seconds, ours.temporary_bytes, ours.logits_bytes) == (1.5, 256, 128)
    assert ours.temporary_to_logits == 2
    assert (ours.accessed_bytes, ours.exponentials) == (1000, 2)


def test_a_peer_of_another_value_is_marked_and_one_that_failed_has_its_reason():
    found = rows()
    assert found["monai"].other_form is False
    assert found["smp"].other_form is True
    assert found["exacta"] == failed("dice", SHAPE, "exacta", "RuntimeError: no")
    assert [name for name, row in found.items() if row.is_peer] == ["monai", "smp"]
    assert found[COPY].times_limit is None


def test_without_the_copy_there_is_no_limit():
    timings = {OURS: Timing((1.0,), value=0.5), COPY: Timing(error="no")}
    ours, _ = rows_of("dice", SHAPE, INPUTS, [contestant(OURS), contestant(COPY)], timings)
    assert ours.milliseconds == 1000
    assert ours.limit_milliseconds is None


def test_the_csv_has_a_line_a_row_with_the_machine():
    text = rows_csv(list(rows().values()), {"device": "1 x cpu (cpu)", "jax": "0.1"})
    read = list(csv.DictReader(io.StringIO(text)))
    assert len(read) == 5
    assert read[0]["loss"] == "dice"
    assert read[0]["shape"] == "1x4^2x2"
    assert float(read[0]["milliseconds"]) == pytest.approx(12)
    assert all(line["device"] == "1 x cpu (cpu)" for line in read)
    assert read[4]["error"] == "RuntimeError: no"
    assert read[4]["milliseconds"] == ""


def test_classes_are_the_last_size():
    assert Row("dice", "1x64^3x100", OURS).classes == 100
