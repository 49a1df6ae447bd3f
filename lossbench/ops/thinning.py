"""Hard skeletons of masks, thinned on the device."""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, UInt8

from lossbench.ops.morphology import check_mask

# Masks are thinned as bytes of 0 and 1 with space flat: see `_flatten`.
Flat = UInt8[Array, "batch cells"]
Step = tuple[int, int, int]

# The neighbors of a pixel in a circle, from above it.
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
# The voxel itself and its neighbors, those with fewer steps first: faces, edges, corners.
STEPS: list[Step] = sorted(
    [(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)],
    key=lambda step: -step.count(0),
)
# The eight subfields of a volume: no two voxels of one are neighbors.
PARITIES: list[Step] = [(z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1)]
# After so many rounds over the axes, what is connected along the edges of a cube has been reached.
ROUNDS = 5


def skeleton(mask: Bool[Array, " batch *space"]) -> Bool[Array, " batch *space"]:
    """The skeleton of every example: its object thinned to curves, with the same topology.

    Args:
        mask: true = inside; one to three spatial axes.

    Returns:
        A part of the mask, with as many components, holes, tunnels and cavities as the mask has,
        each component and hole where it was. Objects touch along corners (8 neighbors in 2D, 26 in
        3D), background along sides (4 and 6); what lies beyond the border is background. The
        skeleton of a skeleton is itself; an empty mask stays empty, and what is not empty never
        vanishes.

    Layer by layer is taken off until nothing changes; the ends of curves stay.

    - 2D: by Guo and Hall's two subiterations, as `skimage.morphology.thin`. Under Zhang and Suen's
      a square of 2 x 2 pixels vanishes and a diagonal line two pixels wide shrinks to a point. Some
      ends of lines keep a pixel more than their topology needs.
    - 3D: one of eight subfields after the other, in which no two voxels are neighbors, so that
      voxels that go at once are as good as voxels that go one by one. A voxel goes if that keeps
      the topology, if it could have gone as the layer began, and if it was no end then, that is,
      had more than one neighbor. What is left has no voxel but ends that could go: curves one voxel
      wide, and surfaces only around cavities. Lee's, as in `skimage.morphology.skeletonize`, is
      close to it, but for objects an even number of voxels wide, which he may lose. Where such an
      object's middle lies between two voxels, its place among the subfields decides.
    - 1D: a mask is as thin as a curve, and its own skeleton.

    The number of layers is half the width of the thickest object of the batch, or of the widest
    plate in 3D; a layer takes 4 ms at 128^3 voxels and 1.6 ms at 1024 x 1024 pixels on two cores of
    a CPU. Memory: a few bytes a pixel.

    Raises:
        ValueError: for another dtype than bool, no spatial axis or more than three.

    Example:
        >>> import jax.numpy as jnp
        >>> bar = jnp.zeros((1, 5, 9), bool).at[0, 1:4, 1:8].set(True)
        >>> print(skeleton(bar)[0].astype(int))
        [[0 0 0 0 0 0 0 0 0]
         [0 0 0 0 0 0 0 0 0]
         [0 0 1 1 1 1 1 0 0]
         [0 0 0 0 0 0 0 0 0]
         [0 0 0 0 0 0 0 0 0]]

    Reference: Guo and Hall, Parallel Thinning with Two-Subiteration Algorithms, CACM 1989; Németh,
    Kardos and Palágyi, Topology Preserving 3D Thinning Algorithms Using Four and Eight Subfields,
    ICIAR 2010; Kong, On Topology Preservation in 2-D and 3-D Thinning, IJPRAI 1995.
    """
    check_mask(mask)
    axes = mask.ndim - 1
    if not 1 <= axes <= 3:
        raise ValueError(f"mask: expected one to three spatial axes, got shape {mask.shape}")
    if axes == 1:
        return mask
    return _thin_plane(mask) if axes == 2 else _thin_volume(mask)


def _thin_plane(mask: Bool[Array, "batch height width"]) -> Bool[Array, "batch height width"]:
    width = mask.shape[2] + 1
    reach = width + 1

    def remove(flat: Flat, turn: int) -> Flat:
        """A subiteration: takes off from the right and above, or, turned around, from the left."""
        ring = [_shifted(flat, dy * width + dx, reach) for dy, dx in RING]
        n = ring[turn:] + ring[:turn]
        # Objects around the pixel: each begins once, after a background pixel beside it.
        begins = [(n[k] ^ 1) & (n[k + 1] | n[(k + 2) % 8]) for k in (0, 2, 4, 6)]
        one_object = (begins[0] | begins[1] | begins[2] | begins[3]) & (_two_of(*begins) ^ 1)
        # Neighbors, counted in pairs both ways: the lesser number is 2 or 3, an end has 1.
        before = [n[k - 1] | n[k] for k in (0, 2, 4, 6)]
        after = [n[k] | n[k + 1] for k in (0, 2, 4, 6)]
        inner = before[0] & before[1] & before[2] & before[3]
        inner = inner & after[0] & after[1] & after[2] & after[3]
        on_rim = _two_of(*before) & _two_of(*after) & (inner ^ 1)
        other_side = (n[0] | n[1] | (n[3] ^ 1)) & n[2]
        removed = one_object & on_rim & (other_side ^ 1)
        kept = _shifted(flat, 0, reach) & (removed ^ 1)
        # A barrier, for XLA's CPU backend would pad anew for each neighbor.
        return lax.optimization_barrier(jnp.pad(kept, ((0, 0), (reach, reach))))

    def layer(state: tuple[Flat, Array]) -> tuple[Flat, Array]:
        flat, _ = state
        thinner = remove(remove(flat, 0), 4)
        return thinner, jnp.any(thinner != flat)

    flat = _flatten(mask, reach)
    flat, _ = lax.while_loop(lambda state: state[1], layer, (flat, jnp.any(mask)))
    return _unflatten(flat, mask.shape, reach)


def _two_of(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Whether at least two of four are 1."""
    return (a & b) | (c & d) | ((a | b) & (c | d))


def _thin_volume(mask: Bool[Array, "batch z y x"]) -> Bool[Array, "batch z y x"]:
    batch, *space = mask.shape
    # Each subfield is a volume of half the size.
    half = [-(-n // 2) for n in space]
    even = jnp.pad(mask, [(0, 0), *((0, 2 * h - n) for h, n in zip(half, space, strict=True))])
    even = even.reshape(batch, half[0], 2, half[1], 2, half[2], 2)
    volumes = even.transpose(2, 4, 6, 0, 1, 3, 5).reshape(8, batch, *half)
    strides = ((half[1] + 1) * (half[2] + 1), half[2] + 1, 1)
    reach = sum(strides)

    def around(fields: list[Flat], parity: Step) -> dict[Step, Array]:
        """The voxels of a subfield and their neighbors, by the step to each."""

        def beside(step: Step) -> Array:
            at = [p + s for p, s in zip(parity, step, strict=True)]
            of = PARITIES.index((at[0] % 2, at[1] % 2, at[2] % 2))
            by = sum(a // 2 * stride for a, stride in zip(at, strides, strict=True))
            return _shifted(fields[of], by, reach)

        return {step: beside(step) for step in STEPS}

    def layer(state: tuple[list[Flat], Array]) -> tuple[list[Flat], Array]:
        before, _ = state
        outermost = []
        for parity in PARITIES:
            n = around(before, parity)
            neighbors = sum(n[step] for step in STEPS[1:])
            outermost.append((neighbors != 1) & _is_simple(n))
        fields = list(before)
        for i, parity in enumerate(PARITIES):
            n = around(fields, parity)
            kept = jnp.where(outermost[i] & _is_simple(n), 0, n[STEPS[0]])
            fields[i] = lax.dynamic_update_slice(fields[i], kept, (0, reach))
        pairs = zip(fields, before, strict=True)
        return fields, jnp.any(jnp.stack([jnp.any(new != old) for new, old in pairs]))

    start = [_flatten(volume, reach) for volume in volumes], jnp.any(mask)
    fields, _ = lax.while_loop(lambda state: state[1], layer, start)
    volumes = jnp.stack([_unflatten(flat, (batch, *half), reach) for flat in fields])
    even = volumes.reshape(2, 2, 2, batch, *half).transpose(3, 4, 0, 5, 1, 6, 2)
    even = even.reshape(batch, *(2 * h for h in half))
    return even[:, : space[0], : space[1], : space[2]]


def _is_simple(n: dict[Step, Array]) -> Bool[Array, "batch cells"]:
    """Whether a voxel of the mask may go without a change of topology.

    It may if the part of its surface that other voxels of the mask touch is one piece without a
    hole: faces, edges and corners of a cube that are connected and have Euler characteristic 1.

    Args:
        n: the voxel and its neighbors, by the step to each.
    """
    touched = {}
    for step in STEPS[1:]:
        touched[step] = n[step]
        for axis in range(3):  # an edge is touched by what touches its faces, too, and so on
            wider = (*step[:axis], 0, *step[axis + 1 :])
            if step[axis] and any(wider):
                touched[step] = touched[step] | touched[wider]
    # Corners as the bits of a byte, numbered by the axes along which they lie ahead; edges along an
    # axis at the bits of their first corners.
    corners, edges, faces = jnp.zeros_like(n[STEPS[0]]), [jnp.zeros_like(n[STEPS[0]])] * 3, 0
    for step, touch in touched.items():
        bit = sum(1 << axis for axis in range(3) if step[axis] > 0)
        if step.count(0) == 2:
            faces = faces + touch
        elif step.count(0) == 1:
            edges[step.index(0)] = edges[step.index(0)] | (touch << bit)
        else:
            corners = corners | (touch << bit)
    euler = lax.population_count(corners) + faces
    for along in edges:
        euler = euler - lax.population_count(along)
    # Every piece has a corner, and is connected along edges. From the first corner:
    reached = corners & -corners
    for axis in [0, 1, 2] * ROUNDS:
        ahead, back = (reached & edges[axis]) << (1 << axis), (reached >> (1 << axis)) & edges[axis]
        reached = reached | ahead | back
    return (reached == corners) & (euler == 1)


def _flatten(mask: Bool[Array, "batch ..."], reach: int) -> Flat:
    """A mask with space flat and background around it: each neighbor is a shift.

    One layer of background after the end of every axis also lies before the beginning of the next
    line, plane or example.
    """
    padded = jnp.pad(mask, [(0, 0), *[(0, 1)] * (mask.ndim - 1)]).astype(jnp.uint8)
    flat = padded.reshape(len(mask), math.prod(padded.shape[1:]))
    return jnp.pad(flat, ((0, 0), (reach, reach)))


def _shifted(flat: Flat, by: int, reach: int) -> Array:
    return lax.slice_in_dim(flat, reach + by, flat.shape[1] - reach + by, axis=1)


def _unflatten(flat: Flat, shape: tuple[int, ...], reach: int) -> Bool[Array, "batch ..."]:
    batch, *space = shape
    padded = _shifted(flat, 0, reach).reshape(batch, *(n + 1 for n in space)) != 0
    return padded[(slice(None), *(slice(n) for n in space))]
