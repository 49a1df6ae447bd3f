"""An encoder that begins as that of an autoencoder which was trained to give its input back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench import losses
from lossbench.anomaly.preprocessed import Batches, over_pixels
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.models import SVDDAutoencoder, SVDDEncoder, encoder_variables
from lossbench.training.state import inputs
from lossbench.training.step import apply_in_training


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """An encoder whose `prepare` trains it inside an autoencoder, by the mean squared error.

    Adam with decoupled weight decay and a cosine of the learning rate; the batches come in the
    order of the data, pass after pass.

    Attributes:
        model: the encoder.
        options: with `pretrain_steps`, `pretrain_learning_rate`, `pretrain_weight_decay`.

    Raises:
        ValueError: for a model that is no SVDDEncoder: there is no decoder for it.

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018, section 4.
    """

    model: Any
    options: SvddOptions

    def __post_init__(self) -> None:
        """Raises for a model without a decoder."""
        if not isinstance(self.model, SVDDEncoder):
            raise ValueError(
                "svdd.pretrain_steps: an autoencoder can be made of the model svdd_encoder alone, "
                f"not of {type(self.model).__name__}"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """Which arrays of a batch it is applied to."""
        return self.model.reads

    def init(self, *arguments: Any) -> Any:
        """The encoder's variables."""
        return self.model.init(*arguments)

    def apply(self, *arguments: Any, **options: Any) -> Any:
        """The encoder's outputs."""
        return self.model.apply(*arguments, **options)

    def prepare(self, variables: Mapping[str, Any], batches: Batches) -> dict[str, Any]:
        """The encoder's variables after the training of the autoencoder."""
        steps, autoencoder = self.options.pretrain_steps, SVDDAutoencoder(self.model)
        rate = optax.cosine_decay_schedule(self.options.pretrain_learning_rate, steps)
        optimizer = optax.adamw(rate, weight_decay=self.options.pretrain_weight_decay)

        @jax.jit
        def step(variables: Any, state: Any, batch: Any) -> tuple[Any, Any, jax.Array]:
            others = {k: v for k, v in variables.items() if k != "params"}

            def loss(params: Any) -> tuple[jax.Array, Any]:
                outputs, after = apply_in_training(
                    {"params": params, **others}, batch, model=autoencoder
                )
                value = losses.reconstruction(
                    outputs["reconstructed"],
                    batch["image"],
                    where=over_pixels(batch["image"], batch.get("where")),
                )
                return jnp.mean(value), after

            (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
            updates, state = optimizer.update(gradient, state, variables["params"])
            params = optax.apply_updates(variables["params"], updates)
            return {"params": params, **after}, state, value

        whole = _with_decoder(autoencoder, variables, next(iter(batches())))
        state, done, value = optimizer.init(whole["params"]), 0, jnp.zeros(())
        while done < steps:
            for batch in batches():
                whole, state, value = step(whole, state, batch)
                done += 1
                if done == steps:
                    break
        if not jnp.isfinite(value):
            raise ValueError(
                f"svdd.pretrain_steps: its error is {value} after {done} steps; lower "
                "svdd.pretrain_learning_rate"
            )
        return encoder_variables(whole)


def _with_decoder(
    autoencoder: SVDDAutoencoder, variables: Mapping[str, Any], batch: Mapping[str, Any]
) -> dict[str, Any]:
    """The autoencoder's variables: the encoder's as they are, and a decoder drawn from them."""
    # Another decoder for another encoder, the same for the same: no key is at hand.
    drawn = jax.lax.bitcast_convert_type(jax.tree.leaves(variables["params"])[0], jnp.uint32)
    key = jax.random.fold_in(jax.random.key(0), jnp.sum(drawn, dtype=jnp.uint32))
    whole = jax.jit(autoencoder.init)(key, *inputs(autoencoder, batch))
    return {
        name: {**tree, **({"encoder": variables[name]} if name in variables else {})}
        for name, tree in whole.items()
    }
