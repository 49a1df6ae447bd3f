"""A scene from a file, scored: scores, decisions and, where it has a mask, how good they are."""

import dataclasses
import os
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from lossbench.data import Cube, read_cube
from lossbench.data.false_color import false_color
from lossbench.detection.detector import SAME_WAVELENGTH, Detector
from lossbench.metrics import Threshold, average_precision, roc_auc


@dataclasses.dataclass(frozen=True)
class SceneScores:
    """A scene and what a detector says of it.

    Attributes:
        name: the file's name without its ending.
        color: a picture of the scene in [0, 1].
        scores: higher is more anomalous; NaN where there are no data.
        decisions: true = anomalous.
        threshold: from which on a score is anomalous.
        labels: true = anomalous; None without a mask.
        where: true = has data; None where every pixel has.
        roc_auc: of the scores; NaN without a mask, or with one of a single class.
        average_precision: likewise.
    """

    name: str
    color: Float[np.ndarray, "height width 3"]
    scores: Float[np.ndarray, "height width"]
    decisions: Bool[np.ndarray, "height width"]
    threshold: Threshold
    labels: Bool[np.ndarray, "height width"] | None = None
    where: Bool[np.ndarray, "height width"] | None = None
    roc_auc: float = float("nan")
    average_precision: float = float("nan")

    def arrays(self) -> dict[str, np.ndarray]:
        """What is written to a file."""
        return {
            "scores": self.scores,
            "decisions": self.decisions,
            "threshold": np.asarray(self.threshold.value, np.float32),
        }

    def summary(self) -> str:
        """What a person wants to know, a line each."""
        counted = self.decisions.size if self.where is None else int(self.where.sum())
        how = {"nu": "a share of the training scores", "f1": "the best F1", "fixed": "fixed"}
        source = how.get(self.threshold.how, self.threshold.how)
        value = float(self.threshold.value)
        least = "above 0" if value == np.finfo(np.float32).tiny else f"of {value:.6g} and above"
        lines = [
            f"{self.name}: {int(self.decisions.sum()):,} of {counted:,} pixels flagged, with "
            f"scores {least} ({source})"
        ]
        if self.labels is not None:
            lines.append(
                f"roc_auc: {_number(self.roc_auc)}  average_precision: "
                f"{_number(self.average_precision)}  ({int(self.labels.sum()):,} pixels of the "
                "mask are anomalous)"
            )
        return "\n".join(lines)


def score_scene(
    detector: Detector,
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    mask_key: str | None = None,
    mask_path: str | os.PathLike[str] | None = None,
    anomalous: Sequence[int] | None = None,
    threshold: float | None = None,
) -> SceneScores:
    """Scores a scene from a file.

    Args:
        detector: what to score it with.
        path: the file; this and the following as of `lossbench.data.read_cube`.
        key: of the cube.
        mask_key: of the mask.
        mask_path: of the mask's own file.
        anomalous: values of the mask that mean anomalous.
        threshold: from which on a score is anomalous; None takes the detector's.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for a file that cannot be read, or a scene of other bands.
    """
    if threshold is not None:
        if np.isnan(threshold):
            raise ValueError("threshold: expected a number, got NaN")
        fixed = Threshold.fixed(threshold)
        detector = dataclasses.replace(detector, threshold=fixed)
    cube = read_cube(path, key=key, mask_key=mask_key, mask_path=mask_path, anomalous=anomalous)
    try:
        bands = bands_for(detector, cube)
        image = cube.data if bands is None else cube.data[..., bands]
        scores = detector.scores(image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if scores.shape != cube.data.shape[:2]:
        raise ValueError(
            f"{path}: the detector judges images as a whole, not pixels: its scores have the shape "
            f"{scores.shape}"
        )
    if cube.where is not None:
        scores = np.where(cube.where, scores, np.float32(np.nan))
    measured = {} if cube.labels is None else _measured(scores, cube.labels)
    return SceneScores(
        name=cube.name,
        color=false_color(cube.data, cube.wavelengths, where=cube.where),
        scores=scores,
        decisions=detector.flagged(scores),
        threshold=detector.threshold,
        labels=cube.labels,
        where=cube.where,
        **measured,
    )


def bands_for(detector: Detector, cube: Cube) -> np.ndarray | None:
    """Which of a scene's bands a detector takes; None for all as they are.

    Those at its wavelengths, where both are known; else those that the file calls good, if they are
    as many.

    Raises:
        ValueError: if they are not there.
    """
    total, wanted = cube.data.shape[-1], detector.channels
    if detector.wavelengths is not None and cube.wavelengths is not None:
        apart = np.abs(np.subtract.outer(detector.wavelengths, cube.wavelengths))
        nearest = apart.argmin(axis=1)
        if len(set(nearest.tolist())) < wanted or apart.min(axis=1).max() > SAME_WAVELENGTH:
            band = int(apart.min(axis=1).argmax())
            raise ValueError(
                f"the scene has bands at {_range(cube.wavelengths)}, and the detector was trained "
                f"on {_range(detector.wavelengths)}: the nearest to its "
                f"{detector.wavelengths[band]:g} nm is {cube.wavelengths[nearest[band]]:g} nm "
                f"(at most {SAME_WAVELENGTH:g} nm apart are taken for the same)"
            )
        return None if np.array_equal(nearest, np.arange(total)) else nearest
    if total == wanted:
        return None
    if cube.good_bands is not None and sum(cube.good_bands) == wanted:
        return np.flatnonzero(cube.good_bands)
    raise ValueError(
        f"the scene has {total} bands, and the detector was trained on {wanted}"
        + ("" if cube.good_bands is None else f" ({sum(cube.good_bands)} of them are called good)")
    )


def _measured(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    counted = np.isfinite(scores)
    flat = [jnp.asarray(x.reshape(1, -1)) for x in (np.where(counted, scores, 0), labels)]
    where = jnp.asarray(counted.reshape(1, -1))
    return {
        "roc_auc": float(roc_auc(*flat, where=where).mean),
        "average_precision": float(average_precision(*flat, where=where).mean),
    }


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.4f}"


def _range(wavelengths: Sequence[float]) -> str:
    return f"{len(wavelengths)} wavelengths from {min(wavelengths):g} to {max(wavelengths):g} nm"
