"""Proposed weights balance the gradients, and the sentences tell the numbers they come from."""

import dataclasses

import numpy as np
import pytest

from lossbench.bench.diagnosis.proposal import propose
from tests.bench.diagnosis.made import drawn, seen


def weights(moment):
    return propose(moment).weights()


def test_twenty_to_one_follows_from_a_gradient_twenty_times_smaller():
    focal, dice = drawn(0.05, 0.98)
    proposal = propose(seen({"focal": focal, "dice": dice}))
    assert proposal.weights() == {"focal": 20.0, "dice": 1.0}
    assert (proposal.ratio, proposal.reference, proposal.balanced) == ("20 : 1", "dice", False)
    one, two = proposal.terms
    assert one.text == (
        "'focal': its gradient is 19.6 times smaller than that of 'dice', so 20 : 1 gives both "
        "the same share of the update; that is 20 times its weight of 1."
    )
    assert two.text == "'dice' keeps its weight of 1: the others are balanced against it."
    assert one.share == pytest.approx(0.5, abs=0.02)
    assert one.share + two.share == pytest.approx(1)


def test_two_terms_get_equal_shares_whatever_their_angle():
    a, b = drawn(3.0, 0.7)
    for other in (b, -0.4 * b):
        proposal = propose(seen({"a": a, "b": other}, weights={"a": 0.3}))
        ratio = proposal.weights()["b"] / proposal.weights()["a"]
        exact = np.linalg.norm(a) / np.linalg.norm(other)
        assert ratio == pytest.approx(exact, rel=0.1)
        assert [t.share for t in proposal.terms] == pytest.approx([0.5, 0.5], abs=0.08)


def test_weights_are_proposed_to_two_digits_with_the_middle_kept():
    names = dict(zip("abcde", drawn(1.0, 10.0, 3.33, 0.1, 50.0), strict=True))
    proposal = propose(seen(names, weights=dict.fromkeys("abcde", 2.0)))
    assert proposal.reference == "c"
    exact = {n: 2 * 3.33 / norm for n, norm in zip("abcde", (1.0, 10, 3.33, 0.1, 50), strict=True)}
    assert proposal.weights() == pytest.approx(exact, rel=0.05)
    assert proposal.weights() == {"a": 6.7, "b": 0.67, "c": 2.0, "d": 67.0, "e": 0.13}
    assert proposal.ratio == "50 : 5 : 15 : 500 : 1"
    assert "same length in the update" in proposal.terms[0].text


def test_a_term_that_is_too_large_is_brought_down_to_the_others():
    a, b = drawn(1.0, 1.0)
    proposal = propose(seen({"a": a, "b": b}, weights={"a": 1000.0}))
    assert proposal.weights() == {"a": 1.0, "b": 1.0}
    assert "as large as that of 'b', so 1 : 1 gives both" in proposal.terms[0].text
    assert "its weight of 1000 is 1000 times that" in proposal.terms[0].text
    assert weights(seen({"a": 1000 * a, "b": b})) == {"a": 0.001, "b": 1.0}
    three = propose(seen({"a": 1e6 * a, "b": b, "c": 0.5 * b[:, ::-1]}))
    assert three.weights() == {"a": 1e-6, "b": 1.0, "c": 2.0}


def test_weights_that_balance_already_are_said_to():
    a, b = drawn(1.0, 1.2)
    assert propose(seen({"a": a, "b": b})).balanced
    assert not propose(seen({"a": a, "b": 2 * b})).balanced
    assert "its weight" not in propose(seen({"a": a, "b": b})).terms[0].text


def test_a_copy_is_dropped_and_its_weight_told():
    a, b = drawn(1.0, 2.0)
    proposal = propose(seen({"a": a, "b": b, "copy": 3 * a}, weights={"copy": 0.5}))
    assert proposal.weights() == {"a": 2.0, "b": 1.0, "copy": 0.0}
    assert proposal.ratio == "2 : 1"
    assert [term.name for term in proposal.kept] == ["a", "b"]
    assert proposal.terms[2].text == (
        "'copy': it has the gradient of 'a', so it can be dropped; 1.5 more on the weight of 'a' "
        "would be the same objective."
    )
    assert proposal.terms[2].share == 0
    assert not proposal.balanced


def test_an_opposite_is_left_out():
    a, b = drawn(1.0, 1.0)
    proposal = propose(seen({"a": a, "b": b, "anti": -a}))
    assert proposal.weights() == {"a": 1.0, "b": 1.0, "anti": 0.0}
    assert "it undoes what 'a' does" in proposal.terms[2].text


def test_what_has_no_gradient_is_left_out_with_the_reason():
    a, b, c, d, e = drawn(1.0, 4.0, 1.0, 1.0, 1.0)
    terms = {"a": a, "dead": 0 * c, "b": b, "nan": d * np.nan, "off": e}
    proposal = propose(seen(terms, weights={"off": 0.0, "dead": 7.0}))
    assert proposal.weights() == {"a": 4.0, "dead": 7.0, "b": 1.0, "nan": 1.0, "off": 0.0}
    assert proposal.ratio == "4 : 1"
    texts = {term.name: term.text for term in proposal.terms}
    assert "no weight helps a gradient of exactly 0" in texts["dead"]
    assert "not finite on any batch" in texts["nan"]
    assert "its weight is 0 at this step" in texts["off"]
    assert np.isnan([proposal.terms[k].share for k in (1, 3, 4)]).all()


def test_one_term_has_the_update_for_itself():
    (a,) = drawn(3.0)
    proposal = propose(seen({"a": a}, weights={"a": 2.0}))
    assert (proposal.weights(), proposal.ratio) == ({"a": 2.0}, "")
    assert "for itself" in proposal.terms[0].text
    assert proposal.terms[0].share == 1


def test_nothing_to_balance():
    (a,) = drawn(1.0)
    proposal = propose(seen({"a": 0 * a, "b": np.nan * a}))
    assert (proposal.ratio, proposal.reference, proposal.balanced) == ("", "", False)
    assert proposal.weights() == {"a": 1.0, "b": 1.0}
    assert proposal.kept == ()


def test_what_is_saturated_or_mostly_noise_is_left_out_with_the_reason():
    a, b, c, d = drawn(1.0, 4.0, 1e-9, 2.0)
    terms = {"a": a, "b": b, "flat": c, "noise": d - d.mean(axis=0)}
    proposal = propose(seen(terms, weights={"flat": 3.0}))
    assert proposal.weights() == {"a": 4.0, "b": 1.0, "flat": 3.0, "noise": 1.0}
    assert proposal.ratio == "4 : 1"
    texts = {term.name: term.text for term in proposal.terms}
    assert "it is saturated, and has no part" in texts["flat"]
    assert "mostly noise, and has no part" in texts["noise"]
    assert [term.share for term in proposal.kept] == pytest.approx([0.5, 0.5], abs=0.05)
    alone = propose(seen({"a": a, "flat": c}))
    assert (alone.weights(), alone.ratio) == ({"a": 1.0, "flat": 1.0}, "")
    assert "there is no other term to balance it against" in alone.terms[0].text


def test_a_tiny_weight_is_the_one_that_moves():
    a, *small = drawn(1.0, *[0.05] * 4)
    for count in (1, 2, 4):
        rest = {f"t{k}": gradient for k, gradient in enumerate(small[:count])}
        proposal = propose(seen({"a": a, **rest}, weights=dict.fromkeys(rest, 1e-6)))
        assert proposal.weights() == {"a": 1.0, **dict.fromkeys(rest, 20.0)}
    five = {"a": a, "b": a[:, ::-1], **dict(zip("cde", small, strict=False))}
    proposal = propose(seen(five, weights=dict.fromkeys("cde", 1e-6)))
    assert proposal.weights() == {"a": 1.0, "b": 1.0, **dict.fromkeys("cde", 20.0)}


def test_of_parameters_that_are_not_finite_follows_no_proposal():
    moment = seen({"a": drawn(1.0)[0] * np.nan})
    broken = dataclasses.replace(moment.measured, length=np.nan)
    proposal = propose(dataclasses.replace(moment, measured=broken))
    assert (proposal.terms, proposal.weights(), proposal.ratio) == ((), {}, "")
