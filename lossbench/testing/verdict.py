"""What a check found, and the table of all findings."""

import textwrap
from collections.abc import Iterable
from typing import NamedTuple

PASSED = "passed"
FAILED = "failed"
NOT_APPLICABLE = "not applicable"
MARKS = {PASSED: "ok", FAILED: "FAIL", NOT_APPLICABLE: "-"}
WIDTH = 100
NAME = 18


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        state: "passed", "failed" or "not applicable".
        message: one sentence with figures; why, if the check does not apply.
        name: the check.
    """

    state: str
    message: str
    name: str = ""


def passed(message: str) -> Finding:
    """The loss does what the check asks."""
    return Finding(PASSED, message)


def failed(message: str) -> Finding:
    """The loss does not."""
    return Finding(FAILED, message)


def not_applicable(reason: str) -> Finding:
    """The check has no meaning for this loss."""
    return Finding(NOT_APPLICABLE, reason)


class Verdict:
    """All findings on one loss; true in a condition if nothing failed, a table as text.

    Attributes:
        title: the loss and the conventions it was called with.
        findings: one for each check, in order.
    """

    def __init__(self, title: str, findings: Iterable[Finding]):
        self.title = title
        self.findings = tuple(findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings of the checks that failed."""
        return tuple(f for f in self.findings if f.state == FAILED)

    @property
    def passed(self) -> bool:
        """True if no check failed and one passed."""
        return not self.failures and any(f.state == PASSED for f in self.findings)

    def __bool__(self) -> bool:
        return self.passed

    def __getitem__(self, name: str) -> Finding:
        """The finding of the check of this name."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no check {name!r}; there are: {', '.join(f.name for f in self.findings)}")

    def raise_if_failed(self) -> "Verdict":
        """Itself, for chaining.

        Raises:
            AssertionError: with the table as its text, unless the loss passed.
        """
        if not self.passed:
            raise AssertionError(f"the loss failed its torture\n{self}")
        return self

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [*textwrap.wrap(self.title, WIDTH), ""]
        reasons: dict[str, list[str]] = {}
        for finding in self.findings:
            if finding.state == NOT_APPLICABLE:
                reasons.setdefault(finding.message, []).append(finding.name)
            else:
                lines += _row(MARKS[finding.state], finding.name, finding.message)
        for reason, names in reasons.items():
            lines += _row(MARKS[NOT_APPLICABLE], "not applicable", f"{reason}: {', '.join(names)}")
        return "\n".join([*lines, "", self._count()])

    def _count(self) -> str:
        count = {s: sum(f.state == s for f in self.findings) for s in MARKS}
        ending = f"{count[PASSED]} passed, {count[FAILED]} failed"
        if count[NOT_APPLICABLE]:
            ending += f", {count[NOT_APPLICABLE]} not applicable"
        return ending


def _row(mark: str, name: str, message: str) -> list[str]:
    """A row of the table; a message that is too long goes on in the next line."""
    head = f"{mark:<5}{name:<{NAME}} "
    lines = textwrap.wrap(message, WIDTH - len(head)) or [""]
    return [head + lines[0], *(" " * len(head) + rest for rest in lines[1:])]
