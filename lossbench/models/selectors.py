"""Selectors of channels that are trained with the network behind them."""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks
from lossbench.models.layers import counted, with_tuples
from lossbench.models.temperature import in_training, temperature, training_step

# Of a channel that is taken: its logarithm, and the gradient through it, stay finite.
_LEAST_LEFT = 1e-30


class SoftChannelSelector(nn.Module):
    """Weighs every channel: `weights = softmax(logits / T)`, `selected = n_select weights * image`.

    The temperature T falls exponentially by step (see `temperature`), so the weights sharpen as
    training goes on. Nothing is drawn at random. The step is kept in the collection "schedule".

    The weights sum to 1, whatever `n_select` is. It is the factor of the weighted image: with the
    number of channels (None) equal weights leave the image as it is. It does not bound how many
    channels matter: one weight may take all of it. (cuvis-ai calls `n_select` times the softmax
    the weights.) With `hard` exactly `n_select` channels are kept, as they are.

    Attributes:
        n_select: see above; None is all channels.
        hard: keep the `n_select` channels of the largest weights and drop the others; the gradient
            is that of the soft weights (straight-through).
        start: temperature at first.
        end: temperature in the last step.
        steps: from `start` to `end`.
        variances: of each channel over the data, for logits that begin as their logarithm, which
            prefers channels that vary; None begins with equal weights.

    Example:
        >>> model = SoftChannelSelector()
        >>> image = jnp.ones((1, 3, 4))
        >>> outputs, _ = model.init_with_output(jax.random.key(0), image)
        >>> print(outputs["selector_weights"], outputs["selected"][0, 0])
        [0.25 0.25 0.25 0.25] [1. 1. 1. 1.]
    """

    n_select: int | None = None
    hard: bool = False
    start: float = 5.0
    end: float = 0.1
    steps: int = 1000
    variances: tuple[float, ...] | None = None

    reads = ("image", "where")
    # Decay would pull the weights back to equal ones.
    undecayed = ("logits",)

    def __post_init__(self) -> None:
        """Makes the attributes hashable."""
        with_tuples(self, "variances")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "..."]]:
        """Return the weighted image "selected" and the "selector_weights", `channels`.

        Args:
            image: what is weighted.
            where: true = counted; the other pixels are read as 0.
        """
        x, _ = counted(image, where)
        channels = x.shape[-1]
        kept = self._kept(channels)
        logits = self.param("logits", self._first_logits, (channels,))
        t = temperature(training_step(self), start=self.start, end=self.end, steps=self.steps)
        weights = jax.nn.softmax(logits / t)
        if self.hard:
            _, best = lax.top_k(weights, kept)
            mask = jnp.any(best[:, None] == jnp.arange(channels)[None], axis=0)
            weights = _straight_through(mask.astype(weights.dtype) / kept, weights)
        factor = (kept * weights).astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        return {"selected": x * factor, "selector_weights": weights}

    def _kept(self, channels: int) -> int:
        if self.n_select is None:
            if self.hard:
                raise ValueError("SoftChannelSelector: hard=True needs n_select, the channels kept")
            return channels
        if not 1 <= self.n_select <= channels:
            raise ValueError(
                f"SoftChannelSelector: n_select must be between 1 and the image's {channels} "
                f"channels, got {self.n_select}"
            )
        return self.n_select

    def _first_logits(self, _: Array, shape: tuple[int, ...]) -> Array:
        if self.variances is None:
            return jnp.zeros(shape)
        variances = jnp.asarray(self.variances, jnp.float32)
        _checks.shape("SoftChannelSelector: variances", variances, shape, "channels")
        # A dead channel's logarithm has no bottom; scaling all variances changes nothing.
        largest = jnp.maximum(jnp.max(variances), jnp.finfo(jnp.float32).tiny)
        return jnp.log(jnp.maximum(variances / largest, 1e-6))


class ConcreteBandSelector(nn.Module):
    """Picks `bands` channels by Gumbel-softmax (Balin et al., Concrete Autoencoders, ICML 2019).

    Each row of the weights mixes all channels into one band. In training, with a key in the stream
    "gumbel", it is `softmax((logits + g) / tau)` with Gumbel noise g, drawn once a call; without
    that key the noise is left out. tau falls exponentially by step (see `temperature`), so the rows
    begin as means of all channels and end as picks of one; the step is kept in the collection
    "schedule". In evaluation a row is its most probable channel. Two rows may pick the same one:
    the loss `distinctness` on "selector_weights" works against it, `distinct` rules it out.
    cuvis-ai calls this selector ConcreteChannelMixer; before its version 0.4, ConcreteBandSelector.

    Attributes:
        bands: how many are picked.
        tau_start: temperature at first.
        tau_end: temperature in the last step.
        steps: from `tau_start` to `tau_end`.
        straight_through: pick one channel a row in training too; the gradient is that of the soft
            weights.
        evaluation: "hard", or "soft": `softmax(logits / tau)` at the temperature that training has
            reached.
        distinct: no channel is picked twice: a row leaves to those after it `1 - w` of a channel
            that it gives the weight w, as in relaxed sampling without replacement (Xie & Ermon,
            IJCAI 2019).
        logits_std: of the first logits, which are normal: rows that begin equal would stay equal.

    Example:
        >>> model = ConcreteBandSelector(bands=2)
        >>> variables = model.init(jax.random.key(0), jnp.ones((1, 5)))
        >>> outputs = model.apply(variables, jnp.ones((1, 5)))
        >>> print(outputs["selected"], outputs["selector_weights"].sum(axis=1))
        [[1. 1.]] [1. 1.]
    """

    bands: int = 3
    tau_start: float = 10.0
    tau_end: float = 0.1
    steps: int = 1000
    straight_through: bool = False
    evaluation: Literal["hard", "soft"] = "hard"
    distinct: bool = False
    logits_std: float = 0.01

    reads = ("image", "where")
    draws = ("gumbel",)
    undecayed = ("logits",)

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "..."]]:
        """Return the picked bands "selected" and the "selector_weights", `bands channels`.

        Args:
            image: what bands are picked from.
            where: true = counted; the other pixels are read as 0.
        """
        _checks.choice("ConcreteBandSelector: evaluation", self.evaluation, ("hard", "soft"))
        x, _ = counted(image, where)
        channels = x.shape[-1]
        if not 1 <= self.bands <= channels:
            raise ValueError(
                f"ConcreteBandSelector: bands must be between 1 and the image's {channels} "
                f"channels, got {self.bands}"
            )
        init = nn.initializers.normal(self.logits_std)
        logits = self.param("logits", init, (self.bands, channels))
        training = in_training(self)
        step = training_step(self)
        tau = temperature(step, start=self.tau_start, end=self.tau_end, steps=self.steps)
        noisy = logits
        if self.has_rng("gumbel"):
            noisy = logits + jax.random.gumbel(self.make_rng("gumbel"), logits.shape, logits.dtype)
            training = True
        if not training and self.evaluation == "hard":
            weights = jax.nn.one_hot(_picks(noisy, self.distinct), channels, dtype=noisy.dtype)
        else:
            hard = training and self.straight_through
            weights = _rows(noisy, tau, hard=hard, distinct=self.distinct)
        # At full precision: a GPU would round the very values that are picked.
        selected = jnp.matmul(x, weights.astype(x.dtype).T, precision=lax.Precision.HIGHEST)
        return {"selected": selected, "selector_weights": weights}


def selected_bands(
    params: Mapping[str, Any], count: int | None = None, *, distinct: bool = False
) -> Int[Array, " bands"]:
    """The channels that a trained selector would keep.

    Args:
        params: of a selector, or of a network that has one under "selector".
        count: how many of a `SoftChannelSelector`'s channels, best first; None for a
            `ConcreteBandSelector`, which has one a row (it may be the same for two).
        distinct: as the `ConcreteBandSelector` has it: no channel twice.

    Raises:
        ValueError: for parameters of something else, or a count that does not fit.

    Example:
        >>> selected_bands({"logits": jnp.array([0.3, 0.9, -1.0])}, count=2).tolist()
        [1, 0]
    """
    params = params.get("selector", params)
    if "logits" not in params:
        raise ValueError(
            'selected_bands: expected the parameters of a selector, which have an entry "logits"; '
            f"got {', '.join(map(repr, params)) or 'none'}"
        )
    logits = params["logits"]
    if logits.ndim == 2:
        if count is not None:
            raise ValueError(
                f"selected_bands: this selector has {len(logits)} bands; give no count"
            )
        return _picks(logits, distinct)
    if count is None or not 1 <= count <= logits.size:
        raise ValueError(
            f"selected_bands: a soft selector needs a count from 1 to its {logits.size} channels, "
            f"got {count}"
        )
    return lax.top_k(logits, count)[1].astype(jnp.int32)


def _picks(logits: Array, distinct: bool) -> Array:
    """The best channel of each row; if `distinct`, of those that no row before it has taken."""
    if not distinct:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    picks: list[Array] = []
    for row in logits:
        for taken in picks:
            row = row.at[taken].set(-jnp.inf)
        picks.append(jnp.argmax(row).astype(jnp.int32))
    return jnp.stack(picks)


def _rows(logits: Array, tau: Array, *, hard: bool, distinct: bool) -> Array:
    """The weights of each row in training."""
    if not distinct:
        return _row(logits, tau, hard)
    left, rows = jnp.ones(logits.shape[-1:], logits.dtype), []
    for row in logits:
        rows.append(_row(row + jnp.log(jnp.maximum(left, _LEAST_LEFT)), tau, hard))
        left = left - rows[-1]
    return jnp.stack(rows)


def _row(logits: Array, tau: Array, hard: bool) -> Array:
    soft = jax.nn.softmax(logits / tau, axis=-1)
    if not hard:
        return soft
    best = jnp.argmax(logits, axis=-1)
    return _straight_through(jax.nn.one_hot(best, logits.shape[-1], dtype=soft.dtype), soft)


def _straight_through(hard: Array, soft: Array) -> Array:
    """The value of one, the gradient of the other."""
    return lax.stop_gradient(hard) + (soft - lax.stop_gradient(soft))
