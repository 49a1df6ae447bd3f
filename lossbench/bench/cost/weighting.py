"""What is measured of weightings: the gradient of a training step of a U-Net with several losses.

One backward pass is the gradient of the plain sum of the terms, forward pass included. A weighting
that looks at gradients needs one backward pass a term; they share one forward pass.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench._names import unknown
from lossbench.bench.cost import measure
from lossbench.bench.cost.measure import Contestant
from lossbench.models import UNet
from lossbench.objective import Objective, Value
from lossbench.training.gradient import Gradient, init_weighting, weighted_gradient
from lossbench.weighting import WEIGHTINGS

# Of the logits: the batch and the image of the U-Net that is measured against PyTorch's.
SHAPES = ("2x48x64x48x3",)
TERMS = (2, 3, 8)
FEATURES = (8, 16, 32)
# The terms, in this order: cheap ones, all at least 0, none a multiple of another.
LOSSES = (
    "dice",
    "cross_entropy",
    "focal",
    "tversky",
    "jaccard",
    "brier",
    "poly_cross_entropy",
    "generalized_cross_entropy",
)
# The layer that all terms share last, for weightings that may look at a part of the gradients.
LAST_LAYER = "head_1/*"
# Forms of the catalog whose weightings take `shared`, and those that need gradients at all.
SHARING = ("norms", "gramian")
LOOKING = (*SHARING, "gradients")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network, its parameters and a batch; the arrays in numpy, channels last.

    Attributes:
        shape: of the logits: batch, space, classes.
        model: the U-Net.
        params: its parameters.
        image: one channel of noise.
        labels: class ids.
    """

    shape: tuple[int, ...]
    model: UNet
    params: Any
    image: np.ndarray
    labels: np.ndarray


def make_problem(shape: tuple[int, ...], seed: int = 0) -> Problem:
    """Noise as image and labels, and a U-Net as it is initialized."""
    check_shape(shape)
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((*shape[:-1], 1), dtype=np.float32)
    labels = rng.integers(0, shape[-1], shape[:-1], dtype=np.int32)
    model = UNet(num_classes=shape[-1], dims=len(shape) - 2, features=FEATURES)
    variables: Any = jax.jit(model.init)(jax.random.key(seed), image)
    return Problem(shape, model, jax.device_get(variables["params"]), image, labels)


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuses what the U-Net cannot take.

    Raises:
        ValueError: for one axis of space, or a size that its strides do not divide.
    """
    space, stride = shape[1:-1], 2 ** (len(FEATURES) - 1)
    if len(space) < 2 or any(size % stride for size in space):
        raise ValueError(
            f"--shape={'x'.join(map(str, shape))}: a weighting is measured on a U-Net, which needs "
            f"two or three axes of space whose sizes {stride} divides"
        )


def names(methods: Sequence[str]) -> tuple[str, ...]:
    """The weightings asked for; all of the catalog if none is.

    Raises:
        ValueError: for a name that is none.
    """
    for method in methods:
        if method not in WEIGHTINGS:
            raise unknown("weighting", method, WEIGHTINGS)
    return tuple(dict.fromkeys(methods or WEIGHTINGS))


def limit(form: str, terms: int) -> float:
    """What a weighting of this form may cost, in backward passes of the plain sum."""
    return terms + 0.3 if form in LOOKING else 1.05


def options(method: str, terms: int) -> dict[str, Any]:
    """The options of a weighting that it cannot do without."""
    falling = {"schedule": "linear_schedule", "init_value": 1.0, "end_value": 0.5}
    falling["transition_steps"] = 100
    required = {
        "scheduled": {"schedules": [falling] * terms},
        "stages": {"stages": [[0, [1.0] * terms], [100, [0.5] * terms]]},
    }
    return required.get(method, {})


def objective(method: str | None, terms: int, shared: str = "") -> Objective:
    """So many terms under a weighting; their plain sum if it is None."""
    config: dict[str, Any] = {"terms": {name: {} for name in LOSSES[:terms]}}
    if method is not None:
        config["weighting"] = {"type": method, **options(method, terms)}
        if shared:
            config["weighting"]["shared"] = shared
    return Objective.from_config(config)


def contestant(
    label: str, problem: Problem, method: str | None, terms: int, shared: str = ""
) -> Contestant:
    """The gradient of one step, compiled; all that a step of the trainer would read of it.

    Its value is the sum of the terms, whatever their weights, so that all can be compared.
    """
    weighed = objective(method, terms, shared)
    state = init_weighting(weighed, problem.params, jnp.zeros((), jnp.int32))

    def step(
        params: Any, state: Any, image: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, Gradient]:
        def function(params: Any) -> tuple[Value, None]:
            outputs: Any = problem.model.apply({"params": params}, image)
            return weighed({**outputs, "labels": labels}), None

        gradient = weighted_gradient(function, params, state, objective=weighed)
        return jnp.sum(jnp.stack(list(gradient.value.terms.values()))), gradient

    arguments = (problem.params, state, problem.image, problem.labels)
    return measure.program(label, step, jax.device_put(arguments))
