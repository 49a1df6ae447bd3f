"""The state of a training: arrays, and nothing else."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax


class Model(Protocol):
    """What a training asks of a model: to draw variables and to be applied, as Linen modules do.

    It may say more: `reads`, the names of the batch's arrays that it is applied to, "image" alone
    by default; `draws`, the streams of random numbers it draws from in training; `held` and
    `undecayed`, patterns of parameters that are not trained unless told to, or not decayed.
    `prepare(variables, batches)` fits what is fitted to the training data before the first step,
    and `finish` what is after the last; `examine(variables, ...)` gives numbers to log, `alarm`
    says of them why the training had better end, and `stops` whether it does.
    """

    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """Variables `{"params": ..., **other collections}`, drawn with a key."""
        ...

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """A dict of outputs, and with `mutable=` the changed collections too."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds and what a step gives back; model and optimizer stay outside.

    Attributes:
        step: steps done, int32.
        params: the parameters.
        model_state: the model's other collections, such as running statistics.
        opt_state: the optimizer's state.
        average: moving average of the parameters, `{}` if it is off.
        plateau: state of the plateau rule, `{}` if it is off.
        weighting: state of the objective's weighting, `{}` without one.
        draws: an integer that the model's random streams are drawn with, `{}` if it draws nothing.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: optax.OptState
    average: Any
    plateau: Any
    weighting: Any
    draws: Any = dataclasses.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """What the model is trained with."""
        return {"params": self.params, **self.model_state}

    @property
    def evaluated(self) -> dict[str, Any]:
        """What the model is evaluated with: the average where there is one."""
        return {"params": self.average or self.params, **self.model_state}


def init_state(
    key: jax.Array,
    batch: dict[str, jax.Array],
    *,
    model: Model,
    optimizer: optax.GradientTransformation,
    plateau: optax.GradientTransformationExtraArgs | None = None,
    averaged: bool = False,
) -> TrainState:
    """A state before the first step; the weighting, which is the objective's, is still to come.

    Args:
        key: what the parameters are drawn with.
        batch: one batch, for the shape of its "image".
        model: a Linen module that takes an image and gives a dict of outputs.
        optimizer: an optax transformation.
        plateau: the plateau rule, if any.
        averaged: true keeps a moving average of the parameters.
    """
    model_state = dict(model.init(key, *inputs(model, batch)))
    params = model_state.pop("params")
    draws = jax.random.bits(jax.random.fold_in(key, zlib.crc32(b"draws")))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        # A copy: a donated buffer may not appear twice.
        average=jax.tree.map(jnp.copy, params) if averaged else {},
        plateau=plateau.init(params) if plateau else {},
        weighting={},
        draws=draws if getattr(model, "draws", ()) else {},
    )


def inputs(model: Model, batch: Mapping[str, jax.Array]) -> list[Any]:
    """The arrays of a batch that a model is applied to; None for one that is not there."""
    return [batch.get(name) for name in getattr(model, "reads", ("image",))]


def stream_key(seed: int | jax.Array, name: str) -> jax.Array:
    """The random key of a named stream; independent of every other stream of the same seed.

    Its bits come from XLA's own generator ("rbg"), which compiles in a sixth of the time that
    threefry takes for a model's many parameters. They are the same on every run of one kind of
    device, not from one kind to another.
    """
    return jax.random.fold_in(jax.random.key(seed, impl="rbg"), zlib.crc32(name.encode()))
