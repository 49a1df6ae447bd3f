"""Length or area of the surface in each cell of a grid: marching cubes in closed form."""

import itertools
import math

Corner = tuple[int, ...]


def cells(axes: int) -> list[Corner]:
    """The corners of a cell; corner number k is bit k of the cell's code."""
    return list(itertools.product((0, 1), repeat=axes))


def areas(spacing: tuple[float, ...]) -> list[float]:
    """Area (in 2D: length) of the surface in a cell, by the code of its corners.

    The surface cuts the cell's edges half way. Corners inside that touch along an edge share one
    piece of surface; those that touch along a diagonal do not. Where more than half of the corners
    are inside, the surface is that of the corners outside.

    Args:
        spacing: length of the cell along each of 2 or 3 axes.
    """
    corners = cells(len(spacing))
    codes = range(2 ** len(corners))
    inside = ({c for bit, c in enumerate(corners) if code >> bit & 1} for code in codes)
    fewer = (i if 2 * len(i) <= len(corners) else {*corners} - i for i in inside)
    return [math.fsum(_area(piece, spacing) for piece in _pieces(corners)) for corners in fewer]


def _pieces(corners: set[Corner]) -> list[set[Corner]]:
    """The corners that hang together along edges."""
    pieces: list[set[Corner]] = []
    for corner in sorted(corners):
        touched = [p for p in pieces if any(_adjacent(corner, other) for other in p)]
        pieces = [p for p in pieces if p not in touched] + [{corner}.union(*touched)]
    return pieces


def _adjacent(a: Corner, b: Corner) -> bool:
    return sum(x != y for x, y in zip(a, b, strict=True)) == 1


def _area(piece: set[Corner], spacing: tuple[float, ...]) -> float:
    """Area of the flat polygons that cut a piece off from the rest of its cell."""
    axes = range(len(spacing))
    along = [a for a in axes if len({corner[a] for corner in piece}) == 2]
    if len(spacing) == 2:
        return math.hypot(*spacing) / 2 if len(piece) == 1 else spacing[along[0]]

    def oblique(*normal: int) -> float:
        """Area of a parallelogram whose normal has these parts in a cell of size 1."""
        faces = (math.prod(spacing[b] for b in axes if b != a) for a in normal)
        return math.hypot(*faces)

    across = [a for a in axes if a not in along]
    if len(piece) == 1:  # a triangle
        return oblique(*axes) / 8
    if len(piece) == 2:  # a rectangle beside their edge
        return oblique(*across) / 2
    if len(piece) == 3:  # a triangle parallel to their face, and a trapezoid
        return oblique(*across) / 2 + oblique(*axes) * 3 / 8
    if across:  # a rectangle parallel to their face
        return oblique(*across)
    neighbors = {corner: [o for o in piece if _adjacent(corner, o)] for corner in piece}
    if any(len(n) == 3 for n in neighbors.values()):  # a corner and all around: a hexagon
        return oblique(*axes) * 3 / 4
    # A path along all three axes: a rectangle, and a triangle at each end.
    inner = [corner for corner, n in neighbors.items() if len(n) == 2]
    (middle,) = (a for a in axes if inner[0][a] != inner[1][a])
    ends = (oblique(middle, a) / 4 for a in axes if a != middle)
    return oblique(*axes) / 2 + sum(ends)
