"""A model that compiles in no time, for tests that need any model at all."""

import flax.linen as nn
import jax


class Pixelwise(nn.Module):
    """Logits of each pixel from that pixel alone."""

    num_classes: int = 3
    dims: int = 2

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        return {"logits": nn.Dense(self.num_classes)(image)}
