"""Surgery on gradients, one pair at a time: PCGrad and GradVac."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options
from lossbench.weighting._combination import combination
from lossbench.weighting._draws import DrawState, first_draw
from lossbench.weighting._gramians import present_terms, unit_gramian
from lossbench.weighting._options import Number
from lossbench.weighting._weighting import Weighting

# A target cosine is met up to here; at 1 the coefficient of GradVac would be infinite.
_MOST_ALIKE = 0.999


def pcgrad(
    *, shared: str | Sequence[str] = (), skip_nonfinite: bool = False, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    r"""PCGrad: each gradient loses what it has against another one, and all are added.

    .. math::
        d = \sum_i g_i', \qquad
        g_i' \leftarrow g_i' - \frac{\min(g_i' \cdot g_j, 0)}{\|g_j\|^2}\, g_j
        \quad \text{for all } j \ne i \text{ in random order}

    with :math:`g_i' = g_i` to begin with. It is worked out on coefficients of the gradients, from
    their Gramian.

    Args:
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: of the orders. For two terms the order is no matter.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. Gradients that do
        not conflict are added up; opposite ones give 0; a gradient of 0 changes nothing. After the
        last projection an earlier one may not hold any more: with three terms or more, d may still
        be against a gradient.

    TorchJD and LibMTL also return the sum, as the paper's algorithm does; the toy code of CAGrad
    takes the mean.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> surgery = weighting.pcgrad()
        >>> gradients = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
        >>> update, _ = surgery.update(gradients, surgery.init(gradients[0]))
        >>> print(update)  # (0.5, 0.5) + (0, 1)
        [0.5 1.5]

    Reference: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020.
    """
    return combination(pcgrad_weighting(), shared=shared, skip_nonfinite=skip_nonfinite, seed=seed)


def pcgrad_weighting() -> Weighting:
    """The weights of `pcgrad`, from the Gramian of the gradients."""

    def init(terms: int, seed: int | jax.Array = 0) -> DrawState:
        return first_draw(seed)

    def update(
        values: jax.Array, state: DrawState, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, DrawState]:
        present, products = present_terms(values, gramian)
        weights = pcgrad_weights(products, orders(state.key(), len(values)))
        return weights * present, state.next()

    return Weighting(init, update, needs_gramian=True)


def pcgrad_weights(gramian: jax.Array, orders: jax.Array) -> jax.Array:
    """Weights of the gradients `terms`, from their Gramian and an order of all for each."""
    unit, norms = unit_gramian(gramian)

    def projected(i: jax.Array, order: jax.Array) -> jax.Array:
        def project(own: jax.Array, j: jax.Array) -> tuple[jax.Array, None]:
            along = jnp.sum(unit[j] * own)
            return own.at[j].add(jnp.where((j != i) & (along < 0), -along, 0)), None

        own, _ = jax.lax.scan(project, jnp.eye(len(norms), dtype=norms.dtype)[i], order)
        return own

    indices = jnp.arange(len(norms))
    return _of_gradients(jax.vmap(projected)(indices, orders), norms)


def orders(key: jax.Array, terms: int) -> jax.Array:
    """A random order of all terms for each of them, `terms terms`."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(terms))
    return jnp.argsort(jax.vmap(lambda key: jax.random.uniform(key, (terms,)))(keys), axis=1)


def _of_gradients(own: jax.Array, norms: jax.Array) -> jax.Array:
    """Weights of gradients, from coefficients of unit gradients, a row a changed gradient."""
    eye = jnp.eye(len(norms), dtype=norms.dtype)
    added = jnp.sum((own - eye) * norms[:, None], axis=0)
    return 1 + jnp.where(norms > 0, added / jnp.where(norms > 0, norms, 1), 0)


class GradVacState(NamedTuple):
    """What GradVac keeps.

    Attributes:
        draw: of the orders.
        targets: the cosine that each gradient should have with each other one, `terms terms`.
    """

    draw: DrawState
    targets: jax.Array


def gradvac(
    terms: int = 2,
    *,
    decay: Number = 1e-2,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""GradVac: gradients that are less alike than they use to be are made as alike as that.

    .. math::
        g_i' \leftarrow g_i' + \frac{\|g_i'\| \big(\hat\varphi_{ij} \sqrt{1 - \varphi^2}
            - \varphi \sqrt{1 - \hat\varphi_{ij}^2}\big)}
            {\|g_j\| \sqrt{1 - \hat\varphi_{ij}^2}}\, g_j
        \quad \text{if } \varphi = \cos(g_i', g_j) < \hat\varphi_{ij}, \qquad
        \hat\varphi_{ij} \leftarrow (1 - \beta)\, \hat\varphi_{ij} + \beta\, \varphi

    for all :math:`j \ne i` in random order, and :math:`d = \sum_i g_i'`. Targets begin at 0, where
    the first step is that of PCGrad.

    Args:
        terms: how many gradients are stacked. `optax.inject_hyperparams` must be told
            `static_args="terms"`.
        decay: :math:`\beta`, between 0 and 1: how fast targets follow.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: of the orders. For two terms the order is no matter.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. A pair without a
        cosine (a gradient of 0, or one that an opposite one has reduced to 0) is left as it is,
        and so is its target; so are the targets of a term that is left out. A target above 0.999
        is met up to 0.999: the coefficient grows without bound as it nears 1, where identical
        gradients take it.

    LibMTL moves a target only in steps that change the gradient; the paper and TorchJD in each.
    Both have 0.5 for :math:`\beta`, the paper 0.01. The paper has a target for each layer or
    matrix, too; here it is one for all, or for the `shared` part.

    Raises:
        ValueError: for a decay that is not between 0 and 1, or another number of gradients.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> vaccine = weighting.gradvac(decay=0.5)
        >>> alike = jnp.array([[1.0, 0.0], [1.0, 0.0]])
        >>> _, state = vaccine.update(alike, vaccine.init(alike[0]))
        >>> print(state.targets)
        [[0.  0.5]
         [0.5 0. ]]
        >>> across = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> update, _ = vaccine.update(across, state)  # each is turned to 60 degrees from the other
        >>> print(update.round(3))
        [1.577 1.577]

    Reference: Wang et al., Gradient Vaccine, ICLR 2021.
    """
    _options.whole(1, terms=terms)
    return combination(
        gradvac_weighting(decay=decay),
        shared=shared,
        skip_nonfinite=skip_nonfinite,
        terms=terms,
        seed=seed,
    )


def gradvac_weighting(*, decay: Number = 1e-2) -> Weighting:
    """The weights of `gradvac`, from the Gramian of the gradients."""
    _options.share(decay=decay)

    def init(terms: int, seed: int | jax.Array = 0) -> GradVacState:
        return GradVacState(first_draw(seed), jnp.zeros((terms, terms), jnp.float32))

    def update(
        values: jax.Array, state: GradVacState, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, GradVacState]:
        present, products = present_terms(values, gramian)
        kept, got = len(state.targets), len(products)
        if kept != got:
            raise ValueError(
                f"gradvac keeps targets of {kept} terms, got {got} gradients: gradvac(terms={got})"
            )
        order = orders(state.draw.key(), got)
        weights, targets = gradvac_weights(products, order, state.targets, decay)
        return weights * present, GradVacState(
            state.draw.next(), targets.astype(state.targets.dtype)
        )

    return Weighting(init, update, needs_gramian=True)


def gradvac_weights(
    gramian: jax.Array, orders: jax.Array, targets: jax.Array, decay: Number
) -> tuple[jax.Array, jax.Array]:
    """Weights of the gradients `terms` and the targets after the step, `terms terms`."""
    unit, norms = unit_gramian(gramian)
    terms = len(norms)
    rounding = 8 * terms * jnp.finfo(norms.dtype).eps

    def vaccinated(i: jax.Array, order: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        def turn(carry: tuple[jax.Array, jax.Array], j: jax.Array) -> tuple[Any, None]:
            own, row = carry
            squared = jnp.sum(own * jnp.sum(unit * own[None, :], axis=1))
            # What is left of a gradient after its opposite was added is rounding, not a direction.
            there = squared > rounding * jnp.sum(jnp.abs(own)) ** 2
            pair = (j != i) & there & (norms[i] > 0) & (norms[j] > 0)
            length = jnp.sqrt(jnp.where(there, squared, 1))
            cosine = jnp.clip(jnp.sum(unit[j] * own) / length, -1, 1)
            aim = jnp.minimum(row[j], _MOST_ALIKE)
            low = jnp.sqrt(1 - jnp.square(jnp.maximum(aim, -_MOST_ALIKE)))
            step = length * (aim * jnp.sqrt(1 - jnp.square(cosine)) / low - cosine)
            own = own.at[j].add(jnp.where(pair & (cosine < aim), step, 0))
            row = row.at[j].add(jnp.where(pair, decay * (cosine - row[j]), 0))
            return (own, row), None

        begin = (jnp.eye(terms, dtype=norms.dtype)[i], row)
        return jax.lax.scan(turn, begin, order)[0]

    rows = targets.astype(norms.dtype)
    own, rows = jax.vmap(vaccinated)(jnp.arange(terms), orders, rows)
    return _of_gradients(own, norms), rows
