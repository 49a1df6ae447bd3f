"""The shape of a weighting: a pair of pure functions, as optax's transformations are."""

from typing import Any, NamedTuple, Protocol

import jax


class Init(Protocol):
    """How a weighting begins."""

    def __call__(self, terms: int, seed: int | jax.Array = 0) -> Any:
        """A state, a pytree of arrays, before the first step.

        Args:
            terms: how many losses there are.
            seed: of what is drawn at random; kept in the state where something is.
        """
        ...


class Update(Protocol):
    """How a weighting answers a step."""

    def __call__(
        self, values: jax.Array, state: Any, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        """The weights of this step, and the state after it.

        Args:
            values: the losses of this step `terms`, float32. One that is not finite gets weight 0;
                the others, and the state, are as though it were not there.
            state: from `init` or the step before.
            gramian: inner products of the terms' gradients `terms terms`, for a weighting whose
                `needs_gramian` is true; a term whose diagonal is not finite is left out, too.
        """
        ...


class Weighting(NamedTuple):
    r"""Weights of several losses, chosen anew in every step.

    The gradient of a step is :math:`\\sum_i w_i \\nabla L_i` with the weights held constant: no
    gradient goes through them. A method that is a function :math:`F` of the losses has
    :math:`w_i = \\partial F / \\partial L_i`, which is the same gradient. Parameters of its own are
    in its state, and `update` moves them.

    Attributes:
        init: terms, seed -> state.
        update: values, state, gramian -> weights `terms`, state.
        needs_gramian: whether `update` needs the Gramian; its diagonal holds the squared norms of
            the terms' gradients.
        positive: whether it takes logarithms, roots or ratios of the values, and so refuses a loss
            that may be negative.
    """

    init: Init
    update: Update
    needs_gramian: bool = False
    positive: bool = False


def get_weights(state: Any) -> jax.Array:
    """The weights that the state of a weighting holds, `terms`.

    Those that it will use next where they follow from the state alone (`softmax`, `constant`),
    those that it used last where they need the losses or the gradients of a step.

    Raises:
        ValueError: for a state that keeps none, as those that need the Gramian.

    Example:
        >>> from lossbench import weighting
        >>> print(get_weights(weighting.constant([2.0, 1.0]).init(2)))
        [2. 1.]
    """
    weights = getattr(state, "weights", None)
    if weights is None:
        raise ValueError(f"{type(state).__name__} keeps no weights; `update` returns them")
    return weights
