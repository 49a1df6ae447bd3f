"""What is told beside the findings: batches that repeat, and weights that are drawn."""

import dataclasses
import math

import numpy as np
import pytest

from lossbench.bench.diagnosis import diagnose
from lossbench.bench.diagnosis.moment import moment
from lossbench.bench.diagnosis.notes import finite, notes
from lossbench.objective import Objective
from tests.bench.diagnosis.made import drawn, seen
from tests.pixelwise import Pixelwise

TERMS = {"dice": {}, "focal": {}}


def batch(k):
    rng = np.random.default_rng(k)
    labels = rng.integers(0, 2, (2, 4, 4))
    return {"image": rng.normal(size=(2, 4, 4, 1)).astype(np.float32), "labels": labels}


def test_a_moment_in_order_has_none():
    assert notes(seen({"a": drawn(1.0)[0]})) == []


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ((0, 1, 0, 1, 1), "5 batches, only 2 distinct: noise is understated."),
        ((0, 0, 0), "3 batches that are all equal: they cannot tell"),
    ],
)
def test_batches_that_repeat(which, said):
    found = diagnose(Pixelwise(), Objective.from_config({"terms": TERMS}), map(batch, which))
    (note,) = notes(found.moment)
    assert note.startswith(said)
    assert f"Note: {note}" in str(found)
    assert note in found._repr_html_()
    alike = [math.isnan(term.signal_to_noise) for term in found.moment.terms]
    assert alike == [len(set(which)) == 1] * 2


@pytest.mark.parametrize(("weighting", "draws"), [("random", 1), ("graddrop", 1), ("dwa", 0)])
def test_weights_that_are_drawn_are_told_to_be(weighting, draws):
    objective = Objective.from_config({"terms": TERMS, "weighting": weighting})
    found = diagnose(Pixelwise(), objective, [batch(0), batch(1)])
    assert len(notes(found.moment)) == draws
    assert ("those of one draw" in str(found)) == bool(draws)


def test_parameters_that_are_not_finite():
    made = seen({"a": drawn(1.0)[0]})
    assert finite(made)
    broken = dataclasses.replace(made.measured, length=math.inf)
    objective = Objective.from_config({"terms": {"a": {"loss": "dice"}}})
    assert not finite(moment(broken, objective))
