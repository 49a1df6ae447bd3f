"""Trained detectors in use: kept in a folder, scoring scenes, exported; `SVDD`, an estimator."""

from lossbench.detection.classical import Classical
from lossbench.detection.detector import Detector, classical_detector, trained_detector
from lossbench.detection.estimator import SVDD, NotFittedError
from lossbench.detection.exported import export
from lossbench.detection.files import find_detector, write_bytes
from lossbench.detection.saved import load, save
from lossbench.detection.score import SceneScores, score_scene

__all__ = [
    "SVDD",
    "Classical",
    "Detector",
    "NotFittedError",
    "SceneScores",
    "classical_detector",
    "export",
    "find_detector",
    "load",
    "save",
    "score_scene",
    "trained_detector",
    "write_bytes",
]
