import math

import numpy as np
import pytest

from lossbench import losses, weighting
from lossbench.objective import Objective, Term, Value
from lossbench.training.rows import (
    Diverged,
    gradient_facts,
    mean_row,
    nested,
    scalars,
    warnings_of,
)
from lossbench.training.step import StepLog

TERMS = {"dice": Term(losses.dice), "ce": Term(losses.cross_entropy)}


def logged(dice, ce, *, weights=(1.0, 2.0), norm=3.0, gramian=None):
    total = weights[0] * dice + weights[1] * ce
    terms, weights = {"ce": ce, "dice": dice}, {"ce": weights[1], "dice": weights[0]}
    # JAX sorts the names of what a program returns.
    return StepLog(Value(total, terms, weights), norm, 0.1, gramian)  # type: ignore[arg-type]


def test_a_row_is_the_mean_over_its_steps():
    logs = [logged(1.0, 2.0), logged(3.0, 4.0, weights=(3.0, 0.0), norm=5.0)]
    row = mean_row(logs, first_step=4, objective=Objective(TERMS))
    assert row == {
        "step": 6,
        "loss": (5 + 9) / 2,
        "terms": {"dice": 2.0, "ce": 3.0},
        "weights": {"dice": 2.0, "ce": 1.0},
        "gradient_norm": 4.0,
        "learning_rate": 0.1,
    }
    assert list(row["terms"]) == ["dice", "ce"]


def test_gradients_of_the_terms_are_told_in_their_order():
    gramian = np.array([[4.0, 3.0], [3.0, 9.0]])  # dice first
    row = mean_row([logged(1.0, 2.0, gramian=gramian)], first_step=0, objective=Objective(TERMS))
    assert row["gradient_norms"] == {"dice": 2.0, "ce": 3.0}
    assert row["cosines"] == {"dice and ce": 0.5}
    told = scalars(row)
    assert told["gradient_norms/ce"] == 3.0
    assert told["cosines/dice and ce"] == 0.5
    assert told["weights/ce"] == 2.0


@pytest.mark.parametrize(
    ("log", "term"),
    [
        (logged(math.nan, 1.0), "dice"),
        (logged(1.0, math.inf), "ce"),
        (logged(1.0, 1.0, weights=(1.0, math.inf)), "ce"),
        (logged(1.0, 1.0, norm=math.nan), "gradient"),
    ],
)
def test_the_first_step_that_is_not_finite_is_named(log, term):
    with pytest.raises(Diverged) as raised:
        mean_row([logged(1.0, 1.0), log], first_step=7, objective=Objective(TERMS))
    assert (raised.value.step, raised.value.term) == (8, term)


def test_terms_that_were_left_out_are_counted():
    objective = Objective(TERMS, skip_nonfinite=True)
    one = logged(math.nan, 2.0)
    one = one._replace(objective=one.objective._replace(total=4.0))
    row = mean_row([one, logged(1.0, 4.0)], first_step=0, objective=objective)
    assert row["skipped"] == {"dice": 1}
    assert row["terms"] == {"dice": 1.0, "ce": 3.0}
    assert row["loss"] == (4 + 9) / 2
    row = mean_row([one], first_step=0, objective=objective)
    assert math.isnan(row["terms"]["dice"])
    with pytest.raises(Diverged, match="gradient"):  # that is no term's
        mean_row([one._replace(gradient_norm=math.nan)], first_step=0, objective=objective)


def test_a_step_without_any_finite_term_ends_a_training():
    objective = Objective(TERMS, skip_nonfinite=True)
    with pytest.raises(Diverged, match=r"is (nan|inf) at step 0"):
        mean_row([logged(math.nan, math.inf)], first_step=0, objective=objective)


def test_a_gradient_that_is_not_finite_counts_as_left_out():
    objective = Objective(TERMS, skip_nonfinite=True)
    gramian = np.array([[4.0, math.nan], [math.nan, math.nan]])
    row = mean_row([logged(1.0, 2.0, gramian=gramian)], first_step=0, objective=objective)
    assert row["skipped"] == {"ce": 1}


def test_what_a_training_went_on_in_spite_of_is_told():
    positive = weighting.Weighting(*weighting.constant()[:2], positive=True)
    rows = [
        {"step": 5, "terms": {"dice": 1.0, "ce": 0.5}, "skipped": {"dice": 2}},
        {"step": 9, "terms": {"dice": 1.0, "ce": -2.5}, "skipped": {"dice": 1}},
    ]
    first, second = warnings_of({"train": rows}, Objective(TERMS, positive))
    assert first.startswith("term 'dice': left out of 3 of 9 steps")
    assert second.startswith("term 'ce': it was negative (-2.5), but the weighting takes log")
    assert len(warnings_of({"train": rows}, Objective(TERMS))) == 1
    assert warnings_of({"train": []}, Objective(TERMS)) == []


def test_cosines_are_those_of_steps_that_have_them():
    zero = np.array([[0.0, 0.0], [0.0, 1.0]])
    gone = np.array([[math.nan, math.nan], [math.nan, 1.0]])
    full = np.array([[4.0, -1.0], [-1.0, 1.0]])
    facts = gradient_facts([zero, gone, full], ["a", "b"])
    assert facts["cosines"] == {"a and b": -0.5}
    assert facts["gradient_norms"] == {"a": 1.0, "b": 1.0}
    assert math.isnan(gradient_facts([zero], ["a", "b"])["cosines"]["a and b"])


def test_nested():
    assert nested({"a": {"x": 1.0}, "b": {}}, ("a",)) == {"a/x": 1.0}
