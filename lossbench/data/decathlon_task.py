"""What the files of a Medical Segmentation Decathlon task say before any voxel is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lossbench.data.nifti import Header, read_header, spatial_shape


class Case(NamedTuple):
    """One entry of the training list."""

    name: str
    image: Path
    label: Path


class Task(NamedTuple):
    """What `dataset.json` says."""

    name: str
    class_names: tuple[str, ...]
    modalities: tuple[str, ...]
    cases: tuple[Case, ...]


def read_task(folder: Path) -> Task:
    """Reads and checks `dataset.json`."""
    file = folder / "dataset.json"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such data folder")
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: no such file; a task folder of the Medical Segmentation Decathlon has one"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: must hold a JSON object, found a {type(content).__name__}")
    entries = content.get("training")
    cases = []
    for entry in entries if isinstance(entries, list) else ():
        paths = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else ()
        if not paths or not all(isinstance(path, str) for path in paths):
            raise ValueError(
                f'{file}: each entry of "training" needs the paths "image" and "label", found '
                f"{entry!r}"
            )
        image = folder / entry["image"]
        if image.name.startswith("._"):  # macOS's resource forks, which some archives list
            continue
        name = image.name.removesuffix(".gz").removesuffix(".nii")
        cases.append(Case(name, image, folder / entry["label"]))
    if not cases:
        raise ValueError(f'{file}: "training" must be a list of at least one case')
    class_names = numbered(content, "labels", file)
    if len(class_names) < 2:
        raise ValueError(f'{file}: "labels" must name the background and at least one class')
    return Task(
        folder.resolve().name, class_names, numbered(content, "modality", file), tuple(cases)
    )


def numbered(content: Mapping[str, Any], key: str, file: Path) -> tuple[str, ...]:
    """Returns the values of an object with the keys "0", "1", ... in this order."""
    table = content.get(key)
    if (
        not isinstance(table, dict)
        or set(table) != {str(i) for i in range(len(table))}
        or not table
    ):
        raise ValueError(
            f'{file}: "{key}" must be an object with the keys "0", "1", ... without a gap, found '
            f"{table!r}"
        )
    return tuple(str(table[str(i)]) for i in range(len(table)))


def check_case(case: Case, *, task: Task) -> Header:
    """Returns the image's header after a check against the label's and `dataset.json`."""
    header, label = read_header(case.image), read_header(case.label)
    if len(header.shape) not in (3, 4) or len(header.spacing) < 3:
        raise ValueError(
            f"{case.image}: an image must have 3 or 4 axes, found shape {header.shape}"
        )
    if spatial_shape(label.shape) != header.shape[:3]:
        raise ValueError(
            f"{case.image}: the image has shape {header.shape[:3]}, but its label {case.label} has "
            f"{label.shape}"
        )
    channels = math.prod(header.shape[3:])
    if channels != len(task.modalities):
        raise ValueError(
            f"{case.image}: the image has {channels} channels (shape {header.shape}), but "
            f"dataset.json names {len(task.modalities)} modalities: {', '.join(task.modalities)}"
        )
    return header
