"""A model of one 1x1 convolution, small shapes, and programs that compile in a second."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import numpy as np
import pytest

from lossbench.data import Dataset, shapes
from lossbench.objective import Objective
from lossbench.training.options import TrainOptions
from lossbench.training.program import Program, build_init, build_program
from tests.pixelwise import Pixelwise

CLASSES = 3


def build(
    dataset: Dataset,
    *,
    model: nn.Module | None = None,
    objective: Objective | Mapping | None = None,
    metrics: Mapping[str, Mapping] | tuple[str, ...] = ("dice", "iou"),
    **options,
) -> Program:
    """A program for `dataset`, on one device unless told otherwise."""
    options = TrainOptions(**{"steps": 12, "batch_size": 2, "devices": 1, **options})
    model = model or Pixelwise()
    if not isinstance(objective, Objective):
        objective = Objective.from_config(objective or {"terms": {"cross_entropy": {}}})
    example = dataset.train[0]
    return build_program(
        model,
        objective,
        options,
        init=build_init(model, options),
        streams=metrics if isinstance(metrics, Mapping) else {name: {} for name in metrics},
        batch={k: np.repeat(v[None], options.batch_size, 0) for k, v in example.items()},
        num_classes=len(dataset.class_names),
        cases=max(len(dataset.validation.names), len(dataset.test.names)),
        spacing=dataset.spacing,
    )


def same(a, b) -> bool:
    """Equality to the bit of two trees, NaN equal to itself."""
    left, right = jax.tree.flatten(a), jax.tree.flatten(b)
    return left[1] == right[1] and all(
        np.asarray(x).dtype == np.asarray(y).dtype
        and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(left[0], right[0], strict=True)
    )


@pytest.fixture(scope="session")
def small() -> Dataset:
    """Six training, three validation and three test images of 16x16, three classes."""
    return shapes(size=(16, 16), classes=2, foreground=0.3, train=6, validation=3, test=3)


@pytest.fixture(scope="session", name="Pixelwise")
def pixelwise_class():
    return Pixelwise


@pytest.fixture(scope="session", name="build")
def build_function():
    return build


@pytest.fixture(scope="session", name="same")
def same_function():
    return same
