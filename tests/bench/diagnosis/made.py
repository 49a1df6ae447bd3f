"""Moments made up from gradients that are written down, without a model."""

from collections.abc import Mapping

import numpy as np

from lossbench import losses
from lossbench.bench.diagnosis.measure import Measured
from lossbench.bench.diagnosis.moment import Moment, moment
from lossbench.objective import Objective, Term


def measured(
    gradients: Mapping[str, np.ndarray],
    *,
    values: Mapping[str, np.ndarray] | None = None,
    weights: Mapping[str, float] | None = None,
    factors: np.ndarray | None = None,
    step: int = 0,
) -> Measured:
    """What measuring gives of gradients `batches parameters` by term, by the definitions."""
    names = tuple(gradients)
    stacked = np.stack([np.asarray(gradients[n], np.float64) for n in names], axis=1)
    batches, terms, parameters = stacked.shape
    finite = np.isfinite(stacked).all(axis=2)
    stacked = np.where(finite[..., None], stacked, np.nan)
    means = np.stack(
        [
            stacked[finite[:, i], i].mean(axis=0)
            if finite[:, i].any()
            else np.full(parameters, np.nan)
            for i in range(terms)
        ]
    )
    found = {n: np.ones(batches) for n in names} | dict(values or {})
    given = dict.fromkeys(names, 1.0) | dict(weights or {})
    return Measured(
        names=names,
        step=step,
        parameters=parameters,
        length=1.0,
        values=np.stack([np.asarray(found[n], np.float64) for n in names], axis=1),
        weights=np.array([given[n] for n in names]),
        factors=np.ones((batches, terms)) if factors is None else factors,
        products=np.einsum("bip,bjp->bij", stacked, stacked),
        mean_products=means @ means.T,
        deviations=np.nansum((stacked - means) ** 2, axis=(0, 2)),
        along=None,
    )


def seen(gradients: Mapping[str, np.ndarray], **options) -> Moment:
    """The moment of such gradients; every loss is a Dice."""
    terms = {name: Term(losses.dice) for name in gradients}
    return moment(measured(gradients, **options), Objective(terms))


def drawn(*norms: float, batches: int = 8, parameters: int = 40, seed: int = 0) -> list[np.ndarray]:
    """Gradients of these norms in every batch, independent but for a part that all share."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=parameters)
    found = []
    for norm in norms:
        own = rng.normal(size=parameters)
        rows = common + own + 0.3 * rng.normal(size=(batches, parameters))
        found.append(norm * rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return found
