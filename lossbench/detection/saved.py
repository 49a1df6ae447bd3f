"""A detector as a folder: `detector.json` and `arrays.npz`, plain values and plain arrays.

Nothing in it is code, so that a folder from somebody else can be opened; but the name of a network
of one's own stands for code, which is run.
"""

import json
import math
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import lossbench
from lossbench.detection.description import describe, rebuild
from lossbench.detection.detector import Detector, outputs_to_scores
from lossbench.metrics import Threshold

FORMAT = 1
DESCRIPTION, ARRAYS, EXPORTED = "detector.json", "arrays.npz", "scores.stablehlo"


def save(folder: str | os.PathLike[str], detector: Detector) -> Path:
    """Writes a detector as a folder, whole or not at all.

    Args:
        folder: where to; its parents are made. A detector that is there is replaced.
        detector: what to save.

    Returns:
        The folder.

    Raises:
        ValueError: if something else is there, or a value cannot be saved.

    Example:
        >>> import pathlib, tempfile
        >>> import jax, numpy as np
        >>> from lossbench.anomaly.rx import fit_rx
        >>> from lossbench.detection.detector import classical_detector
        >>> pixels = np.random.default_rng(0).normal(size=(50, 3))
        >>> detector = classical_detector(fit_rx(pixels), Threshold.fixed(9.0))
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     restored = load(save(pathlib.Path(parent) / "rx", detector))
        >>> bool((restored.scores(pixels) == detector.scores(pixels)).all())
        True
    """
    folder = Path(folder)
    check_replaceable(folder)
    arrays = _flat(detector.variables)
    threshold = detector.threshold
    found_with = {name: _number(getattr(threshold, name)) for name in ("anomalous", "normal")}
    content = {
        "format": FORMAT,
        **describe(detector.model, detector.name),
        "shape": list(detector.shape),
        "wavelengths": detector.wavelengths,
        "threshold": {"value": _number(threshold.value), **found_with}
        | {"how": threshold.how, "split": threshold.split},
        "arrays": {n: {"shape": a.shape, "dtype": a.dtype.name} for n, a in arrays.items()},
        "lossbench": lossbench.__version__,
        "jax": jax.__version__,
    }
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    folder.parent.mkdir(parents=True, exist_ok=True)
    part, before = (
        folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("new", "old")
    )
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        part.mkdir()
        np.savez(part / ARRAYS, **arrays)  # pyright: ignore[reportArgumentType]
        (part / DESCRIPTION).write_text(text, encoding="utf-8")
        if folder.exists():
            os.replace(folder, before)
        try:
            os.replace(part, folder)
        except OSError:
            if before.exists():
                os.replace(before, folder)
            raise
    finally:
        for rest in (part, before):
            shutil.rmtree(rest, ignore_errors=True)
    return folder


def check_replaceable(folder: Path) -> None:
    """Raises a ValueError if a folder holds something other than a detector."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise ValueError(f"{folder}: something that is no folder is there already")
    others = {path.name for path in folder.iterdir()} - {DESCRIPTION, ARRAYS, EXPORTED}
    if others:
        raise ValueError(
            f"{folder}: this folder holds {', '.join(sorted(others)[:3])}, so it is not replaced; "
            "a detector is saved as a folder of its own"
        )


def load(folder: str | os.PathLike[str]) -> Detector:
    """Restores a detector.

    Args:
        folder: as `save` has written it.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is no detector, of another format, damaged, or not complete.
    """
    folder = Path(folder)
    content = _description(folder)
    path = folder / DESCRIPTION
    try:
        wavelengths = content["wavelengths"]
        wavelengths = None if wavelengths is None else tuple(float(nm) for nm in wavelengths)
        model = rebuild(content, wavelengths)
        shape = tuple(int(n) for n in content["shape"])
        given = content["threshold"]
        value, anomalous, normal = (
            np.float32(given[name]) for name in ("value", "anomalous", "normal")
        )
        threshold = Threshold(value, anomalous, normal, how=given["how"], split=given["split"])
        name = (content.get("model") or {}).get("name")
        wanted = {
            name: (tuple(entry["shape"]), entry["dtype"])
            for name, entry in content["arrays"].items()
        }
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]!r} is missing") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    variables = _nested(_arrays(folder / ARRAYS, wanted))
    image = jax.ShapeDtypeStruct((1, *shape), np.float32)
    try:
        jax.eval_shape(lambda *read: outputs_to_scores(model.apply(*read)), variables, image)
    except Exception as error:  # whatever a network raises that is given another's arrays
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{folder}: the arrays do not fit the model: {said}") from error
    return Detector(model, variables, threshold, shape, wavelengths, name)


def is_detector(folder: Path) -> bool:
    """Whether a folder looks like a saved detector."""
    return (folder / DESCRIPTION).is_file()


def _description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if not path.is_file():
        raise ValueError(f"{folder}: not a saved detector, it has no {DESCRIPTION}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: truncated or damaged ({error})") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path}: its format is {found!r}, and lossbench {lossbench.__version__} reads {FORMAT}"
        )
    return content


def _arrays(path: Path, wanted: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, np.ndarray]:
    """The arrays of a file, all that are wanted and as they are wanted."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file, the detector is not complete")
    try:
        # NumPy would leave a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: truncated or damaged ({error})") from error
    missing = sorted(set(wanted) - set(arrays))
    if missing:
        raise ValueError(f"{path}: the array {missing[0]!r} is missing ({len(missing)} in all)")
    for name, (shape, dtype) in wanted.items():
        array = arrays[name]
        if (array.shape, array.dtype.name) != (shape, dtype):
            raise ValueError(
                f"{path}: {name}: expected {dtype} of shape {shape}, got {array.dtype} of "
                f"{array.shape}"
            )
    return {name: arrays[name] for name in wanted}


def _flat(variables: Any) -> dict[str, np.ndarray]:
    """Arrays by their paths, "params/dense_0/kernel"."""
    arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        array = np.asarray(leaf)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name}: {array.dtype} cannot be saved")
        arrays[name] = array
    return arrays


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {"params": {}}
    for name, array in arrays.items():
        *place, last = name.split("/")
        branch = tree
        for key in place:
            branch = branch.setdefault(key, {})
        branch[last] = array
    return tree


def _number(value: Any) -> float | str:
    """A number as JSON has it; words for what JSON has no number for, as `float` reads them."""
    number = float(value)
    return number if math.isfinite(number) else str(number)
