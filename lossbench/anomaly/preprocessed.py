"""A model behind fitted preprocessing."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Variables = Mapping[str, Any]
# Gives the batches of a pass over the data, each time it is called.
Batches = Callable[[], Iterable[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Preprocessed:
    """A model behind fitted preprocessing, of which the arrays lie with the parameters.

    Its outputs are the model's, and "image", what the model was given. The arrays are in
    `params["preprocessing"]`: fitted by `prepare`, not trained unless a training is told to.

    Attributes:
        pipeline: the steps.
        model: what is applied to what they give.
    """

    pipeline: Any
    model: Any

    @property
    def reads(self) -> tuple[str, ...]:
        """Which arrays of a batch it is applied to."""
        return getattr(self.model, "reads", ("image",))

    @property
    def draws(self) -> tuple[str, ...]:
        """The streams of random numbers that the model draws from in training."""
        return getattr(self.model, "draws", ())

    @property
    def held(self) -> tuple[str, ...]:
        """Parameters that are not trained unless a training is told to: what was fitted."""
        return ("preprocessing/*", *getattr(self.model, "held", ()))

    @property
    def undecayed(self) -> tuple[str, ...]:
        """Parameters that weight decay leaves alone."""
        return ("preprocessing/*", *getattr(self.model, "undecayed", ()))

    def init(self, rngs: Any, image: jax.Array, *others: Any) -> dict[str, Any]:
        """Variables; the preprocessing changes nothing until `prepare`."""
        arrays = self.pipeline.init(image.shape[-1])
        variables = dict(self.model.init(rngs, self.pipeline.apply(arrays, image), *others))
        variables["params"] = {**variables.get("params", {}), "preprocessing": arrays}
        return variables

    def apply(self, variables: Variables, image: jax.Array, *others: Any, **options: Any) -> Any:
        """The outputs; and with `mutable=`, as in training, the collections after it."""
        arrays, inner = self._parts(variables)
        named = dict(zip(self.reads[1:], others, strict=False))
        if named.get("where") is not None:
            # What does not count must not reach the gradient of arrays that are trained.
            counted = over_pixels(image, named["where"])[..., None]
            image = jnp.where(counted, image, jnp.zeros((), image.dtype))
        image = self.pipeline.apply(arrays, image)
        found = self.model.apply(inner, image, *others, **options)
        if options.get("mutable"):
            outputs, changed = found
            return {"image": image, **outputs}, changed
        return {"image": image, **found}

    def prepare(self, variables: Variables, batches: Batches) -> dict[str, Any]:
        """Variables with the preprocessing fitted to data, one pass for each step that is."""

        def pixels() -> Iterable[tuple[Any, Any]]:
            for batch in batches():
                yield batch["image"], over_pixels(batch["image"], batch.get("where"))

        arrays = self.pipeline.fit(pixels)
        _, inner = self._parts(variables)
        if hasattr(self.model, "prepare"):
            apply = jax.jit(self.pipeline.apply)

            def processed() -> Iterable[Mapping[str, Any]]:
                for batch in batches():
                    yield {**batch, "image": apply(arrays, batch["image"])}

            inner = dict(self.model.prepare(inner, processed))
        params = {**inner["params"], "preprocessing": arrays}
        return {**inner, "params": params}

    def _parts(self, variables: Variables) -> tuple[Any, dict[str, Any]]:
        params = dict(variables["params"])
        arrays = params.pop("preprocessing")
        return arrays, {**variables, "params": params}


def over_pixels(image: jax.Array, where: Any) -> Any:
    """What counts, pixel by pixel, also where one number says it of a whole image."""
    shape = image.shape[:-1]
    if where is None or where.shape == shape:
        return where
    return jnp.broadcast_to(where.reshape(*where.shape, *[1] * (len(shape) - where.ndim)), shape)
