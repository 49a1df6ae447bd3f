"""TensorBoard logs; the only module that knows tensorboardX."""

import math
import types
from pathlib import Path
from typing import Self

import numpy as np
from tensorboardX import SummaryWriter

from lossbench._colors import CLASS_COLORS
from lossbench.training.display import Slice

# Background is black.
_COLORS = np.array(
    [(0, 0, 0), *(tuple(bytes.fromhex(color[1:])) for color in CLASS_COLORS)], np.uint8
)


class Log:
    """Scalars and images of one run, for TensorBoard. A resumed run drops what it will redo."""

    def __init__(self, folder: Path, *, resumed_at: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=resumed_at + 1, flush_secs=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._writer.close()

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        """Writes `group/name` for each value that is defined; TensorBoard has no gaps for NaN."""
        for name, value in values.items():
            if math.isnan(value):
                continue
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def slices(self, slices: list[Slice], step: int) -> None:
        """Writes one picture: a row an example, its image, its truth, its prediction."""
        rows = []
        for s in slices:
            gray = np.repeat((255 * s.image).astype(np.uint8)[..., None], 3, axis=-1)
            columns = [gray, *(_COLORS[ids % len(_COLORS)] for ids in (s.labels, s.prediction))]
            rows.append(np.concatenate(columns, axis=1))
        picture = np.concatenate(rows, axis=0)
        self._writer.add_image(
            "validation/image, truth, prediction", picture, step, dataformats="HWC"
        )
