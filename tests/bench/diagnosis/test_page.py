"""The page stands alone, escapes what comes from outside, and says what the text says."""

import dataclasses
import html as standard
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from lossbench.bench.diagnosis import page
from lossbench.bench.diagnosis.examination import Diagnosis, Examination
from lossbench.bench.diagnosis.findings import findings
from lossbench.bench.diagnosis.proposal import propose
from tests.bench.diagnosis.made import drawn, seen

VOID = {"meta", "path", "use", "rect", "br"}
NAME = "<script>alert(1)</script>"


def examined(moment):
    return Examination(moment, findings(moment, {}), propose(moment))


@pytest.fixture(scope="module")
def diagnosis():
    a, b, c = drawn(1.0, 20.0, 1.0)
    first = seen({"a": a, NAME: b, "dead": 0 * c})
    second = seen({"a": 10 * a, NAME: b, "dead": c * np.nan}, step=50)
    return Diagnosis((examined(first), examined(second)))


@pytest.fixture(scope="module")
def whole(diagnosis):
    return page.html(diagnosis, title="A title & more", command="lossbench diagnose --config='x'")


class Balanced(HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_elements_close_in_order(whole, diagnosis):
    for text in (whole, page.fragment(diagnosis)):
        parser = Balanced()
        parser.feed(text)
        assert parser.open == []


def test_the_page_needs_nothing_else(whole):
    assert not re.search(r"""(src|href)=["'](?!#|data:image)""", whole)
    assert "<script" not in whole
    assert "@import" not in whole
    assert "A title &amp; more" in whole


def test_the_page_says_it_all_the_last_moment_first(whole, diagnosis):
    words = standard.unescape(whole)
    for examination in diagnosis.examinations:
        for one in (*examination.findings, *examination.proposal.terms):
            assert one.text in words
    headings = re.findall(r"<h2>Step (\d+)", whole)
    assert headings == ["50", "0"]
    assert diagnosis.changes()[0] in words
    assert whole.count("<svg") == 11


def test_a_notebook_shows_a_part_of_a_page(diagnosis):
    shown = diagnosis._repr_html_()
    assert shown == page.fragment(diagnosis)
    assert "<html" not in shown
    assert "<style" not in shown
    assert NAME not in shown
    assert shown.count("<table>") == 6
    assert shown.count("<svg") == 11


def test_the_answer_is_of_the_last_moment_that_can_be_told():
    (a,) = drawn(1.0)
    whole, last = (seen({"a": a}, step=step) for step in (0, 9))
    broken = dataclasses.replace(last.measured, length=math.nan)
    lost = examined(dataclasses.replace(last, measured=broken))
    found = page.html(Diagnosis((examined(whole), lost), ended="It ended."), title="t", command="c")
    answer = found[found.index('class="answer"') : found.index("<h2>")]
    assert "<b>Step 0," in answer
    assert "At step 9 the parameters are not finite" in answer
    assert "It ended." in answer


def test_long_names_wrap():
    name = "x" * 80
    a, b = drawn(1.0, 1.0)
    for found in (
        page.html(Diagnosis((examined(seen({name: a, "b": b})),)), title="t", command="c"),
        page.fragment(Diagnosis((examined(seen({name: a, "b": b})),))),
    ):
        cells = re.findall(rf"<th([^>]*)>(?:<bdi>)?{name}<", found)
        assert len(cells) >= 4
        assert all("overflow-wrap: anywhere" in cell and "max-width" in cell for cell in cells)
