"""The pictures that a run leaves beside its result: one slice a test case."""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np

NOT_COUNTED = 255  # as a label of anomaly results


@dataclasses.dataclass(frozen=True)
class Examples:
    """One 2D slice a test case: image in [0, 1], true labels and predicted labels, `cases H W`.

    An image in color has a last axis of 3. Anomaly results have `scores`, `cases H W`, raw, their
    labels are 1 = anomalous and 255 = not counted. `wavelengths` and `spectra` (mean of normal and
    of anomalous pixels) are `bands` and `2 bands`, where they were written.
    """

    image: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray
    axis_slice: np.ndarray
    scores: np.ndarray | None = None
    wavelengths: np.ndarray | None = None
    spectra: np.ndarray | None = None

    @property
    def where(self) -> np.ndarray:
        """`cases H W`, true = counted: of anomaly results what has a label and a score."""
        if self.scores is None:
            return np.ones(self.labels.shape, bool)
        return (self.labels != NOT_COUNTED) & ~np.isnan(self.scores)


def read_examples(path: Path) -> Examples | None:
    """The slices of a run's `examples.npz`; None where there are none that can be read.

    An image of bytes is taken from [0, 255] to [0, 1]; without `axis_slice` all are whole images.
    """
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            image = file["image"]
            more = {
                name: file[name].astype(np.float64)
                for name in ("scores", "wavelengths", "spectra")
                if name in file.files
            }
            return Examples(
                image=image.astype(np.float32) / (255 if image.dtype == np.uint8 else 1),
                labels=file["labels"],
                prediction=file["prediction"],
                axis_slice=file["axis_slice"]
                if "axis_slice" in file.files
                else np.full(len(image), -1, np.int32),
                **more,
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
