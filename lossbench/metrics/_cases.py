"""A stream of cases: what every metric of one promises, and the scores that it comes to."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks


class Scores(NamedTuple):
    """What a stream of cases comes to; undefined is NaN, never 0 or 1.

    Attributes:
        per_case: one value a case and class; NaN where the metric has no value, as an overlap where
            neither truth nor prediction has the class.
        per_class: mean over the cases in which the class is defined.
        mean: mean over cases of the mean over the defined classes of the case, of which class 0,
            the background, is none.
        pooled: one value a class from the summed counts of all cases; NaN for a metric that is not
            made of counts.
        undefined: number of NaN in `per_case`, of cases that were seen.
    """

    per_case: Float[Array, "cases classes"]
    per_class: Float[Array, " classes"]
    mean: Float[Array, ""]
    pooled: Float[Array, " classes"]
    undefined: Int[Array, ""]


class Stream:
    """A metric over a stream of cases, by the name of which a configuration asks for it.

    A state is made by `empty(cases=..., num_classes=..., spacing=...)` and the metric's options,
    takes batches by `update`, adds up by `merge`, and comes to `Scores` by `compute`.

    Attributes:
        higher_is_better: which way is better: checkpoints are chosen and losses compared by it.
        is_length: true if a value is a length, in the unit of the spacing; else it is a share, from
            0 to 1, or as `mcc` a correlation, from -1 to 1.
        whole_cases: true if a case must come as one example, since nothing that could be added up
            is known of a part of it.
        by_class: true for a value a class; false for one of all classes together, in one column.
        ranks_scores: true for a metric of raw scores, false for one of class ids.
    """

    higher_is_better: ClassVar[bool]
    is_length: ClassVar[bool]
    whole_cases: ClassVar[bool]
    by_class: ClassVar[bool] = True
    ranks_scores: ClassVar[bool] = False
    # Not as methods: their options differ from one metric to another.
    empty: ClassVar[Callable[..., Any]]
    update: ClassVar[Callable[..., Any]]
    merge: ClassVar[Callable[..., Any]]
    compute: ClassVar[Callable[..., Scores]]


def static(default: Any) -> Any:
    """A field that is no array: states that differ in it are different programs to JAX."""
    return dataclasses.field(default=default, metadata={"static": True})


def check_alike(ours: Any, theirs: Any) -> None:
    """Raises unless both are states of one metric with the same options."""
    if type(theirs) is not type(ours):
        raise ValueError(f"other: expected {type(ours).__name__}, got {type(theirs).__name__}")
    for field in dataclasses.fields(ours):
        mine, other = (getattr(state, field.name) for state in (ours, theirs))
        if field.metadata.get("static") and mine != other:
            raise ValueError(f"other: expected {field.name} {mine!r}, got {other!r}")


def rows_of(
    case: Int[Array, " batch"], weights: Float[Array, "..."] | None, cases: int
) -> Int[Array, " batch"]:
    """The row of each example in a table of cases; `cases`, beyond the table, for padding.

    Raises:
        ValueError: if there is not one weight an example.
    """
    if weights is not None:
        _checks.shape("weights", weights, case.shape, "batch")
    real = jnp.ones(case.shape, bool) if weights is None else weights > 0
    known = (case >= 0) & (case < cases)
    _checks.value(jnp.all(known | ~real), f"case: a case is outside 0..{cases - 1}")
    return jnp.where(real & known, case, cases)


def scores(
    values: Float[Array, "cases classes"],
    seen: Bool[Array, " cases"],
    pooled: Float[Array, " classes"],
) -> Scores:
    """The scores of one value a case and class; those of cases that were not seen do not count."""
    per_case = jnp.where(seen[:, None], values, jnp.nan)
    return Scores(
        per_case=per_case,
        per_class=mean_of_defined(per_case, axis=0),
        mean=mean_of_defined(mean_of_defined(per_case[:, 1:], axis=1), axis=0),
        pooled=pooled,
        undefined=jnp.sum(jnp.isnan(per_case) & seen[:, None]),
    )


def scores_of_all_classes(
    values: Float[Array, " cases"], seen: Bool[Array, " cases"], pooled: Float[Array, ""]
) -> Scores:
    """The scores of one value a case, of all classes together."""
    found = scores(values[:, None], seen, pooled[None])
    return found._replace(mean=found.per_class[0])


def ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient; NaN, without a warning, where nothing is counted."""
    defined = denominator > 0
    return jnp.where(defined, numerator / jnp.where(defined, denominator, 1), jnp.nan)


def mean_of_defined(x: Array, axis: int | tuple[int, ...]) -> Array:
    """`nanmean` that is NaN without a warning where nothing is defined."""
    defined = ~jnp.isnan(x)
    return ratio(jnp.sum(jnp.where(defined, x, 0), axis=axis), jnp.sum(defined, axis=axis))
