"""A diagnosis in words: what stands where, for a terminal and as Markdown."""

import dataclasses

import numpy as np
import pytest

from lossbench.bench.diagnosis import text
from lossbench.bench.diagnosis.examination import Diagnosis, Examination
from lossbench.bench.diagnosis.findings import findings
from lossbench.bench.diagnosis.proposal import propose
from tests.bench.diagnosis.made import drawn, seen


def examined(moment):
    return Examination(moment, findings(moment, {}), propose(moment))


@pytest.fixture
def diagnosis():
    a, b, c = drawn(1.0, 20.0, 1.0)
    first = seen({"a": a, "under_score|bar": b, "dead": 0 * c})
    second = seen({"a": 10 * a, "under_score|bar": b, "dead": c * np.nan}, step=50)
    return Diagnosis((examined(first), examined(second)))


def test_the_table_has_a_row_a_term_and_a_cell_a_column(diagnosis):
    head, *rows = text.rows(diagnosis.examinations[0].moment)
    assert [len(row) for row in rows] == [len(head)] * 3
    by_name = dict(zip(head, rows[1], strict=True))
    assert by_name["gradient"] == by_name["weighted"] == "20"
    assert by_name["value [range]"] == "1 [1, 1]"
    assert by_name["weight"] == "1"
    assert rows[2][0] == "dead"


def test_a_weighting_s_factor_stands_beside_the_weight():
    a, b = drawn(1.0, 1.0)
    moment = seen({"a": a, "b": b}, factors=np.full((8, 2), 0.25))
    assert text.rows(moment)[1][6] == "1 x 0.25"
    weighted = examined(dataclasses.replace(moment, weighted=True))
    assert "without the weighting" in "".join(text.proposal_heads(weighted))
    assert "without the weighting" not in "".join(text.proposal_heads(examined(moment)))


def test_cosines_are_told_of_means_and_of_batches(diagnosis):
    head, first, second, dead = text.cosine_rows(diagnosis.examinations[0].moment)
    pair = diagnosis.examinations[0].moment.pairs[0]
    assert head == ["cosine", "a", "under_score|bar", "dead"]
    assert first[2] == second[1] == f"{pair.cosine:.2f} ({pair.batch_cosine:.2f})"
    assert dead[1:] == ["–", "–", "–"]
    assert first[1] == "1"


def test_text_has_every_moment_every_finding_and_every_reason(diagnosis):
    found = text.text(diagnosis)
    for examination in diagnosis.examinations:
        assert f"Step {examination.moment.step}, 8 batches, gradients of all 40" in found
        for one in examination.findings:
            assert f"- {one.text}" in found
        for one in examination.proposal.terms:
            assert f"- {one.text}" in found
    assert "a 20 (50 % of the update), under_score|bar 1 (50 % of the update)" in found
    assert "What changed:" in found
    assert diagnosis.changes()[0] in found
    assert str(diagnosis) == found


def test_text_of_one_term_that_is_in_order():
    found = text.text(Diagnosis((examined(seen({"only": drawn(1.0)[0]})),), shared=("head/*",)))
    assert "gradients of the 40 parameters of head/*" in found
    assert "Nothing is wrong with its terms." in found
    assert "cosine" not in found
    assert "What changed" not in found


def test_text_where_nothing_can_be_balanced():
    (a,) = drawn(1.0)
    assert "nothing to balance" in text.text(Diagnosis((examined(seen({"a": 0 * a})),)))


def test_text_says_that_weights_are_near_enough():
    a, b = drawn(1.0, 1.1)
    assert "near enough" in text.text(Diagnosis((examined(seen({"a": a, "b": b})),)))


def test_markdown_escapes_names_and_keeps_its_tables_whole(diagnosis):
    found = text.markdown(diagnosis, "A *title*", "lossbench diagnose --config=x.py")
    assert found.startswith("# A \\*title\\*\n\n    lossbench diagnose --config=x.py\n")
    tables = [line for line in found.splitlines() if line.startswith("| ")]
    counts = {line.replace("\\|", "").count("|") for line in tables}
    assert counts == {len(text.COLUMNS) + 2, 5}
    assert "under\\_score\\|bar" in found
    assert found.endswith("\n")


def test_one_batch_is_one():
    assert [text.counted(n) for n in (1, 2, 16)] == ["1 batch", "2 batches", "16 batches"]


def test_text_says_that_shares_are_of_some_terms_only():
    a, b, c = drawn(1.0, 2.0, 1.0)
    mixed = examined(seen({"a": a, "b": b, "noise": c - c.mean(axis=0)}))
    assert "of these terms alone" in "".join(text.proposal_heads(mixed))
    noise = examined(seen({"noise": c - c.mean(axis=0)}))
    assert "No term has a gradient that weights could be told from" in text.proposal_heads(noise)[0]
