"""GradDrop: one sign for each parameter."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options
from lossbench.weighting._combination import check_stacked, losses, shown, without_nonfinite
from lossbench.weighting._draws import DrawState, first_draw
from lossbench.weighting._options import Number, Numbers


def graddrop(
    *, leak: Number | Numbers = 0.0, skip_nonfinite: bool = False, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    r"""GradDrop: for each parameter, one sign is drawn, and gradients of the other are dropped.

    .. math::
        d = \sum_i \big(\ell_i + (1 - \ell_i)\, m_i\big)\, g_i, \qquad
        m_i = \begin{cases} [g_i > 0] & u < P \\ [g_i < 0] & u \ge P \end{cases}, \qquad
        P = \frac{1}{2} \Big(1 + \frac{\sum_i g_i}{\sum_i |g_i|}\Big)

    for each coordinate, with one uniform u a coordinate.

    Args:
        leak: :math:`\ell`, between 0 and 1, one number or one for each term: the share of a
            gradient that is kept in any case. 1 adds the gradients up.
        skip_nonfinite: true leaves a term out of a step in which its gradient, or its loss in
            `values=`, is not finite; if no term is left, the result is not finite.
        seed: of the draws.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. A coordinate where
        all gradients have one sign is their sum.

    In the paper signs are those of the gradient times the activation at a layer, summed over the
    batch, and so LibMTL has it; for gradients of parameters it is as here and in TorchJD. TorchJD
    drops a coordinate whose draw equals P; here a draw always keeps one of the signs.

    Raises:
        ValueError: for a leak that is not between 0 and 1, or another number of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> drop = weighting.graddrop()
        >>> gradients = jnp.array([[1.0, -2.0, 3.0], [2.0, -1.0, -3.0]])
        >>> update, _ = drop.update(gradients, drop.init(gradients[0]))
        >>> print(update[:2], abs(update[2]))
        [ 3. -3.] 3.0

    Reference: Chen et al., Just Pick a Sign, NeurIPS 2020.
    """
    each = isinstance(leak, (list, tuple)) or getattr(leak, "ndim", 0) > 0
    if each:
        _options.numbers("leak", leak, "a number from 0 to 1", lambda value: 0 <= value <= 1)
    else:
        _options.share(leak=leak)

    def init(params: Any) -> DrawState:
        return first_draw(seed)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        values: Any = None,
        **_: Any,
    ) -> tuple[Any, DrawState]:
        if not jax.tree.leaves(updates):
            return updates, state
        terms = check_stacked(updates, params)
        given: Any = leak
        leaks = (
            _options.of_each("leak", given, terms) if each else jnp.full(terms, given, jnp.float32)
        )
        present = jnp.isfinite(losses(values, terms))
        if skip_nonfinite:
            updates, finite = without_nonfinite(updates)
            present = present & finite
            if values is not None:
                updates = jax.tree.map(
                    lambda leaf: jnp.where(_along(present, leaf), leaf, 0), updates
                )
        leaves, structure = jax.tree.flatten(updates)
        sizes = [leaf.size // terms for leaf in leaves]
        # One draw for all: each draw of its own would be compiled by itself.
        draws = jnp.split(
            jax.random.uniform(state.key(), (sum(sizes),)), list(itertools.accumulate(sizes))[:-1]
        )
        kept = [
            shown(one_sign(leaf, leaks, draw.reshape(leaf.shape[1:])), present, skip_nonfinite)
            for leaf, draw in zip(leaves, draws, strict=True)
        ]
        return jax.tree.unflatten(structure, kept), state.next()

    return optax.GradientTransformationExtraArgs(init, update)


def one_sign(leaf: jax.Array, leaks: jax.Array, uniform: jax.Array) -> jax.Array:
    """One leaf of the update: what has the sign drawn, and what leaks of the rest."""
    gradients = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    total = jnp.sum(jnp.abs(gradients), axis=0)
    positive = jnp.sum(jnp.maximum(gradients, 0), axis=0)
    up = uniform < positive / jnp.where(total > 0, total, 1)
    same = jnp.where(up[None], gradients > 0, gradients < 0)
    kept = jnp.sum(jnp.where(same, gradients, _along(leaks, leaf) * gradients), axis=0)
    return jnp.where(jnp.isfinite(total), kept, jnp.nan).astype(leaf.dtype)


def _along(of_terms: jax.Array, leaf: jax.Array) -> jax.Array:
    """One number a term, with the axes of a stacked leaf."""
    return jnp.expand_dims(of_terms, range(1, leaf.ndim))
