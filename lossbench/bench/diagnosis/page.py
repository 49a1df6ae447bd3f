"""A diagnosis as a page: whole and self-contained for a file, a part of one for a notebook."""

import importlib.resources
import math
import zlib
from typing import Any

import jinja2
from markupsafe import Markup

from lossbench.bench.diagnosis import text
from lossbench.bench.diagnosis.examination import Diagnosis, Examination
from lossbench.bench.diagnosis.figures import figures
from lossbench.bench.diagnosis.findings import number, percent
from lossbench.bench.diagnosis.notes import notes
from lossbench.bench.tables import plain


def html(diagnosis: Diagnosis, *, title: str, command: str) -> str:
    """One HTML document that needs nothing else."""
    drawn = figures(diagnosis)
    return _render(
        "page.html.j2",
        title=title,
        command=command,
        answer=_moment(diagnosis.headline, diagnosis, []),
        notices=diagnosis.notices(),
        moments=[_moment(one, diagnosis, drawn) for one in reversed(diagnosis.examinations)],
        steps=[_markup(one) for one in drawn if not one["step"]],
        changes=diagnosis.changes(),
        reading=text.READING,
    )


def fragment(diagnosis: Diagnosis) -> str:
    """What a notebook shows."""
    # Several stand on one page, and what is named inside a figure must differ between them.
    mark = zlib.crc32(text.text(diagnosis).encode("utf-8", "backslashreplace"))
    drawn = figures(diagnosis, prefix=f"d{mark:08x}-")
    return _render(
        "fragment.html.j2",
        notices=diagnosis.notices(),
        moments=[_moment(one, diagnosis, drawn) for one in diagnosis.examinations],
        steps=[_markup(one) for one in drawn if not one["step"]],
        changes=diagnosis.changes(),
        reading=text.READING,
    )


def _moment(
    examination: Examination, diagnosis: Diagnosis, drawn: list[dict[str, str]]
) -> dict[str, Any]:
    moment = examination.moment
    return {
        "step": moment.step,
        "headline": examination is diagnosis.headline,
        "heading": text.heading(diagnosis, moment),
        "rows": text.rows(moment),
        "cosines": text.cosine_rows(moment) if len(moment.terms) > 1 else [],
        "findings": [(one.kind, one.text) for one in examination.findings],
        "notes": notes(moment),
        "heads": text.proposal_heads(examination),
        "proposed": [
            {
                "name": plain(term.name),
                "now": number(term.now),
                "weight": number(term.weight, 2),
                "share": "–" if math.isnan(term.share) else percent(term.share),
                "text": term.text,
            }
            for term in examination.proposal.terms
        ],
        "figures": [_markup(one) for one in drawn if one["step"] == str(moment.step)],
    }


def _markup(figure: dict[str, str]) -> dict[str, Any]:
    return {**figure, "svg": Markup(figure["svg"])}


def _render(template: str, **values: Any) -> str:
    folder = importlib.resources.files("lossbench.bench.diagnosis")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
