"""Terms that train nothing: those whose gradient is exactly zero over the first steps.

Such a term looks alive in a log: a cross entropy under a softmax over one channel is 0 at every
step, and so is the gradient of a term that is masked whole.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossbench.objective import Objective
from lossbench.training.step import Batch, namespace

# A term is looked at after each of this many steps, until it has had a gradient.
WATCHED_STEPS = 5
# Where a logit leads by this much, exp(-x) is 0 in float32 and every activation is exactly flat.
SATURATED = 104.0


class Probe(NamedTuple):
    """What one batch tells of one term, as scalars on the device.

    Attributes:
        gradient: largest magnitude in the gradient of the unweighted term with respect to the
            model's outputs; NaN for a batch of padding alone, which tells nothing.
        reach: largest magnitude in the outputs that the term reads.
        channels: the fewest channels of an output that the term reads; 0 if it reads none.
        counted: share of the pixels that its `where` counts; 1 without one.
        foreground: 1 if a label is other than class 0, or the labels are no class ids.
    """

    gradient: jax.Array
    reach: jax.Array
    channels: jax.Array
    counted: jax.Array
    foreground: jax.Array


def probe_terms(
    outputs: Mapping[str, jax.Array], batch: Batch, step: jax.Array, *, objective: Objective
) -> dict[str, Probe]:
    """Looks at every term by itself; see `Probe`.

    No gradient goes through the model: one that is zero at its outputs is zero at its parameters.

    Args:
        outputs: of the model, for this batch.
        batch: the batch.
        step: the step, for a term's weight, which has no say here.
        objective: whose terms.
    """
    return {name: _probe(name, objective, outputs, batch, step) for name in objective.terms}


def _probe(
    name: str,
    objective: Objective,
    outputs: Mapping[str, jax.Array],
    batch: Batch,
    step: jax.Array,
) -> Probe:
    term = objective.terms[name]
    alone = Objective({name: term})

    def value(outputs: Mapping[str, jax.Array]) -> jax.Array:
        return alone(namespace(batch, outputs), step).terms[name]

    gradient = _largest(jax.grad(value, allow_int=True)(outputs))
    if "weights" in batch:
        gradient = jnp.where(jnp.sum(batch["weights"]) > 0, gradient, jnp.nan)
    arguments = term.arguments(namespace(batch, outputs))
    read = [x for x in arguments.values() if any(x is output for output in outputs.values())]
    where, labels = arguments.get("where"), arguments.get("labels")
    ids = labels is not None and not jnp.issubdtype(labels.dtype, jnp.inexact)
    facts = (
        _largest(read),
        min((x.shape[-1] for x in jax.tree.leaves(read) if x.ndim), default=0),
        1 if where is None else jnp.mean(where),
        jnp.any(labels != 0) if ids else 1,
    )
    return Probe(gradient, *(jnp.asarray(fact, jnp.float32) for fact in facts))


def _largest(tree: Any) -> jax.Array:
    """The largest magnitude of all floating numbers; not a norm, whose squares may underflow."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    largest = [jnp.max(jnp.abs(x), initial=0).astype(jnp.float32) for x in leaves]
    return jnp.max(jnp.stack(largest)) if largest else jnp.zeros(())


def probe_row(probes: Mapping[str, Probe], *, step: int) -> dict[str, Any]:
    """The row of a training's log that the probes of a step come to."""
    terms = jax.device_get(dict(probes))
    return {
        "step": step,
        "terms": {
            name: {fact: float(value) for fact, value in probe._asdict().items()}
            for name, probe in terms.items()
        },
    }


def all_alive(rows: Sequence[Mapping[str, Any]]) -> bool:
    """True once every term has had a gradient in some step: there is nothing left to find out."""
    return bool(rows) and all(
        any(row["terms"][name]["gradient"] > 0 for row in rows) for name in rows[0]["terms"]
    )


def dead_terms(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each term whose gradient was exactly zero in every step.

    Args:
        rows: of the first steps, as from `probe_row`.

    Example:
        >>> alive = {"gradient": 0.1, "reach": 1.0, "channels": 1, "counted": 1, "foreground": 1}
        >>> terms = {"dice": alive, "ce": {**alive, "gradient": 0.0}}
        >>> print(dead_terms([{"step": 1, "terms": terms}])[0].partition(" (likely")[0])
        term 'ce': its gradient was exactly zero over the first step: it trains nothing
    """
    texts = []
    for name in rows[0]["terms"] if rows else ():
        seen = [row["terms"][name] for row in rows]
        told = [probe for probe in seen if not math.isnan(probe["gradient"])]
        if told and all(probe["gradient"] == 0 for probe in told):
            steps = "step" if len(rows) == 1 else f"{len(rows)} steps"
            why = reason(told)
            texts.append(
                f"term {name!r}: its gradient was exactly zero over the first {steps}: it trains "
                "nothing" + (f" (likely because {why})" if why else "")
            )
    return texts


def reason(probes: Sequence[Mapping[str, float]]) -> str:
    """What may explain that a gradient is zero; empty where nothing does."""

    def always(fact: str, value: float) -> bool:
        return all(probe[fact] == value for probe in probes)

    if always("channels", 0):
        return "it reads no output of the model"
    if always("counted", 0):
        return "its `where` counts no pixel"
    if always("channels", 1):
        return "the output it reads has one channel, and a softmax over one is 1 at every logit"
    if always("foreground", 0):
        return "no pixel was labeled other than class 0"
    reach = min(probe["reach"] for probe in probes)
    if reach > SATURATED:
        return f"activations are flat where logits are as large as {reach:.3g}"
    return ""
