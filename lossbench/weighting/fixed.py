"""Weights that do not look at the losses: constant, by schedule, in stages, at random."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossbench import _checks
from lossbench.weighting import _options, _terms
from lossbench.weighting._draws import DrawState, first_draw
from lossbench.weighting._options import Numbers, Rate
from lossbench.weighting._weighting import Weighting

DISTRIBUTIONS = ("normal", "uniform", "dirichlet", "one_hot")


class Constant(NamedTuple):
    """The state of `constant`.

    Attributes:
        weights: of the terms, float32.
    """

    weights: jax.Array


class Scheduled(NamedTuple):
    """The state of `scheduled`.

    Attributes:
        weights: of the next step.
        step: how many steps there were.
    """

    weights: jax.Array
    step: jax.Array


class Random(NamedTuple):
    """The state of `random`.

    Attributes:
        weights: of the last step; equal ones before the first.
        draws: the seed, and how many steps there were.
    """

    weights: jax.Array
    draws: DrawState


def constant(weights: Numbers | None = None) -> Weighting:
    r"""The same weights in every step.

    .. math:: F = \sum_i w_i L_i

    Args:
        weights: one number for each term, in their order; 1 each by default. May be traced.

    Returns:
        A weighting for losses of any sign.

    Raises:
        ValueError: for a weight that is not finite; by `init`, for another number of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.constant([0.7, 0.3])
        >>> weights, _ = update(jnp.array([2.0, jnp.nan]), init(2))
        >>> print(weights)
        [0.7 0. ]
    """
    if weights is not None:
        _options.numbers("weights", weights)

    def init(terms: int, seed: int | jax.Array = 0) -> Constant:
        del seed
        if weights is None:
            return Constant(jnp.ones(terms, jnp.float32))
        return Constant(_options.of_each("weights", weights, terms))

    def update(
        values: jax.Array, state: Constant, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Constant]:
        del gramian
        _, present = _terms.observed(values, state.weights)
        return jnp.where(present, state.weights, 0), state

    return Weighting(init, update)


def scheduled(schedules: Sequence[Rate]) -> Weighting:
    r"""Weights that follow the number of steps.

    .. math:: F = \sum_i w_i(t) L_i

    Args:
        schedules: for each term, in their order, a number or a schedule of optax's (a function of
            the number of steps before this one).

    Returns:
        A weighting for losses of any sign. It counts the steps itself.

    Raises:
        ValueError: for what is neither a finite number nor a function; by `init`, for another
            number of them.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.scheduled([1.0, optax.linear_schedule(0.0, 1.0, 2)])
        >>> state = init(2)
        >>> for _ in range(3):
        ...     weights, state = update(jnp.ones(2), state)
        ...     print(weights)
        [1. 0.]
        [1.  0.5]
        [1. 1.]
    """
    axes = getattr(schedules, "ndim", 1)
    if isinstance(schedules, (str, dict)) or axes != 1 or not hasattr(schedules, "__len__"):
        raise ValueError(
            f"schedules: expected a number or a function of the step for each term, got "
            f"{schedules!r}"
        )
    for index, one in enumerate(schedules):
        if not callable(one):
            allowed = "a finite number or a function of the step"
            _options.number(f"schedules[{index}]", one, allowed, lambda value: True)

    def at(count: jax.Array) -> jax.Array:
        weights = [one(count) if callable(one) else one for one in schedules]
        return jnp.stack([jnp.asarray(weight, jnp.float32) for weight in weights])

    def init(terms: int, seed: int | jax.Array = 0) -> Scheduled:
        del seed
        if len(schedules) != terms:
            raise ValueError(
                f"schedules: expected {terms}, one for each term, got {len(schedules)}"
            )
        return Scheduled(at(jnp.zeros((), jnp.int32)), jnp.zeros((), jnp.int32))

    def update(
        values: jax.Array, state: Scheduled, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Scheduled]:
        del gramian
        _, present = _terms.observed(values, state.weights)
        weights = jnp.where(present, at(state.step), 0)
        return weights, Scheduled(at(state.step + 1), state.step + 1)

    return Weighting(init, update)


def stages(stages: Sequence[tuple[int, Numbers]], blend: int = 0) -> Weighting:
    r"""A curriculum: these weights from this step on, those from that one.

    Args:
        stages: pairs of the step from which a stage counts, and its weights, one for each term;
            the first begins at step 0.
        blend: over how many steps weights go in a straight line from a stage's to the next one's,
            beginning at the step of the next one; 0 changes them at once.

    Returns:
        A weighting for losses of any sign: `scheduled`, of schedules that hold the stages.

    Raises:
        ValueError: for steps that do not rise from 0, weights that are not finite or not as many in
            each stage, and stages shorter than the blend into them; by `init`, for weights of
            another number of terms.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.stages([(0, [1.0, 0.0]), (2, [0.5, 0.5])])
        >>> state = init(2)
        >>> for _ in range(3):
        ...     weights, state = update(jnp.ones(2), state)
        ...     print(weights)
        [1. 0.]
        [1. 0.]
        [0.5 0.5]
    """
    _options.whole(0, blend=blend)
    _check_pairs(stages)
    starts = [start for start, _ in stages]
    for index, start in enumerate(starts):
        _options.whole(0, **{f"stages[{index}]": start})
    if not starts or starts[0] != 0 or any(b <= a for a, b in itertools.pairwise(starts)):
        raise ValueError(f"stages: expected steps that rise from 0, got {starts}")
    for a, b in itertools.pairwise(starts[1:]):
        if b - a < blend:
            raise ValueError(
                f"blend: {blend} steps do not fit into the stage from step {a} to step {b}"
            )
    for index, (_, weights) in enumerate(stages):
        _options.numbers(f"stages[{index}]", weights)
        if len(weights) != len(stages[0][1]):
            raise ValueError(
                f"stages: expected as many weights in each, got {len(stages[0][1])} in the first "
                f"and {len(weights)} in stages[{index}]"
            )

    def schedule(term: int) -> Rate:
        held = [weights[term] for _, weights in stages]

        def at(step: Any) -> jax.Array:
            weight = jnp.asarray(held[0], jnp.float32)
            for start, before, after in zip(starts[1:], held, held[1:], strict=False):
                done = jnp.clip((step - start) / max(blend, 1), 0, 1) if blend else step >= start
                between = jnp.where(done >= 1, after, before + done * (after - before))
                weight = jnp.where(step >= start, between, weight)
            return weight

        return at

    count = len(stages[0][1])
    begin, update, *_ = scheduled([schedule(term) for term in range(count)])

    def init(terms: int, seed: int | jax.Array = 0) -> Scheduled:
        if terms != count:
            raise ValueError(
                f"stages: expected {terms} weights in each, one for each term, got {count}"
            )
        return begin(terms, seed)

    return Weighting(init, update)


def _check_pairs(stages: Any) -> None:
    """Raises unless there are pairs of something and something."""
    if not isinstance(stages, (list, tuple)):
        raise ValueError(f"stages: expected pairs of a step and its weights, got {stages!r}")
    for index, stage in enumerate(stages):
        if not isinstance(stage, (list, tuple)) or len(stage) != 2:
            raise ValueError(
                f"stages[{index}]: expected a pair of a step and its weights, such as "
                f"(0, [1.0, 0.5]), got {stage!r}"
            )


def random(distribution: str = "normal") -> Weighting:
    r"""Random loss weighting: new weights in every step, that sum to 1.

    .. math:: w = \mathrm{softmax}(z), \qquad z \sim N(0, I)

    Args:
        distribution: "normal"; or one of the paper's others: "uniform", a softmax of numbers from
            [0, 1); "dirichlet", evenly from the simplex; "one_hot", one term a step has all the
            weight.

    Returns:
        A weighting for losses of any sign. What it draws follows from the seed and the number of
        steps. The terms that are there share the 1.

    Raises:
        ValueError: for another distribution.

    The paper's Bernoulli weights are left out: they may be 0 for all terms. TorchJD has "normal"
    alone.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.random()
        >>> weights, _ = update(jnp.ones(3), init(3, seed=1))
        >>> print(f"{weights.sum():.3f}")
        1.000

    Reference: Lin et al., Reasonable Effectiveness of Random Weighting, TMLR 2022.
    """
    _checks.choice("distribution", distribution, DISTRIBUTIONS)

    def init(terms: int, seed: int | jax.Array = 0) -> Random:
        equal = jnp.full(terms, 1 / terms, jnp.float32)
        return Random(equal, first_draw(seed))

    def update(
        values: jax.Array, state: Random, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Random]:
        del gramian
        _, present = _terms.observed(values, state.weights)
        scores = _scores(distribution, state.draws.key(), present.shape)
        if distribution == "one_hot":
            first = jnp.argmax(jnp.where(present, scores, -1))
            weights = (present & (jnp.arange(present.size) == first)).astype(jnp.float32)
        else:
            weights = _terms.shares(scores, present)
        return weights, Random(weights, state.draws.next())

    return Weighting(init, update)


def _scores(distribution: str, key: jax.Array, shape: tuple[int, ...]) -> Any:
    """Numbers whose softmax, or whose largest, makes the weights."""
    if distribution == "normal":
        return jax.random.normal(key, shape, jnp.float32)
    if distribution == "dirichlet":
        # Exponential numbers divided by their sum are spread evenly over the simplex.
        return jnp.log(jax.random.exponential(key, shape, jnp.float32))
    return jax.random.uniform(key, shape, jnp.float32)
