"""What is measured of every term on every batch: values, gradients, their inner products.

A gradient is divided by its largest magnitude before anything of it is squared, on the device; the
numbers come together in float64 on the host. So a term may be of any size.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lossbench.objective import Objective
from lossbench.training.state import Model
from lossbench.training.step import Batch, apply_in_training, namespace
from lossbench.weighting import Weighting, constant, gramian, part, without_nonfinite


@dataclasses.dataclass(frozen=True)
class Measured:
    """What some batches gave at one moment of a training, float64.

    A gradient that is not finite, or whose loss is not, is NaN throughout and left out of means.

    Attributes:
        names: of the terms.
        step: the step at which they were measured.
        parameters: how many parameters the gradients are of.
        length: the norm of these parameters.
        values: of each term on each batch, without a weight, `batches terms`.
        weights: each term's own weight at this step, `terms`.
        factors: what the weighting makes of it on each batch, `batches terms`; 1 without one, NaN
            where a transformation of gradients stands in its place.
        products: inner products of the gradients of a batch, unweighted, `batches terms terms`.
        mean_products: inner products of the gradients' means over the batches, `terms terms`.
        deviations: sum over batches of the squared distance of a gradient to its mean, `terms`.
        along: inner products of the gradients with what a transformation makes of them, and, last,
            of that with itself, `batches terms+1`; None where there is none.
    """

    names: tuple[str, ...]
    step: int
    parameters: int
    length: float
    values: np.ndarray
    weights: np.ndarray
    factors: np.ndarray
    products: np.ndarray
    mean_products: np.ndarray
    deviations: np.ndarray
    along: np.ndarray | None

    @property
    def norms(self) -> np.ndarray:
        """The norm of each gradient on each batch, `batches terms`."""
        return np.sqrt(np.diagonal(self.products, axis1=1, axis2=2))

    @property
    def counts(self) -> np.ndarray:
        """On how many batches a term and its gradient were finite, `terms`."""
        return np.isfinite(self.norms).sum(axis=0)


class _Means(NamedTuple):
    """Means so far, on the device: how many gradients of a term, and their mean, row by row."""

    counts: jax.Array
    rows: list[jax.Array]


class _Seen(NamedTuple):
    """What one batch gave."""

    values: jax.Array
    weights: jax.Array
    factors: jax.Array
    finite: jax.Array
    products: "_Products"
    distance: "_Products"
    along: "_Products | None"


class _Products(NamedTuple):
    """Inner products of rows that were divided by their scales."""

    scales: jax.Array
    products: jax.Array

    def read(self) -> np.ndarray:
        """The products of the rows as they were, in float64."""
        scales = np.asarray(self.scales, np.float64)
        return np.asarray(self.products, np.float64) * scales[:, None] * scales


Measure = Callable[[Mapping[str, Any], Any, Iterable[Mapping[str, Any]], int], Measured]


def measurement(model: Model, objective: Objective, shared: Sequence[str] = ()) -> Measure:
    """A function that measures an objective, compiled once for batches of one shape.

    Args:
        model: takes an image and gives a dict of outputs.
        objective: whose terms.
        shared: patterns of the names of the parameters that gradients are taken of; all by default.

    Returns:
        A function of the model's variables, the state of the objective's weighting, batches as the
        trainer takes them, and the step.
    """
    look = jax.jit(
        functools.partial(_look, model=model, objective=objective, shared=tuple(shared)),
        donate_argnums=0,
    )
    squares = jax.jit(lambda rows: _products(rows))

    def measure(
        variables: Mapping[str, Any],
        weighting: Any,
        batches: Iterable[Mapping[str, Any]],
        step: int,
    ) -> Measured:
        looked_at = _looked_at(variables["params"], shared)
        count = len(objective.terms)
        means = _Means(
            jnp.zeros(count, jnp.int32),
            [jnp.zeros((count, x.size), jnp.float32) for x in looked_at],
        )
        seen = []
        for batch in batches:
            means, one = look(means, variables, weighting, dict(batch), jnp.asarray(step))
            seen.append(jax.device_get(one))
        if not seen:
            raise ValueError("no batch to measure: at least one is needed, better 16")
        length = np.sqrt(sum(float(jnp.sum(jnp.abs(x) ** 2)) for x in looked_at))
        counts = np.cumsum([one.finite for one in seen], axis=0)
        return Measured(
            names=tuple(objective.terms),
            step=int(step),
            parameters=sum(x.size for x in looked_at),
            length=float(length),
            values=np.array([one.values for one in seen], np.float64),
            weights=np.asarray(seen[0].weights, np.float64),
            factors=np.array([one.factors for one in seen], np.float64),
            products=np.array([_where(one.finite, one.products.read()) for one in seen]),
            mean_products=_where(counts[-1] > 0, jax.device_get(squares(means.rows)).read()),
            deviations=_deviations(seen, counts),
            along=np.array([one.along.read()[-1] for one in seen]) if seen[0].along else None,
        )

    return measure


def _look(
    means: _Means,
    variables: Mapping[str, Any],
    weighting: Any,
    batch: Batch,
    step: jax.Array,
    *,
    model: Model,
    objective: Objective,
    shared: tuple[str, ...],
) -> tuple[_Means, _Seen]:
    """One batch: all gradients from one `vmap` of one `vjp`; the means move on."""
    # Guarded as it is when it may skip a term, the gradient of one that is not finite does not
    # reach the others. One that weighs by the Gramian leaves such a gradient to be seen.
    one_by_one = constant()._replace(needs_gramian=True)
    guarded = Objective(objective.terms, one_by_one, skip_nonfinite=True)
    others = {name: value for name, value in variables.items() if name != "params"}

    def terms(params: Any) -> tuple[jax.Array, jax.Array]:
        outputs, _ = apply_in_training({"params": params, **others}, batch, model=model)
        value = guarded(namespace(batch, outputs), step)
        names = list(objective.terms)
        stacked = [jnp.asarray(value.terms[n], jnp.float32) for n in names]
        return jnp.stack(stacked), jnp.stack([value.weights[n] for n in names])

    params = variables["params"]
    values, pull, weights = jax.vjp(terms, params, has_aux=True)
    (gradients,) = jax.vmap(pull)(jnp.eye(values.shape[0], dtype=values.dtype))
    rows, finite = without_nonfinite(_rows(_looked_at(gradients, shared)))
    finite = finite & jnp.isfinite(values)
    rows = [jnp.where(finite[:, None], row, 0) for row in rows]

    weighted = jax.tree.map(
        lambda leaf: weights.reshape(-1, *[1] * (leaf.ndim - 1)).astype(leaf.dtype) * leaf,
        gradients,
    )
    factors, direction = _weighed(weights * values, weighted, weighting, params, objective)
    along = None
    if direction is not None:
        ways = [x.reshape(1, -1).astype(jnp.float32) for x in _looked_at(direction, shared)]
        along = _products([jnp.concatenate(pair) for pair in zip(rows, ways, strict=True)])

    counts = means.counts + finite
    apart = [
        jnp.where(finite[:, None], row - mean, 0)
        for row, mean in zip(rows, means.rows, strict=True)
    ]
    moved = [
        mean + delta / jnp.maximum(counts, 1)[:, None]
        for mean, delta in zip(means.rows, apart, strict=True)
    ]
    seen = _Seen(values, weights, factors, finite, _products(rows), _products(apart), along)
    return _Means(counts, moved), seen


def _weighed(
    values: jax.Array, gradients: Any, state: Any, params: Any, objective: Objective
) -> tuple[jax.Array, Any]:
    """What the objective's weighting makes of a batch: a factor for each term, or a direction."""
    weighting = objective.weighting
    if weighting is None:
        return jnp.ones_like(values), None
    if not isinstance(weighting, Weighting):
        direction, _ = weighting.update(gradients, state, params)
        return jnp.full_like(values, jnp.nan), direction
    products = None
    if weighting.needs_gramian:
        products = gramian(part(gradients, objective.shared) if objective.shared else gradients)
    factors, _ = weighting.update(values, state, products)
    return factors, None


def _looked_at(params: Any, shared: Sequence[str]) -> list[jax.Array]:
    return jax.tree.leaves(part(params, shared) if shared else params)


def _rows(leaves: Sequence[jax.Array]) -> list[jax.Array]:
    return [leaf.reshape(leaf.shape[0], -1).astype(jnp.float32) for leaf in leaves]


def _products(rows: Sequence[jax.Array]) -> _Products:
    """Inner products of rows that lie in several leaves."""
    scales = functools.reduce(
        jnp.maximum, [jnp.max(jnp.abs(row), axis=1, initial=0) for row in rows]
    )
    units = [row / jnp.where(scales > 0, scales, 1)[:, None] for row in rows]
    return _Products(scales, gramian(units))


def _where(finite: np.ndarray, products: np.ndarray) -> np.ndarray:
    return np.where(finite[:, None] & finite[None, :], products, np.nan)


def _deviations(seen: Sequence[_Seen], counts: np.ndarray) -> np.ndarray:
    """The sum of squared distances to the last mean, from those to the mean before each batch."""
    total = np.zeros(counts.shape[1])
    for one, count in zip(seen, counts, strict=True):
        total += np.diagonal(one.distance.read()) * (count - 1) / np.maximum(count, 1)
    return total
