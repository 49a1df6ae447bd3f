"""The geometry of the synthetic shapes: for each kind, the level of every voxel of a grid.

A level is the distance from the shape's skeleton. The shape of n voxels is the set of the n lowest
levels, so each function chooses its skeleton such that n voxels give the kind its look: a hole in
the ring, a thin curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Grid = Float[np.ndarray, "*space dims"]
Level = Float[np.ndarray, "*space"]
Point = Float[np.ndarray, " dims"]


def disc(grid: Grid, center: Point, count: int, rng: np.random.Generator) -> Level:
    """Level of an ellipse (in 3D an ellipsoid) whose axes differ by up to a half."""
    dims = grid.shape[-1]
    rotation = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
    stretch = (rotation * rng.uniform(0.8, 1.25, dims)).astype(np.float32)
    return np.sqrt((((grid - center) @ stretch) ** 2).sum(-1))


def ring(grid: Grid, center: Point, count: int, rng: np.random.Generator) -> Level:
    """Level of a circle, in 3D in a random plane: its lowest levels are an annulus or a torus."""
    dims = grid.shape[-1]
    offset = grid - center
    normal = unit(rng.normal(size=3))
    height = offset @ normal if dims == 3 else np.zeros(offset.shape[:-1], np.float32)
    in_plane = np.sqrt(np.maximum((offset**2).sum(-1) - height**2, 0))
    # n voxels fill a wall of this cross-section around a circle of the radius. `closed` is the
    # radius whose wall is as thick as the circle is wide, which has no hole.
    width = rng.uniform(2.0, 3.5)
    section = width if dims == 2 else math.pi / 4 * width**2
    closed = math.sqrt(count / (4 * math.pi)) if dims == 2 else math.cbrt(count / (2 * math.pi**2))
    radius = max(count / (2 * math.pi * section), 1.5 * closed)
    radius = min(radius, 0.35 * min(grid.shape[:-1]))
    return np.hypot(in_plane - np.float32(radius), height)


def curve(grid: Grid, center: Point, count: int, rng: np.random.Generator) -> Level:
    """Level of smooth open paths: as many, up to four, as keep `count` voxels one to two thick."""
    size = np.asarray(grid.shape[:-1])
    width = rng.uniform(1.2, 2.0)
    section = width if len(size) == 2 else math.pi / 4 * width**2
    longest = 0.8 * size.min()
    paths = min(max(round(count / section / longest), 1), 4)
    centers = [center]
    while len(centers) < paths:
        centers.append(spread_center(size, centers, rng))
    length = min(count / section / paths, longest)
    axes = np.ogrid[tuple(slice(n) for n in size)]
    nearest = np.full(size, np.inf, np.float32)
    for middle in centers:
        for point in smooth_path(middle, length, size, rng):
            square = sum((x - p) ** 2 for x, p in zip(axes, point, strict=True))
            np.minimum(nearest, square, out=nearest)
    return np.sqrt(nearest)


def smooth_path(
    middle: Point, length: float, size: np.ndarray, rng: np.random.Generator
) -> Float[np.ndarray, "steps dims"]:
    """Returns points, about a voxel apart, of a path in a random plane that stays in the grid."""
    ahead = unit(rng.normal(size=len(size)))
    aside = rng.normal(size=len(size)).astype(np.float32)
    aside = unit(aside - (aside @ ahead) * ahead)
    steps = math.ceil(length) + 1
    first, last = rng.uniform(-4, 4, 2)
    heading = np.cumsum(np.linspace(first, last, steps)) / steps
    path = np.cumsum(np.outer(np.cos(heading), ahead) + np.outer(np.sin(heading), aside), axis=0)
    path = middle + (path - path.mean(0)) * (length / steps)
    path += np.maximum(1 - path.min(0), 0) - np.maximum(path.max(0) - (size - 2), 0)
    return path.astype(np.float32)


def lesion(grid: Grid, center: Point, count: int, rng: np.random.Generator) -> Level:
    """Level of up to five spots of different size, each of about five voxels or more."""
    centers = [center]
    for _ in range(min(count // 5, 5) - 1):
        centers.append(spread_center(grid.shape[:-1], centers, rng))
    scales = rng.uniform(0.7, 1.3, len(centers)).astype(np.float32)
    return np.min(
        [np.sqrt(((grid - c) ** 2).sum(-1)) / s for c, s in zip(centers, scales, strict=True)], 0
    )


def spread_center(
    size: Sequence[int] | np.ndarray,
    others: Sequence[Point],
    rng: np.random.Generator,
    candidates: int = 8,
) -> Point:
    """Returns the candidate that is farthest from the other centers, off the border."""
    points = (np.asarray(size) * rng.uniform(0.15, 0.85, (candidates, len(size)))).astype(
        np.float32
    )
    if not others:
        return points[0]
    return points[np.argmax(np.min([((points - o) ** 2).sum(-1) for o in others], axis=0))]


def unit(vector: np.ndarray) -> Point:
    """Returns the vector at length one."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)
