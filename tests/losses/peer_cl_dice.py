"""What MONAI and exacta answer for clDice, and how they are called here.

`python -m tests.losses.peer_cl_dice` asks them and writes `peer_cl_dice.json`. MONAI pools classes,
so there is one foreground class in each of its cases; exacta takes their mean.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.compat import stored

FILE = Path(__file__).with_suffix(".json")


class Case(NamedTuple):
    """A peer's loss and its options, ours, and the inputs, channels last, as in `stored.array`."""

    peer: str
    peer_options: dict[str, Any]
    options: dict[str, Any]
    inputs: tuple[dict[str, Any], dict[str, Any]]

    @property
    def alpha(self) -> float:
        """The weight of clDice beside Dice."""
        return self.peer_options.get("alpha", 0.5) if self.peer == "SoftDiceclDiceLoss" else 1.0


def inputs(shape: tuple[int, ...], classes: int, **ids: int) -> tuple[dict, dict]:
    """Logits of waves, of which no two are equal, and ids in stripes."""
    wave = {"wave": [*shape, classes], "scale": 2.0, "frequency": 0.35, "offset": 0.5}
    return wave, {"ids": list(shape), "classes": 2, **ids}


THREE = ({"wave": [2, 7, 6, 3], "scale": 2.0}, {"ids": [2, 7, 6], "classes": 3, "step": 1})
PLANE = inputs((2, 9, 8), 1, step=3, modulus=7)
BARS = inputs((2, 9, 8), 2, step=1, modulus=10)
ABSENT = inputs((2, 9, 8), 1, step=2, modulus=2)
VOLUME = inputs((2, 5, 6, 4), 1, step=1, modulus=6)
TWO_VOLUMES = inputs((1, 5, 6, 7), 2, step=2, modulus=9)
# What MONAI adds, if it is not told otherwise.
ADDED: dict[str, Any] = {"smooth": 1.0, "harmonic_smooth": 1e-4}
ONE = {"activation": "sigmoid"}
OF_TWO = {"softmax": True, "to_onehot_y": True, "include_background": False}

CASES = [
    Case("SoftclDiceLoss", {"sigmoid": True}, {"iterations": 3, **ONE, **ADDED}, PLANE),
    Case("SoftclDiceLoss", {"sigmoid": True}, {"iterations": 3, **ONE, **ADDED}, ABSENT),
    Case("SoftclDiceLoss", OF_TWO, {"iterations": 3, **ADDED}, BARS),
    Case("SoftclDiceLoss", {"sigmoid": True}, {"iterations": 3, **ONE, **ADDED}, VOLUME),
    Case(
        "SoftclDiceLoss",
        {"iter_": 1, "smooth_nr": 0.5, "smooth_dr": 2.0, "smooth": 0.1, **OF_TWO},
        {"iterations": 1, "smooth": (0.5, 2.0), "harmonic_smooth": 0.1},
        TWO_VOLUMES,
    ),
    Case(
        "SoftClDiceLoss", {"iterations": 2, "smooth": 0.5}, {"iterations": 2, "smooth": 0.5}, THREE
    ),
    Case("SoftDiceclDiceLoss", {"alpha": 0.3, **OF_TWO}, {"iterations": 3, **ADDED}, BARS),
]


def name(case: Case) -> str:
    """A case as the name of a test."""
    options = ",".join(f"{key}={value}" for key, value in case.peer_options.items())
    return f"{case.peer}({options}){case.inputs[0]['wave']}"


def ask(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The peer's value, a mean over the batch, and its gradient, channels last."""
    import exacta.losses
    import monai.losses

    of_exacta = hasattr(exacta.losses, case.peer)
    made = getattr(exacta.losses if of_exacta else monai.losses, case.peer)(**case.peer_options)

    def loss(x, y):
        return made(x.movedim(-1, 1), y if of_exacta else y[:, None])

    return stored.ask_torch(loss, stored.array(list(case.inputs)))


def load() -> list[dict[str, Any]]:
    """The stored answers, one a case."""
    return json.loads(FILE.read_text())["answers"]


def main() -> None:
    """Asks the peers and writes the file."""
    lines = []
    for case in CASES:
        value, gradient = (np.asarray(a, np.float64) for a in ask(case))
        assert np.isfinite(value), name(case)
        assert np.abs(gradient).max() > 0, name(case)
        numbers = {"value": float(f"{value:.8g}")}
        lines.append({**numbers, "gradient": [float(f"{g:.7g}") for g in gradient]})
    source = {library: version(library) for library in ("monai", "exacta", "torch")}
    answers = ",\n".join(json.dumps(line) for line in lines)
    FILE.write_text(f'{{"source": {json.dumps(source)},\n"answers": [\n{answers}\n]}}\n')


if __name__ == "__main__":
    main()
