import pytest

from lossbench.testing.verdict import WIDTH, Finding, Verdict, failed, not_applicable, passed


def verdict(*findings):
    return Verdict("a loss", [f._replace(name=f"check {i}") for i, f in enumerate(findings)])


def test_a_verdict_reads_as_a_table():
    reason = not_applicable("no mask")
    text = str(verdict(passed("fine"), failed("0.5 becomes 0.7"), reason, reason))
    assert text.splitlines() == [
        "a loss",
        "",
        "ok   check 0            fine",
        "FAIL check 1            0.5 becomes 0.7",
        "-    not applicable     no mask: check 2, check 3",
        "",
        "1 passed, 1 failed, 2 not applicable",
    ]


def test_long_messages_are_wrapped():
    lines = str(verdict(failed("word " * 60), not_applicable("x " * 90))).splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_a_verdict_is_true_if_something_passed_and_nothing_failed():
    assert verdict(passed(""), not_applicable(""))
    assert not verdict(passed(""), failed(""))
    assert not verdict(not_applicable("everything"))


def test_findings_by_name():
    one = verdict(passed("fine"), failed("not"))
    assert one["check 1"] == Finding("failed", "not", "check 1")
    assert one.failures == (one["check 1"],)
    with pytest.raises(KeyError, match="there are: check 0, check 1"):
        one["check"]


def test_a_failed_verdict_raises_with_its_table():
    assert verdict(passed("fine")).raise_if_failed().passed
    with pytest.raises(AssertionError, match="FAIL check 0            wrong"):
        verdict(failed("wrong")).raise_if_failed()
