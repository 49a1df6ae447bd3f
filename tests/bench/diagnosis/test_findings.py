"""Each thing that can be wrong with an objective is found, named and told with its numbers."""

import dataclasses
import math

import numpy as np
import pytest

from lossbench.bench.diagnosis.findings import dominating, findings, number, percent, weighing
from tests.bench.diagnosis.made import drawn, seen

# What the probe of a batch says of a term of which there is nothing to say.
PROBE = {"gradient": 0.1, "reach": 1.0, "channels": 3, "counted": 1, "foreground": 1}


def kinds(moment, probes=None):
    return [(one.kind, one.terms) for one in findings(moment, probes or {})]


def text_of(moment, kind, probes=None):
    (text,) = [one.text for one in findings(moment, probes or {}) if one.kind == kind]
    return text


def test_an_objective_in_order_has_no_findings():
    names = [f"t{k}" for k in range(8)]
    assert kinds(seen(dict(zip(names, drawn(*np.linspace(0.5, 5, 8)), strict=True)))) == []
    assert kinds(seen({"only": drawn(1.0)[0]})) == []


def test_a_term_a_thousand_times_too_large_is_named_with_its_weight():
    a, b, c = drawn(1.0, 1.0, 1.2)
    moment = seen({"a": a, "b": b, "c": c}, weights={"b": 1000.0})
    assert kinds(moment) == [("dominates", ("b",))]
    text = text_of(moment, "dominates")
    assert "'b' is too large: its gradient, times its weight of 1000, is 833 times" in text
    assert "'c'" in text
    assert percent(moment.term("b").share) in text
    by_size = seen({"a": a, "b": 1000 * b, "c": c})
    assert kinds(by_size) == [("dominates", ("b",))]
    assert "weight" not in text_of(by_size, "dominates")


def test_of_two_terms_only_the_large_one_is_named():
    a, b = drawn(1.0, 1000.0)
    assert kinds(seen({"a": a, "b": b})) == [("dominates", ("b",))]
    assert dominating(seen({"a": a, "b": 0.029 * b})) is None


def test_a_term_that_the_others_drown_is_named():
    a, b, c = drawn(1.0, 2.0, 0.001)
    assert kinds(seen({"a": a, "b": b, "c": c})) == [("drowned", ("c",))]
    text = text_of(seen({"a": a, "b": b, "c": c}), "drowned")
    assert f"{number(math.sqrt(2) * 1000)} times smaller" in text
    many = dict(zip("abcdefgh", drawn(1, 1, 1, 1, 1, 1, 0.01, 500), strict=True))
    assert kinds(seen(many)) == [("dominates", ("h",)), ("drowned", ("g",))]


def test_a_dead_term_and_why():
    a, b = drawn(1.0, 1.0)
    moment = seen({"a": a, "b": 0 * b})
    assert text_of(moment, "dead") == (
        "'b' trains nothing: its gradient is exactly zero on each of 8 batches."
    )
    one = {**PROBE, "gradient": 0.0}
    for fact, why in (({"channels": 1}, "softmax over one"), ({"counted": 0}, "counts no pixel")):
        text = text_of(moment, "dead", {"b": [{**one, **fact}] * 8})
        assert "likely because" in text
        assert why in text
        assert text.endswith(".")
        assert "(" not in text
    assert "none of it reaches these parameters" in text_of(moment, "dead", {"b": [PROBE] * 8})


def test_a_dead_term_is_not_dead_where_it_is_not_finite():
    a, b = drawn(1.0, 1.0)
    b[:] = 0
    b[0] = np.nan
    assert [kind for kind, _ in kinds(seen({"a": a, "b": b}))] == ["not finite", "dead"]


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "NaN on"), (np.inf, "infinite on"), (-np.inf, "minus infinity on")]
)
def test_a_term_that_is_not_finite_is_told_with_its_value(value, said):
    a, b = drawn(1.0, 1.0)
    b[2:4] = np.nan
    values = {"b": np.where(np.arange(8) == 3, value, 1.0)}
    text = text_of(seen({"a": a, "b": b}, values=values), "not finite")
    assert said in text
    assert "2 of 8 batches" in text
    assert "The other terms were measured" in text
    text = text_of(seen({"b": b}), "not finite")
    assert "'b' is finite, but its gradient is not, on 2 of 8" in text
    assert "other terms" not in text


def test_parameters_that_are_not_finite_are_not_blamed_on_the_terms():
    a, b = drawn(np.nan, np.nan)
    moment = seen({"a": a, "b": b})
    broken = dataclasses.replace(moment.measured, length=math.nan)
    (found,) = findings(dataclasses.replace(moment, measured=broken), {})
    assert (found.kind, found.terms) == ("not finite", ("a", "b"))
    assert "the training has diverged" in found.text


def test_two_that_are_one():
    a, b = drawn(1.0, 2.0)
    moment = seen({"a": a, "b": b, "c": 3 * a})
    assert kinds(moment) == [("identical", ("a", "c"))]
    text = text_of(moment, "identical")
    assert "'a' and 'c' are one term" in text
    assert "by a factor of 3" in text
    assert "differ" not in text_of(seen({"a": a, "c": a}), "identical")
    lengths = np.arange(1, 9)[:, None]
    assert "by their lengths" in text_of(seen({"a": a, "c": lengths * a}), "identical")
    assert kinds(seen({"a": a, "b": b, "c": a, "d": 2 * a})) == [
        ("identical", ("a", "c")),
        ("identical", ("a", "d")),
    ]


def test_two_that_are_one_in_most_batches_are_two():
    (a,) = drawn(1.0)
    other = a.copy()
    other[0] = other[0][::-1]
    assert kinds(seen({"a": a, "b": other})) == []


def test_opposites():
    a, b = drawn(1.0, 2.0)
    found = kinds(seen({"a": a, "b": b, "c": -2 * a}))
    assert found == [("opposite", ("a", "c"))]


def test_a_conflict_names_what_helps():
    a, b = drawn(1.0, 2.0)
    against = b - 2 * (b * a).sum(axis=1, keepdims=True) * a
    moment = seen({"a": a, "b": against})
    assert kinds(moment) == [("conflict", ("a", "b"))]
    text = text_of(moment, "conflict")
    assert f"{moment.pairs[0].batch_cosine:.2f} on average" in text
    assert "each of 8 batches" in text
    assert "'upgrad'" in text


def test_a_term_of_noise():
    rng = np.random.default_rng(0)
    (a,) = drawn(1.0)
    noise = rng.normal(size=a.shape)
    noise -= noise.mean(axis=0)
    assert kinds(seen({"a": a, "b": noise})) == [("noise", ("b",))]
    assert kinds(seen({"b": noise[:1]})) == []


def test_a_saturated_term():
    a, b = drawn(1.0, 1.0)
    reached = seen({"a": a, "b": b}, values={"b": np.full(8, 1e-6)})
    assert kinds(reached) == [("saturated", ("b",))]
    assert "at its least value, 0, on each of 8" in text_of(reached, "saturated")
    flat = seen({"b": 1e-9 * b}, values={"b": np.full(8, 0.9)})
    assert kinds(flat) == [("saturated", ("b",))]
    assert "at a value of 0.9 its gradient has all but vanished (1e-09)." in text_of(
        flat, "saturated"
    )
    probes = {"b": [{**PROBE, "reach": 40.0}] * 8}
    assert "flat where logits are as large as 40" in text_of(flat, "saturated", probes)
    small = seen({"b": 1e-9 * b}, values={"b": np.full(8, 1e-9)})
    assert small.term("b").bound == 0
    apart = dataclasses.replace(small.terms[0], bound=math.nan)
    assert kinds(dataclasses.replace(small, terms=(apart,))) == []


def test_terms_without_a_say_now_and_then():
    a, b, c = drawn(1.0, 1.0, 1.0)
    b[:3] = 0
    moment = seen({"a": a, "b": b, "c": c}, weights={"c": 0.0})
    assert kinds(moment) == [("sometimes zero", ("b",)), ("weight 0", ("c",))]
    assert "3 of 8 batches" in text_of(moment, "sometimes zero")
    assert [term.name for term in weighing(moment)] == ["a", "b"]


def test_numbers_and_percents():
    assert [number(x, 2) for x in (300.0, 3451.0, 0.0, -0.00123, math.inf)] == [
        "300", "3500", "0", "-0.0012", "inf",
    ]  # fmt: skip
    shares = (0.0, -1e-9, 0.004, 0.0949, 0.9989, 0.99996, -0.5, 2.5, math.nan)
    assert [percent(x) for x in shares] == [
        "0 %", "0 %", "0.4 %", "9.5 %", "99.9 %", "100 %", "-50 %", "250 %", "–",
    ]  # fmt: skip


def test_a_tiny_weight_is_what_is_wrong_not_the_term_beside_it():
    a, b, c = drawn(1.0, 0.05, 0.05)
    moment = seen({"a": a, "b": b}, weights={"b": 1e-6})
    assert kinds(moment) == [("drowned", ("b",))]
    text = text_of(moment, "drowned")
    assert "times its weight of 1e-06, is 2e+07 times smaller than that of 'a'" in text
    three = seen({"a": a, "b": b, "c": c}, weights={"b": 1e-6, "c": 1e-6})
    assert kinds(three) == [("drowned", ("b",)), ("drowned", ("c",))]
    assert kinds(seen({"a": a, "b": b}, weights={"a": 1e6})) == [("dominates", ("a",))]
    assert kinds(seen({"a": 1e4 * a, "b": b}, weights={"b": 0.5})) == [("dominates", ("a",))]


def test_what_a_training_does_is_told_as_it_is_set():
    a, b = drawn(1.0, 1.0)
    b[0] = np.nan
    moment = seen({"a": a, "b": b})
    assert "a training ends there, or" in text_of(moment, "not finite")
    text = text_of(dataclasses.replace(moment, skips=True), "not finite")
    assert "the training goes on without it there, as skip_nonfinite is set" in text
    assert "ends" not in text
