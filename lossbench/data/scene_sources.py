"""Sources of scenes of any size: windows in one shape, and pixels drawn at random."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import SupportsIndex

import numpy as np
from jaxtyping import Bool

from lossbench.data.dataset import Example
from lossbench.data.patches import Volume

Window = tuple[slice, slice]


def grid(shape: Sequence[int], tile: int) -> list[Window]:
    """Returns the fewest windows without overlap that cover a scene, as even as can be.

    Args:
        shape: Height and width of the scene.
        tile: Pixels that a side of a window has at most.

    Example:
        >>> [(w[0].stop - w[0].start, w[1].stop - w[1].start) for w in grid((50, 20), 20)]
        [(17, 20), (17, 20), (16, 20)]
    """
    lines = []
    for n in shape:
        sizes = [len(part) for part in np.array_split(np.arange(n), -(-n // tile))]
        ends = list(itertools.accumulate(sizes))
        lines.append([slice(end - size, end) for size, end in zip(sizes, ends, strict=True)])
    return [(height, width) for height in lines[0] for width in lines[1]]


def inside(shape: Sequence[int], windows: Sequence[Window]) -> Bool[np.ndarray, "height width"]:
    """Returns which pixels of a scene lie in one of the windows."""
    result = np.zeros(tuple(shape), bool)
    for window in windows:
        result[window] = True
    return result


@dataclasses.dataclass(frozen=True)
class WindowSource:
    """Windows of scenes, all padded to one shape, in order; a scene is a case.

    Attributes:
        names: The name of each scene.
        read: Function from a scene's index to its volume.
        windows: For each example its scene and its window.
        size: Height and width of every example; what a window lacks at its bottom and its right is
            0 and not counted.
    """

    names: tuple[str, ...]
    read: Callable[[int], Volume]
    windows: Sequence[tuple[int, Window]]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        case, window = self.windows[range(len(self.windows))[index]]
        volume = self.read(case)
        image = volume.image[window]
        height, width = image.shape[:2]
        padded = np.zeros((*self.size, image.shape[-1]), np.float32)
        padded[:height, :width] = image
        labels = np.zeros(self.size, np.int32)
        labels[:height, :width] = volume.labels[window]
        where = np.zeros(self.size, bool)
        where[:height, :width] = True if volume.where is None else volume.where[window]
        return {
            "image": padded,
            "labels": labels,
            "where": where,
            "case": np.asarray(case, np.int32),
        }


@dataclasses.dataclass(frozen=True)
class PixelSource:
    """Counted pixels of scenes, or rows of tables, drawn at random; to train on.

    An example is `pixels` of them: its image is `pixels channels`. None comes twice in an example
    where there are enough.

    Attributes:
        names: The name of each scene.
        read: Function from a scene's index to its volume; it has as many axes as it likes.
        pixels: Pixels of an example.
        draws: Examples of each scene in an epoch.
        seed: Seed of the pixels of `source[index]`; `sample` draws with its own generator.
    """

    names: tuple[str, ...]
    read: Callable[[int], Volume]
    pixels: int
    draws: tuple[int, ...]
    seed: int = 0

    def __len__(self) -> int:
        return sum(self.draws)

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        number = range(len(self))[index]
        return self.sample(number, np.random.default_rng([self.seed, number]))

    def case(self, index: SupportsIndex) -> int:
        """Returns the scene that an example is drawn from."""
        number = range(len(self))[index]
        return int(np.searchsorted(np.cumsum(self.draws), number, side="right"))

    def whole(self, index: SupportsIndex, /) -> Example:
        """Returns the scene that example `index` is drawn from."""
        volume = self.read(self.case(index))
        whole = {"image": volume.image, "labels": volume.labels}
        return whole if volume.where is None else whole | {"where": volume.where}

    def sample(self, index: SupportsIndex, rng: np.random.Generator, /) -> Example:
        """Returns pixels of the same scene as `self[index]`, drawn with `rng`."""
        case = self.case(index)
        volume = self.read(case)
        if volume.where is None:
            count = volume.labels.size
            chosen = rng.choice(count, self.pixels, replace=count < self.pixels)
        else:
            counted = np.flatnonzero(volume.where)
            few = len(counted) < self.pixels
            chosen = counted[rng.choice(len(counted), self.pixels, replace=few)]
        image = volume.image.reshape(-1, volume.image.shape[-1])[chosen]
        return {
            "image": image.astype(np.float32),
            "labels": volume.labels.ravel()[chosen].astype(np.int32),
            "where": np.ones(self.pixels, bool),
            "case": np.asarray(case, np.int32),
        }


def draws_of(counts: Sequence[int], pixels: int) -> tuple[int, ...]:
    """Returns the examples a scene in an epoch: about as many as its counted pixels fill."""
    if pixels < 1:
        raise ValueError(f"pixels must be at least 1, got {pixels}")
    return tuple(max(1, count // pixels) for count in counts)


def normal_only(volume: Volume) -> Volume:
    """Returns a scene in which no anomalous pixel is counted."""
    normal = volume.labels == 0
    return volume._replace(where=normal if volume.where is None else volume.where & normal)
