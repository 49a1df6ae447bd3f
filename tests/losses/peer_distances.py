"""What MONAI, exacta and kornia answer for distance losses, and how these are called here.

`python -m tests.losses.peer_distances` asks the installed peers and writes `peer_distances.json`.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.compat import stored

FILE = Path(__file__).with_suffix(".json")


class Case(NamedTuple):
    """One loss, here and there, and its inputs, channels last, as `stored.array` has them."""

    loss: str
    options: dict[str, Any]
    peer: str
    peer_loss: str
    peer_options: dict[str, Any]
    inputs: tuple[dict[str, Any], dict[str, Any]]
    spacing: tuple[float, ...] | None = None


PLANE = ({"wave": [2, 6, 5, 3], "scale": 2.0}, {"ids": [2, 6, 5], "classes": 3, "step": 1})
ABSENT = ({"wave": [2, 6, 5, 3], "scale": 2.0}, {"ids": [2, 6, 5], "classes": 3, "modulus": 2})
ONE = ({"wave": [1, 6, 5, 3], "scale": 2.0}, {"ids": [1, 6, 5], "classes": 3, "step": 1})
VOLUME = (
    {"wave": [2, 4, 3, 5, 2], "scale": 2.0},
    {"ids": [2, 4, 3, 5], "classes": 2, "step": 3, "modulus": 7},
)
# Thick errors, which survive an erosion: broad waves against a single class.
THICK = ({"wave": [2, 6, 5, 3], "scale": 60.0, "frequency": 0.05}, {"ids": [2, 6, 5], "classes": 1})
THICK_VOLUME = (
    {"wave": [2, 4, 3, 5, 2], "scale": 60.0, "frequency": 0.05},
    {"ids": [2, 4, 3, 5], "classes": 1},
)
MONAI = {"softmax": True, "to_onehot_y": True, "include_background": False}
PAPER = {"normalize": False}
EXACTA = {"normalize": False, "inside": "plain", "outside": "background", "absent": "diagonal"}

CASES = [
    *[Case("boundary", PAPER, "monai", "BoundaryLoss", MONAI, at) for at in (PLANE, VOLUME)],
    Case("boundary", PAPER, "monai", "BoundaryLoss", MONAI, ABSENT),
    Case(
        "boundary",
        {"include_background": True, **PAPER},
        "monai",
        "BoundaryLoss",
        {**MONAI, "include_background": True},
        PLANE,
    ),
    *[Case("boundary", EXACTA, "exacta", "BoundaryLoss", {}, at) for at in (PLANE, ABSENT)],
    Case("boundary", EXACTA, "exacta", "BoundaryLoss", {}, PLANE, (2.0, 0.5)),
    Case("boundary", EXACTA, "exacta", "BoundaryLoss", {}, VOLUME, (1.0, 3.0, 0.7)),
    *[Case("hausdorff_dt", PAPER, "monai", "HausdorffDTLoss", MONAI, x) for x in (PLANE, VOLUME)],
    Case("hausdorff_dt", PAPER, "monai", "HausdorffDTLoss", MONAI, ABSENT),
    Case(
        "hausdorff_dt",
        {"include_background": True, "alpha": 1.5, **PAPER},
        "monai",
        "HausdorffDTLoss",
        {**MONAI, "include_background": True, "alpha": 1.5},
        PLANE,
    ),
    Case("log_hausdorff_dt", {}, "monai", "LogHausdorffDTLoss", MONAI, ONE),
    Case("hausdorff_dt", PAPER, "exacta", "HausdorffDTLoss", {}, PLANE, (2.0, 0.5)),
    Case("hausdorff_dt", PAPER, "exacta", "HausdorffDTLoss", {}, VOLUME, (1.0, 3.0, 0.7)),
    Case(
        "hausdorff_dt",
        {"alpha": 3.0, **PAPER},
        "exacta",
        "HausdorffDTLoss",
        {"alpha": 3.0},
        ABSENT,
    ),
    *[
        Case(
            "hausdorff_er",
            {"include_background": True, "iterations": k},
            "kornia",
            name,
            {"k": k},
            at,
        )
        for name, at, k in (
            ("HausdorffERLoss", THICK, 2),
            ("HausdorffERLoss", THICK, 10),
            ("HausdorffERLoss3D", THICK_VOLUME, 3),
        )
    ],
]


def name(case: Case) -> str:
    """A case as the name of a test."""
    options = ",".join(f"{key}={value}" for key, value in case.peer_options.items())
    return f"{case.loss}={case.peer}.{case.peer_loss}({options}){case.spacing or ''}"


def ask(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The peer's value, a mean over the batch, and its gradient, channels last."""
    import exacta.losses
    import kornia.losses
    import monai.losses

    places = {"monai": monai.losses, "exacta": exacta.losses, "kornia": kornia.losses}
    made = getattr(places[case.peer], case.peer_loss)(**case.peer_options)

    def loss(x, y):
        x = x.movedim(-1, 1)
        if case.peer == "exacta":
            return made(x, y, spacing=case.spacing or 1.0)
        return made(x.softmax(1) if case.peer == "kornia" else x, y[:, None])

    return stored.ask_torch(loss, stored.array(list(case.inputs)))


def load() -> list[dict[str, Any]]:
    """The stored answers, one a case."""
    return json.loads(FILE.read_text())["answers"]


def main() -> None:
    """Asks every peer and writes the file."""
    lines = []
    for case in CASES:
        value, gradient = (np.asarray(a, np.float64) for a in ask(case))
        assert np.isfinite(value), name(case)
        assert np.abs(gradient).max() > 0, name(case)
        numbers = {"value": float(f"{value:.8g}")}
        lines.append({**numbers, "gradient": [float(f"{g:.7g}") for g in gradient]})
    source = {library: version(library) for library in ("monai", "exacta", "kornia", "torch")}
    answers = ",\n".join(json.dumps(line) for line in lines)
    FILE.write_text(f'{{"source": {json.dumps(source)},\n"answers": [\n{answers}\n]}}\n')


if __name__ == "__main__":
    main()
