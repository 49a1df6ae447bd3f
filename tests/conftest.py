"""Strict JAX for every test: four virtual CPU devices, no silent rank promotion, checked shapes."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Annotations of the array code are checked at run time in tests, and free in use.
install_import_hook(["lossbench.losses", "lossbench.ops", "lossbench.metrics"], "beartype.beartype")
