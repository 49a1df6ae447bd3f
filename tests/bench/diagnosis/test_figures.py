"""The figures of a diagnosis are drawn for every kind of term, and stand on one page together."""

import dataclasses
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from lossbench.bench.diagnosis.examination import Diagnosis, Examination
from lossbench.bench.diagnosis.figures import figures
from lossbench.bench.diagnosis.findings import findings
from lossbench.bench.diagnosis.proposal import propose
from tests.bench.diagnosis.made import drawn, seen


def examined(moment):
    return Examination(moment, findings(moment, {}), propose(moment))


@pytest.fixture(scope="module")
def drawings():
    a, b, c, d = drawn(1.0, 1e12, 1.0, 1.0)
    terms = {"a": a, "b<&>": b, "dead": 0 * c, "nan": d * np.nan, "noise": d - d.mean(axis=0)}
    values = {"nan": np.full(8, np.nan), "dead": np.zeros(8)}
    moments = [seen(terms, values=values, step=step) for step in (0, 50)]
    return figures(Diagnosis(tuple(map(examined, moments))), prefix="x")


def test_each_moment_has_its_figures_and_all_have_one(drawings):
    names = [one["name"] for one in drawings]
    kinds = ["norms", "shares", "cosines", "values", "signals"]
    wanted = [f"step{step}-{kind}" for step in (0, 50) for kind in kinds]
    assert names == [*wanted, "steps"]


def test_each_is_one_svg_whose_text_is_text(drawings):
    for one in drawings:
        tree = ET.fromstring(one["svg"].replace("xlink:", ""))
        assert tree.tag == "svg"
        words = "".join(tree.itertext())
        assert "b<&>" in words
        assert "$" not in words
        assert "mathdefault" not in words


def test_identifiers_differ_between_figures(drawings):
    found = [set(re.findall(r'\bid="([^"]+)"', one["svg"])) for one in drawings]
    assert sum(map(len, found)) == len(set().union(*found))


@pytest.mark.parametrize("size", [3.0, 60.0, 1e4, 1e30])
def test_norms_of_any_range_have_numbers_at_their_axis(size):
    terms = dict(zip("ab", drawn(0.011, 0.011 * size), strict=True))
    svg = figures(Diagnosis((examined(seen(terms)),)))[0]["svg"]
    words = re.findall(r">([^<>]+)</text>", svg)
    ticks = [float(word) for word in words if re.fullmatch(r"[\d.e+-]+", word)]
    assert len(ticks) >= 2
    assert ticks == sorted(ticks)


def test_what_has_no_number_is_said_in_words(drawings):
    words = drawings[0]["svg"]
    assert "zero" in words
    assert "not finite" in words


def test_one_term_has_no_cosines_and_one_moment_no_steps():
    one = figures(Diagnosis((examined(seen({"only": drawn(1.0, batches=1)[0]})),)))
    assert [figure["name"] for figure in one] == [
        "step0-norms", "step0-shares", "step0-values", "step0-signals",
    ]  # fmt: skip


def test_terms_that_are_all_dead_are_drawn():
    (a,) = drawn(1.0)
    found = figures(Diagnosis((examined(seen({"a": 0 * a, "b": 0 * a})),)))
    assert len(found) == 5


def test_moments_that_cannot_be_told_have_no_figures():
    (a,) = drawn(1.0)
    whole, other = (seen({"a": a}, step=step) for step in (0, 9))
    broken = dataclasses.replace(other.measured, length=math.nan)
    lost = dataclasses.replace(other, measured=broken)
    found = figures(Diagnosis((examined(whole), examined(lost))))
    assert {one["step"] for one in found} == {"0"}
