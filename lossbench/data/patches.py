"""Patches of one shape from cases of any shape: random crops, and tiles without overlap.

A patch is named by its start, the position in the case of its first voxel; it is negative where the
patch begins with padding. An axis that is shorter than the patch is padded evenly at both ends.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from lossbench.data.dataset import Example


class Volume(NamedTuple):
    """One whole case.

    Attributes:
        image: Normalized intensities.
        labels: Class ids.
        where: True = counted; None counts everything.
    """

    image: Float[np.ndarray, "*space channels"]
    labels: Integer[np.ndarray, "*space"]
    where: Bool[np.ndarray, "*space"] | None = None


class Tile(NamedTuple):
    """A patch of a tiling.

    Attributes:
        start: Position of the patch's first voxel in the case.
        counted: The voxels of the patch that this tile counts, as one slice per axis.
    """

    start: tuple[int, ...]
    counted: tuple[slice, ...]


def tiles(shape: Sequence[int], patch: Sequence[int]) -> list[Tile]:
    """Returns the fewest patches that cover a case, each voxel counted by exactly one of them.

    The patches are spread evenly, so they overlap rather than reach over the border; an overlap is
    divided in its middle, where both patches see most around it.

    Args:
        shape: Voxels per axis of the case.
        patch: Voxels per axis of a patch.
    """
    lines = [tile_line(n, p) for n, p in zip(shape, patch, strict=True)]
    return [
        Tile(tuple(start for start, _ in corner), tuple(counted for _, counted in corner))
        for corner in itertools.product(*lines)
    ]


def tile_line(n: int, patch: int) -> list[tuple[int, slice]]:
    """Returns the start and the counted voxels of the patches along one axis of n voxels."""
    if n <= patch:
        start = padded_start(n, patch)
        return [(start, slice(-start, n - start))]
    count = -(-n // patch)
    starts = [i * (n - patch) // (count - 1) for i in range(count)]
    borders = [(a + patch + b) // 2 for a, b in itertools.pairwise(starts)]
    return [
        (start, slice(low - start, high - start))
        for start, low, high in zip(starts, [0, *borders], [*borders, n], strict=True)
    ]


def padded_start(n: int, patch: int) -> int:
    """Returns the start of a patch that holds all n voxels of an axis in its middle."""
    return -((patch - n) // 2)


def random_start(
    shape: Sequence[int],
    patch: Sequence[int],
    rng: np.random.Generator,
    holding: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Returns a start drawn evenly from those whose patch lies in the case.

    Args:
        shape: Voxels per axis of the case.
        patch: Voxels per axis of the patch.
        rng: Generator to draw with.
        holding: A voxel that the patch must hold, or None.
    """
    start = []
    for axis, (n, p) in enumerate(zip(shape, patch, strict=True)):
        low, high = 0, n - p
        if high <= 0:
            start.append(padded_start(n, p))
            continue
        if holding is not None:
            low, high = max(low, holding[axis] - p + 1), min(high, holding[axis])
        start.append(int(rng.integers(low, high + 1)))
    return tuple(start)


def overlap(
    shape: Sequence[int], start: Sequence[int], patch: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Returns what case and patch share, as slices of the case and as slices of the patch."""
    lows = [max(s, 0) for s in start]
    ends = [
        (low, max(low, min(s + p, n)))
        for low, n, s, p in zip(lows, shape, start, patch, strict=True)
    ]
    in_case = tuple(slice(low, high) for low, high in ends)
    in_patch = tuple(slice(low - s, high - s) for (low, high), s in zip(ends, start, strict=True))
    return in_case, in_patch


def cut(
    array: Shaped[np.ndarray, "*space_and_rest"], start: Sequence[int], patch: Sequence[int]
) -> Shaped[np.ndarray, "*patch_and_rest"]:
    """Returns the patch of an array, with zeros where it reaches over the border.

    Args:
        array: Array whose first axes are the spatial ones.
        start: Position of the patch's first voxel, one number per spatial axis.
        patch: Voxels per axis of the patch.
    """
    dims = len(patch)
    in_case, in_patch = overlap(array.shape[:dims], start, patch)
    result = np.zeros((*patch, *array.shape[dims:]), array.dtype)
    result[in_patch] = array[in_case]
    return result


def example(
    volume: Volume,
    case: int,
    start: Sequence[int],
    counted: tuple[slice, ...],
    patch: Sequence[int],
) -> Example:
    """Returns the patch of a case at `start`.

    Its `where` is true on the counted voxels, of those that the case itself counts.
    """
    where = np.zeros(tuple(patch), bool)
    where[counted] = True
    if volume.where is not None:
        where &= cut(volume.where, start, patch)
    return {
        "image": cut(volume.image, start, patch),
        "labels": cut(volume.labels, start, patch).astype(np.int32),
        "where": where,
        "case": np.asarray(case, np.int32),
    }


def check_foreground(
    foreground: float, shapes: Sequence[Sequence[int]], patch: Sequence[int]
) -> None:
    """Raises a ValueError unless `foreground` is a chance that random crops can make use of."""
    if not 0 <= foreground <= 1:
        raise ValueError(f"foreground must be from 0 to 1, got {foreground}")
    if foreground > 0 and not any(n > p for s in shapes for n, p in zip(s, patch, strict=True)):
        raise ValueError(
            f"foreground={foreground} has no effect: no case is larger than the patch "
            f"{tuple(patch)}"
        )


@dataclasses.dataclass(frozen=True)
class CropSource:
    """Random crops to train on, one example a case.

    Attributes:
        names: The name of each case.
        read: Function from a case's index to its volume.
        patch: Voxels per axis of a crop.
        foreground: Chance that a crop is drawn to hold a voxel drawn from the case's foreground.
        seed: Seed of the crops of `source[index]`; `sample` draws with its own generator.
    """

    names: tuple[str, ...]
    read: Callable[[int], Volume]
    patch: tuple[int, ...]
    foreground: float = 0.0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        case = range(len(self))[index]
        return self.sample(case, np.random.default_rng([self.seed, case]))

    def whole(self, index: SupportsIndex, /) -> Example:
        """Returns case `index` before any crop."""
        volume = self.read(range(len(self))[index])
        whole = {"image": volume.image, "labels": volume.labels}
        return whole if volume.where is None else whole | {"where": volume.where}

    def sample(self, index: SupportsIndex, rng: np.random.Generator, /) -> Example:
        """Returns a crop of case `index`, drawn with `rng`."""
        case = range(len(self))[index]
        volume = self.read(case)
        shape = volume.labels.shape
        holding = None
        if self.foreground > 0 and rng.random() < self.foreground:
            positions = np.flatnonzero(volume.labels)
            if len(positions):
                holding = [int(i) for i in np.unravel_index(rng.choice(positions), shape)]
        start = random_start(shape, self.patch, rng, holding)
        return example(volume, case, start, overlap(shape, start, self.patch)[1], self.patch)


class TileSource:
    """The tiles of each case in order: to evaluate on, each voxel counted once."""

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[int], Volume],
        shapes: Sequence[Sequence[int]],
        patch: Sequence[int],
    ):
        """Lays out the tiles.

        Args:
            names: The name of each case.
            read: Function from a case's index to its volume.
            shapes: Voxels per axis of each case.
            patch: Voxels per axis of a tile.
        """
        self.names = tuple(names)
        self.read = read
        self.patch = tuple(patch)
        self.tiles = [(case, tile) for case, s in enumerate(shapes) for tile in tiles(s, patch)]

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        case, tile = self.tiles[index]
        return example(self.read(case), case, tile.start, tile.counted, self.patch)
