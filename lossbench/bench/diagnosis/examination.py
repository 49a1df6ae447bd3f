"""An objective looked at: numbers, findings and proposals at one or more moments."""

import dataclasses
import functools
import hashlib
import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench.bench.diagnosis.checks import (
    check_labels,
    check_objective,
    checked_batches,
    checked_variables,
    outputs_of,
)
from lossbench.bench.diagnosis.findings import Finding, Probes, findings, number
from lossbench.bench.diagnosis.measure import Measure, measurement
from lossbench.bench.diagnosis.moment import Moment, moment
from lossbench.bench.diagnosis.notes import finite
from lossbench.bench.diagnosis.proposal import Proposal, propose
from lossbench.objective import Objective
from lossbench.training.dead_terms import probe_row, probe_terms
from lossbench.training.gradient import init_weighting
from lossbench.training.state import Model
from lossbench.training.step import apply_in_training

# From this factor on, a term's gradient has grown or shrunk beside the others between two moments.
MOVED = 2.0
BATCHES = 16


@dataclasses.dataclass(frozen=True)
class Examination:
    """One moment with what it says.

    Attributes:
        moment: the numbers.
        findings: what is wrong, the worst first.
        proposal: weights that balance the update.
    """

    moment: Moment
    findings: tuple[Finding, ...]
    proposal: Proposal


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found of an objective; `print` shows it as text, a notebook as a page.

    Attributes:
        examinations: in the order of their steps.
        shared: patterns of the parameters whose gradients were looked at; all of them if empty.
        ended: where a training ended before all moments were looked at, a sentence on why.
    """

    examinations: tuple[Examination, ...]
    shared: tuple[str, ...] = ()
    ended: str = ""

    @property
    def headline(self) -> Examination:
        """The last moment at which the parameters were finite; the last if they never were."""
        told = [one for one in self.examinations if finite(one.moment)]
        return (told or self.examinations)[-1]

    @property
    def moment(self) -> Moment:
        """The numbers of the headline."""
        return self.headline.moment

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong at the headline."""
        return self.headline.findings

    @property
    def proposal(self) -> Proposal:
        """Weights that balance the update at the headline."""
        return self.headline.proposal

    @property
    def weights(self) -> Mapping[str, float]:
        """The proposed weights of the headline, by term; none if no parameters were finite."""
        return types.MappingProxyType(self.proposal.weights())

    def notices(self) -> list[str]:
        """Sentences on moments of which nothing can be told."""
        lost = [one.moment.step for one in self.examinations if not finite(one.moment)]
        if not finite(self.moment):
            return [self.ended] if self.ended else []
        said = [
            f"At step {step} the parameters are not finite: it cannot be looked at."
            for step in lost
        ]
        return [*said, self.ended] if self.ended else said

    def changes(self) -> list[str]:
        """Sentences on what the headline has otherwise than the first moment."""
        first, last = self.examinations[0].moment, self.moment
        if first is last or not finite(first) or not self.proposal.reference:
            return []
        said = []
        reference = self.proposal.reference
        begun, ended = first.term(reference), last.term(reference)
        for before, after in zip(first.terms, last.terms, strict=True):
            scales = (before.norm, after.norm, begun.norm, ended.norm)
            if after.name == reference or not all(scale > 0 for scale in scales):
                continue
            ratios = before.norm / begun.norm, after.norm / ended.norm
            if 1 / MOVED <= ratios[1] / ratios[0] <= MOVED:
                continue
            said.append(
                f"From step {first.step} to {last.step} the gradient of {after.name!r} went from "
                f"{number(ratios[0], 2)} to {number(ratios[1], 2)} times that of {reference!r}: "
                "constant weights that balance one of these moments do not balance the other; a "
                "schedule, or a weighting by norms such as 'gradnorm', follows."
            )
        return said

    def __str__(self) -> str:
        from lossbench.bench.diagnosis import text

        return text.text(self)

    def _repr_html_(self) -> str:
        from lossbench.bench.diagnosis import page

        return page.fragment(self)


def diagnose(
    model: Model,
    objective: Objective,
    batches: Iterable[Mapping[str, Any]],
    *,
    variables: Mapping[str, Any] | None = None,
    weighting: Any = None,
    shared: str | Sequence[str] | None = None,
    step: int = 0,
    seed: int = 0,
    earlier: Diagnosis | None = None,
) -> Diagnosis:
    """Looks at every term of an objective on some batches: its values, its gradient, its share.

    Args:
        model: a Linen module, or anything with its `init` and `apply`, that takes an image and
            gives a dict of outputs.
        objective: whose terms; a term's own weight is left out of its numbers where they do not say
            otherwise.
        batches: as the trainer takes them, dicts of arrays with an "image", all of one shape; from
            two on they tell signal from noise, 16 do it well.
        variables: of the model, such as `{"params": state.params, **state.model_state}`; drawn
            with `seed` by default.
        weighting: the state of the objective's weighting; as before the first step by default.
        shared: patterns of the names of the parameters that gradients are taken of; those of the
            objective by default, or all.
        step: the step, for weights that follow a schedule.
        seed: of what is drawn.
        earlier: a diagnosis of the same objective that this one goes on with.

    Returns:
        The diagnosis. Nothing that was given is changed.

    Raises:
        ValueError: for arguments of another kind, no batch, an objective that does not fit it,
            class ids that the logits have no channel for, or a pattern that matches no parameter.

    Example:
        >>> import flax.linen as nn
        >>> import jax.numpy as jnp
        >>> class Model(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, image):
        ...         return {"logits": nn.Dense(2)(image)}
        >>> objective = Objective.from_config({"terms": {"dice": {}, "focal": {}}})
        >>> image = jax.random.normal(jax.random.key(0), (4, 2, 8, 8, 1))
        >>> batches = [{"image": x, "labels": (x[..., 0] > 1).astype(int)} for x in image]
        >>> diagnosis = diagnose(Model(), objective, batches)
        >>> print(f"{sum(term.share for term in diagnosis.moment.terms):.3f}")
        1.000
        >>> sorted(diagnosis.weights)
        ['dice', 'focal']
    """
    check_objective(objective)
    batches = checked_batches(batches)
    if shared is None:
        shared = objective.shared
    shared = (shared,) if isinstance(shared, str) else tuple(shared)
    if variables is None:
        variables = model.init(jax.random.key(seed), batches[0]["image"])
    variables = checked_variables(variables)
    check_labels(objective, batches, outputs_of(model, variables, batches[0]["image"]))
    if weighting is None:
        weighting = init_weighting(objective, variables["params"], jnp.uint32(seed))
    examine = examiner(model, objective, shared)
    examination = examine(variables, weighting, batches, step)
    before = earlier.examinations if earlier else ()
    names = [one.moment.measured.names for one in before]
    if any(name != tuple(objective.terms) for name in names):
        raise ValueError(
            f"earlier: a diagnosis of the terms {', '.join(names[0])}, this is one of "
            f"{', '.join(objective.terms)}"
        )
    return Diagnosis((*before, examination), shared)


Place = Callable[[Mapping[str, Any]], dict[str, Any]]
Examiner = Callable[[Mapping[str, Any], Any, Sequence[Mapping[str, Any]], int], Examination]


def examiner(
    model: Model, objective: Objective, shared: Sequence[str] = (), *, place: Place = dict
) -> Examiner:
    """A function of variables, the weighting's state, batches and the step; compiled once.

    Args:
        model: takes an image and gives a dict of outputs.
        objective: whose terms.
        shared: patterns of the names of the parameters that gradients are taken of; all by default.
        place: brings a batch to the device; one is there at a time.
    """
    measure: Measure = measurement(model, objective, shared)
    forward = jax.jit(functools.partial(apply_in_training, model=model))
    probe = jax.jit(functools.partial(probe_terms, objective=objective))

    def probed(variables: Mapping[str, Any], batches: Sequence[Any], step: int) -> Probes:
        rows = []
        for i, batch in enumerate(map(place, batches)):
            outputs, _ = forward(variables, batch)
            rows.append(probe_row(probe(outputs, batch, jnp.asarray(step)), step=i))
        return {name: [row["terms"][name] for row in rows] for name in objective.terms}

    def examine(
        variables: Mapping[str, Any],
        weighting: Any,
        batches: Sequence[Mapping[str, Any]],
        step: int,
    ) -> Examination:
        now = moment(
            measure(variables, weighting, map(place, batches), step),
            objective,
            distinct=len({_digest(batch) for batch in batches}),
            drawn=_draws(weighting),
        )
        found = findings(now, {})
        if any(one.kind in ("dead", "saturated", "drowned") for one in found):
            # Only now: it is a program of its own, and most objectives need none.
            found = findings(now, probed(variables, batches, step))
        return Examination(now, found, propose(now))

    return examine


def _digest(batch: Mapping[str, Any]) -> bytes:
    """Equal for batches of equal arrays."""
    found = hashlib.blake2b()
    for name in sorted(batch):
        given = batch[name]
        if isinstance(given, jax.Array) and jnp.issubdtype(given.dtype, jax.dtypes.prng_key):
            given = jax.random.key_data(given)
        array = np.ascontiguousarray(given)
        found.update(f"{name} {array.dtype} {array.shape} ".encode("utf-8", "backslashreplace"))
        found.update(array.tobytes())
    return found.digest()


def _draws(weighting: Any) -> bool:
    """Whether the state of a weighting holds the seed of what it draws."""
    leaves = jax.tree_util.tree_leaves_with_path(weighting)
    return any(getattr(key, "name", None) == "seed" for path, _ in leaves for key in path)


def take(batches: Iterable[Mapping[str, Any]], count: int) -> list[dict[str, np.ndarray]]:
    """The first so many batches, kept on the host."""
    return [dict(batch) for batch in itertools.islice(batches, count)]
