"""What the measured numbers come to, term by term; float64 on the host."""

import dataclasses
import inspect
import math

import numpy as np

from lossbench import losses
from lossbench.bench.diagnosis.measure import Measured
from lossbench.losses.catalog import Row
from lossbench.objective import Objective, Term


@dataclasses.dataclass(frozen=True)
class TermFacts:
    """One term over the batches. Undefined is NaN.

    Attributes:
        name: of the term.
        least: lowest value on any batch, without its weight.
        mean: mean value.
        greatest: highest value.
        bound: the least value that its loss can have, from the catalog.
        deviation: standard deviation of the value over batches; variance is its square.
        weight: its own weight at this step.
        factor: what the weighting makes of the weight, mean over batches; 1 without one.
        norm: norm of its gradient, without its weight: root of the mean square over batches.
        weighted_norm: the same with its weight and the weighting's.
        signal_to_noise: of the gradient: squared norm of its expectation over the expected squared
            distance of a batch's gradient to it, both estimated without bias from the batches. 1
            says that one batch has as much signal as noise.
        share: of the update: sum over batches of the inner product of its weighted gradient with
            the update, over the update's squared norm. Shares of a weighted sum add up to 1; one
            below 0 works against the update.
        finite: on how many batches its value and gradient are finite.
        zero: on how many of them its gradient is exactly 0.
    """

    name: str
    least: float
    mean: float
    greatest: float
    bound: float
    deviation: float
    weight: float
    factor: float
    norm: float
    weighted_norm: float
    signal_to_noise: float
    share: float
    finite: int
    zero: int

    @property
    def variance(self) -> float:
        """Of the value over batches."""
        return self.deviation**2

    @property
    def variation(self) -> float:
        """Coefficient of variation: standard deviation over the magnitude of the mean."""
        return self.deviation / abs(self.mean) if self.mean else math.nan

    @property
    def dead(self) -> bool:
        """Whether its gradient is exactly 0 on every batch on which it is finite."""
        return self.finite > 0 and self.zero == self.finite

    @property
    def live(self) -> bool:
        """Whether it has a gradient on some batch."""
        return self.finite > self.zero


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two terms. Undefined is NaN.

    Attributes:
        first: name of a term.
        second: name of the other.
        cosine: between their gradients' means over the batches.
        batch_cosine: mean over batches of the cosine between their gradients.
        lowest: the lowest of these.
        highest: the highest.
        against: on how many batches it is below 0.
        batches: on how many it is defined: both gradients are finite and not 0.
        ratio: norm of the second's gradient over that of the first, median over these batches.
        ratio_spread: greatest of these ratios over the least.
    """

    first: str
    second: str
    cosine: float
    batch_cosine: float
    lowest: float
    highest: float
    against: int
    batches: int
    ratio: float
    ratio_spread: float


@dataclasses.dataclass(frozen=True)
class Moment:
    """An objective at one moment of a training.

    Attributes:
        step: which.
        batches: how many were looked at.
        terms: in the order of the objective.
        pairs: each two terms once.
        weighted: whether the objective has a weighting beside the terms' own weights.
        measured: the numbers behind it.
        distinct: how many of the batches are not equal to an earlier one.
        skips: whether a training goes on without a term that is not finite.
        drawn: whether the weighting draws at random.
    """

    step: int
    batches: int
    terms: tuple[TermFacts, ...]
    pairs: tuple[Pair, ...]
    weighted: bool
    measured: Measured
    distinct: int
    skips: bool = False
    drawn: bool = False

    def term(self, name: str) -> TermFacts:
        """The facts of a term."""
        return next(term for term in self.terms if term.name == name)

    def pair(self, first: str, second: str) -> Pair:
        """The facts of two terms, in either order of their names."""
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {first, second})


def moment(
    measured: Measured,
    objective: Objective,
    *,
    distinct: int | None = None,
    drawn: bool = False,
) -> Moment:
    """Statistics of what was measured.

    Args:
        measured: the numbers.
        objective: whose.
        distinct: how many of the batches differ; all by default. Equal ones have no noise to tell.
        drawn: whether the objective's weighting draws at random.
    """
    names, norms = measured.names, measured.norms
    distinct = len(norms) if distinct is None else distinct
    finite = np.isfinite(norms)
    # A weighting that gives a term no number, as where the term is not finite, gives it nothing.
    effective = measured.weights[None] * np.where(
        np.isfinite(measured.factors), measured.factors, 0
    )
    share = shares(measured.products, effective)
    if measured.along is not None:
        effective = np.broadcast_to(measured.weights[None], norms.shape)
        share = shares_along(measured.along, measured.weights)
    facts = []
    for i, name in enumerate(names):
        there = finite[:, i]
        values = measured.values[np.isfinite(measured.values[:, i]), i]
        facts.append(
            TermFacts(
                name=name,
                least=float(values.min(initial=math.inf)) if values.size else math.nan,
                mean=float(values.mean()) if values.size else math.nan,
                greatest=float(values.max(initial=-math.inf)) if values.size else math.nan,
                bound=lower_bound(objective.terms[name]),
                deviation=float(values.std(ddof=1)) if values.size > 1 else math.nan,
                weight=float(measured.weights[i]),
                factor=_mean(measured.factors[there, i]),
                norm=_rms(norms[there, i]),
                weighted_norm=_rms((effective * norms)[there, i]),
                signal_to_noise=(
                    signal_to_noise(
                        measured.mean_products[i, i], measured.deviations[i], int(there.sum())
                    )
                    if distinct > 1
                    else math.nan
                ),
                share=float(share[i]) if there.any() else math.nan,
                finite=int(there.sum()),
                zero=int((norms[there, i] == 0).sum()),
            )
        )
    pairs = [_pair(measured, i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    return Moment(
        measured.step,
        len(norms),
        tuple(facts),
        tuple(pairs),
        weighted=objective.weighting is not None,
        measured=measured,
        distinct=distinct,
        skips=objective.skip_nonfinite,
        drawn=drawn,
    )


def signal_to_noise(mean_square: float, deviations: float, batches: int) -> float:
    """Squared norm of the expected gradient over the variance of a batch's gradient.

    The variance is estimated by the sum of squared distances to the mean over `batches - 1`; the
    mean's own squared norm is larger than the expectation's by the variance over `batches`, which
    is taken off. An estimate below 0 says that the batches do not tell the gradient from 0.

    Args:
        mean_square: squared norm of the mean gradient.
        deviations: sum of squared distances of the gradients to their mean.
        batches: how many gradients there are.

    Example:
        >>> signal_to_noise(mean_square=3.0, deviations=9.0, batches=10)
        2.9
    """
    if batches < 2 or not mean_square > 0:
        return math.nan
    noise = deviations / (batches - 1)
    signal = max(mean_square - noise / batches, 0.0)
    return signal / noise if noise > 0 else math.inf


def shares(products: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of each term in updates that are weighted sums, `terms`; NaN for an update of 0.

    Args:
        products: inner products of the gradients, `batches terms terms`; NaN is left out.
        weights: of the terms on each batch, `batches terms` or `1 terms`.
    """
    known = np.nan_to_num(products)
    scale = np.abs(weights).max(initial=0) or 1.0
    weights = np.broadcast_to(weights / scale, products.shape[:2])
    parts = (weights * np.einsum("bij,bj->bi", known, weights)).sum(axis=0)
    total = parts.sum()
    # A sum of gradients that cancel out is 0 but for rounding.
    size = np.einsum("bi,bii->", weights**2, known)
    return parts / total if total > 1e-12 * size else np.full(parts.shape, np.nan)


def shares_along(along: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of each term in updates of another kind; these need not add up to 1.

    Args:
        along: inner products with the update, its own last, `batches terms+1`.
        weights: of the terms, `terms`.
    """
    total = along[:, -1].sum()
    parts = weights * np.nan_to_num(along[:, :-1]).sum(axis=0)
    return parts / total if total > 0 else np.full(parts.shape, np.nan)


def lower_bound(term: Term) -> float:
    """The least value that a term's loss can have; NaN for a loss that the catalog lacks."""
    row = catalog_row(term)
    return math.nan if row is None else row.lower_bound


def catalog_row(term: Term) -> Row | None:
    """The row of a term's loss in the catalog; None for a loss that it lacks."""
    rows = {inspect.unwrap(row.function): row for row in losses.CATALOG.values()}
    return rows.get(inspect.unwrap(getattr(term.loss, "func", term.loss)))


def _pair(measured: Measured, i: int, j: int) -> Pair:
    norms = measured.norms
    both = (norms[:, i] > 0) & (norms[:, j] > 0)
    scales = norms[both, i] * norms[both, j]
    cosines = np.clip(measured.products[both, i, j] / scales, -1, 1)
    ratios = norms[both, j] / norms[both, i]
    mean = measured.mean_products
    scale = math.sqrt(mean[i, i]) * math.sqrt(mean[j, j])
    return Pair(
        first=measured.names[i],
        second=measured.names[j],
        cosine=float(np.clip(mean[i, j] / scale, -1, 1)) if scale > 0 else math.nan,
        batch_cosine=_mean(cosines),
        lowest=float(cosines.min()) if both.any() else math.nan,
        highest=float(cosines.max()) if both.any() else math.nan,
        against=int((cosines < 0).sum()),
        batches=int(both.sum()),
        ratio=float(np.median(ratios)) if both.any() else math.nan,
        ratio_spread=float(ratios.max() / ratios.min()) if both.any() else math.nan,
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _rms(values: np.ndarray) -> float:
    """Root of the mean square; of numbers whose squares may be 0 or infinite, too."""
    largest = float(np.abs(values).max(initial=0))
    if not values.size or not largest:
        return 0.0 if values.size else math.nan
    return largest * math.sqrt(float(np.mean((values / largest) ** 2)))
