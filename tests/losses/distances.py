"""Float64 references of distance maps, with SciPy, and the inputs of losses made of them."""

import functools
import inspect
from typing import Any

import jax
import numpy as np
from scipy import ndimage

from tests.losses import agreement, reference


def diagonal(counted, spacing):
    """From corner to corner of the box of what counts."""
    steps = np.ones(counted.ndim) if spacing is None else np.asarray(spacing, float)
    places = np.argwhere(counted)
    sides = places.max(0) - places.min(0) + 1
    return np.sqrt(np.sum((sides * steps) ** 2))


def edt(mask, spacing):
    return ndimage.distance_transform_edt(mask, sampling=spacing)


def signed(mask, counted, spacing=None, *, inside="paper", outside="ignored", absent="zero"):
    """One mask, `*space`."""
    if not mask.any():
        return np.full(mask.shape, diagonal(counted, spacing) if absent == "diagonal" else 0.0)
    others = counted & ~mask
    if outside == "background":
        within = edt(np.pad(mask, 1), spacing)[tuple(slice(1, -1) for _ in mask.shape)]
    elif not others.any():
        return np.zeros(mask.shape)
    else:
        within = edt(~others, spacing)
    step = (1.0 if spacing is None else min(spacing)) if inside == "paper" else 0.0
    return np.where(mask, -(within - step), edt(~mask, spacing))


def other_side(mask, counted, spacing=None):
    """The distance to the other side of a mask; 0 if there is none."""
    others = counted & ~mask
    if not others.any() or not mask.any():
        return np.zeros(mask.shape)
    return np.where(mask, edt(~others, spacing), edt(~mask, spacing))


def by_class(cost, logits, targets, *, where, activation, class_weights, include_background):
    """The weighted mean over classes of `cost(p, t, counted)`, one value an example."""
    p = reference.activate(logits, activation)
    batch, classes = p.shape[0], p.shape[-1]
    weights = np.ones(classes) if class_weights is None else np.array(class_weights, float)
    if not include_background and classes > 1:
        weights[0] = 0
    values = []
    for b in range(batch):
        counted = np.ones(p.shape[1:-1], bool) if where is None else where[b]
        costs = [
            cost(p[b, ..., c], targets[b, ..., c] * counted, counted) if weights[c] else 0.0
            for c in range(classes)
        ]
        values.append(np.dot(weights, costs) / weights.sum() if counted.any() else 0.0)
    return np.array(values)


# The inputs and the options that every distance loss has.
SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("ids", {}),
    "background": ("ids", {"include_background": True}),
    "line": ("line", {}),
    "volume": ("volume", {}),
    "twenty classes": ("twenty classes", {}),
    "twenty classes, sigmoid": ("twenty classes", {"activation": "sigmoid"}),
    "masks": ("masks", {"activation": "sigmoid", "include_background": True}),
    "one class": ("one class", {"activation": "sigmoid"}),
    "probabilities": ("probabilities", {"activation": "identity"}),
    "masked": ("ids", {"where": agreement.WHERE}),
    "weights, masked": (
        "ids",
        {
            "where": agreement.WHERE,
            "class_weights": agreement.WEIGHTS,
            "include_background": True,
        },
    ),
}
# Distances are float32; a map of them is exact to 1e-7 of the largest.
TOLERANCE = {"rtol": 2e-6, "slope_rtol": 5e-6}


STATIC = (
    "activation",
    "include_background",
    "spacing",
    "normalize",
    "inside",
    "outside",
    "absent",
    "classes",
)


def compiled(function):
    """The function under `jit`: operation by operation, each would be compiled by itself."""
    known = inspect.signature(function).parameters
    return jax.jit(function, static_argnames=[name for name in STATIC if name in known])


def callbacks(function, *arrays):
    """The names of what a program asks the host for."""
    text = str(jax.make_jaxpr(function)(*arrays))
    return [name for name in ("callback", "infeed", "outfeed") if name in text]


def blob(space, at=0.5, radius=0.25):
    """A ball in an image, both scaled with the image."""
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in space], indexing="ij")
    return functools.reduce(np.add, [(axis - at) ** 2 for axis in axes]) < radius**2
