"""Augmentation of training examples: functions of an example and a generator.

Images are taken to be normalized, background near 0. Padding (`where` false) stays 0 in the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lossbench._names import unknown
from lossbench.data.dataset import Example

Transform = Callable[[Example, np.random.Generator], Example]

OPTIONS = ("flip", "brightness", "contrast", "gamma", "noise")


def augmentation(options: Mapping[str, Any] | None, dims: int) -> Transform:
    """Builds the augmentation that a config describes.

    Args:
        options: `flip`: spatial axes to mirror, each by a fair coin, or True for all; `brightness`,
            `contrast`, `gamma`: see `random_intensity`; `noise`: see `random_noise`. They are
            applied in this order; those left out or 0 are not.
        dims: Number of spatial axes of the examples.

    Returns:
        A function of an example and a generator; it returns the example as it is where there are no
        options.
    """
    given = dict(options or {})
    for name in given:
        if name not in OPTIONS:
            raise unknown("augmentation", name, OPTIONS)
    axes = flipped_axes(given.pop("flip", False), dims)
    amounts = {name: given.get(name, 0) for name in OPTIONS[1:]}
    for name, amount in amounts.items():
        if not isinstance(amount, int | float) or not 0 <= amount < np.inf:
            raise ValueError(f"augmentation {name} must be a number of at least 0, got {amount!r}")
    amounts = {name: float(amount) for name, amount in amounts.items()}
    noise = amounts.pop("noise")
    chain: list[Transform] = []
    if axes:
        chain.append(random_flip(axes))
    if any(amounts.values()):
        chain.append(random_intensity(**amounts))
    if noise:
        chain.append(random_noise(noise))

    def augment(example: Example, rng: np.random.Generator) -> Example:
        for transform in chain:
            example = transform(example, rng)
        return example

    return augment


def flipped_axes(flip: Any, dims: int) -> tuple[int, ...]:
    """Returns the axes that the option `flip` names."""
    if isinstance(flip, bool):
        return tuple(range(dims)) if flip else ()
    if not isinstance(flip, list | tuple) or not set(flip) <= set(range(dims)):
        raise ValueError(
            f"flip must be True, False or a list of axes from 0 to {dims - 1}, got {flip!r}"
        )
    return tuple(flip)


def random_flip(axes: Sequence[int]) -> Transform:
    """Mirrors image, labels and `where` along each of the spatial axes by a fair coin."""

    def flip(example: Example, rng: np.random.Generator) -> Example:
        chosen = tuple(axis for axis in axes if rng.random() < 0.5)
        return example | {
            key: np.flip(example[key], chosen) for key in ("image", "labels", "where")
        }

    return flip


def random_intensity(
    *, brightness: float = 0.0, contrast: float = 0.0, gamma: float = 0.0
) -> Transform:
    """Changes each channel's intensities `x`, of mean `m`, by random amounts.

    Args:
        brightness: Adds a number from -`brightness` to `brightness`.
        contrast: `m + (x - m) c` with `log c` from -`contrast` to `contrast`.
        gamma: `low + (high - low) ((x - low) / (high - low))^g` with `log g` from -`gamma` to
            `gamma`, between the least and the greatest intensity.
    """

    def change(example: Example, rng: np.random.Generator) -> Example:
        where = example["where"]
        image = example["image"].copy()
        for channel in range(image.shape[-1]):
            shift, log_contrast, log_gamma = rng.uniform(-1, 1, 3) * (brightness, contrast, gamma)
            x = image[..., channel][where]
            if x.size == 0:
                continue
            low, high = x.min(), x.max()
            if log_gamma and low < high:
                x = low + (high - low) * ((x - low) / (high - low)) ** np.float32(np.exp(log_gamma))
            mean = x.mean()
            image[..., channel][where] = mean + (x - mean) * np.exp(log_contrast) + shift
        return example | {"image": image}

    return change


def random_noise(amount: float) -> Transform:
    """Adds Gaussian noise whose standard deviation is drawn from 0 to `amount`."""

    def add(example: Example, rng: np.random.Generator) -> Example:
        image = example["image"]
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, amount))
        return example | {"image": image + noise * example["where"][..., None]}

    return add
