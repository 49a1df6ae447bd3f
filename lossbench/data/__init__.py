"""Data sets by name, and batches of them.

A new data set is a function in a file of its own that returns a `Dataset`, and a row in `SOURCES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from lossbench._names import find, unknown
from lossbench.data.chase_db1 import chase_db1
from lossbench.data.cubes import Cube, read_cube
from lossbench.data.dataset import (
    ArraySource,
    Dataset,
    Example,
    RandomSource,
    SampleSource,
    Source,
    wholes,
)
from lossbench.data.decathlon import decathlon
from lossbench.data.hyperspectral import hyperspectral
from lossbench.data.image_folder import image_folder
from lossbench.data.loader import evaluation_batches, training_batches
from lossbench.data.one_class_digits import one_class_digits
from lossbench.data.split import split
from lossbench.data.synthetic_scenes import scenes
from lossbench.data.synthetic_shapes import shapes
from lossbench.data.tables import tables
from lossbench.data.transforms import augmentation

SOURCES: dict[str, Callable[..., Dataset]] = {
    "shapes": shapes,
    "decathlon": decathlon,
    "image_folder": image_folder,
    "chase_db1": chase_db1,
    "scenes": scenes,
    "hyperspectral": hyperspectral,
    "tables": tables,
    "one_class_digits": one_class_digits,
}

__all__ = [
    "SOURCES",
    "ArraySource",
    "Cube",
    "Dataset",
    "Example",
    "RandomSource",
    "SampleSource",
    "Source",
    "augmentation",
    "chase_db1",
    "decathlon",
    "evaluation_batches",
    "hyperspectral",
    "image_folder",
    "load",
    "one_class_digits",
    "read_cube",
    "scenes",
    "shapes",
    "split",
    "tables",
    "training_batches",
    "wholes",
]


def load(name: str, **options: Any) -> Dataset:
    """Returns the data set of a name.

    Args:
        name: A name in `SOURCES`; or a function of your own that returns a `Dataset`, as
            `package.module:function` or `path/to/file.py:function`.
        **options: Its options, as its own function takes them.
    """
    check_options(name, options)
    dataset = find("data set", name, SOURCES)(**options)
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"data set {name!r}: expected it to give a lossbench.data.Dataset, got "
            f"{type(dataset).__name__}"
        )
    return dataset


def check_options(name: str, options: Iterable[str]) -> None:
    """Raises a ValueError for an unknown data set, or an unknown or missing option."""
    parameters = inspect.signature(find("data set", name, SOURCES)).parameters
    for option in options:
        if option not in parameters:
            raise unknown(f"option of the data set {name}", option, parameters)
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"data set {name!r} needs the option {option!r}")
