"""An objective: named terms, each a loss bound by name to a batch and a model's outputs."""

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from lossbench._names import unknown
from lossbench.objective_config import entries, refuse, term_arguments

# Names under which the logs of a training keep something else than a term.
RESERVED = ("loss", "gradient")

# optax's schedules: a function of the step.
Schedule = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Term:
    """One term of an objective.

    Attributes:
        loss: the loss function.
        weight: a number, or a schedule (a function of the step).
        options: its keyword arguments; strings and booleans are static, numbers may be arrays.
        inputs: which name of the batch or the outputs an argument takes, where the names differ:
            `{"logits": "logits_2"}`.
    """

    loss: Callable[..., jax.Array]
    weight: float | Schedule = 1.0
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises a ValueError for an option or an input that the loss does not have."""
        parameters = inspect.signature(self.loss).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            for option in self.options:
                if option not in parameters:
                    raise unknown(f"option of the loss {self._name}", option, _options(parameters))
            for argument in self.inputs:
                if argument not in parameters:
                    raise unknown(f"argument of the loss {self._name}", argument, parameters)

    @property
    def _name(self) -> str:
        """The name of the loss; a `functools.partial` has that of its function."""
        function = getattr(self.loss, "func", self.loss)
        return getattr(function, "__name__", repr(function))

    def arguments(self, namespace: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the loss: arrays from the namespace by name, and the options.

        Required arguments must be there. Optional ones whose default is None (`where`, `spacing`)
        are taken if they are there.
        """
        bound = dict(self.options)
        for argument, parameter in inspect.signature(self.loss).parameters.items():
            name = self.inputs.get(argument, argument)
            if argument in bound or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                continue
            if name in namespace:
                required = parameter.default is parameter.empty
                if required or parameter.default is None or argument in self.inputs:
                    bound[argument] = namespace[name]
            elif parameter.default is parameter.empty or argument in self.inputs:
                raise ValueError(
                    f"the loss {self._name} needs {argument!r}"
                    + (f" (from {name!r})" if name != argument else "")
                    + f"; batch and outputs have: {', '.join(sorted(namespace))}"
                )
        return bound


def _options(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """Names that are meant as options; the arrays of a batch come first and have no default."""
    return [
        name
        for name, p in parameters.items()
        if p.default is not p.empty or p.kind is p.KEYWORD_ONLY
    ]


class Value(NamedTuple):
    """What an objective comes to, all scalars.

    Attributes:
        total: sum over terms of weight times value.
        terms: the value of each term, its mean over the batch, unweighted.
        weights: the weight of each term.
    """

    total: jax.Array
    terms: dict[str, jax.Array]
    weights: dict[str, jax.Array]


# Compared and hashed by identity: `jax.jit` takes it as a function.
@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """A weighted sum of named terms.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import losses
        >>> terms = {"dice": Term(losses.dice), "ce": Term(losses.cross_entropy, weight=0.5)}
        >>> objective = Objective(terms)
        >>> batch = {"labels": jnp.array([[0, 1]])}
        >>> outputs = {"logits": jnp.array([[[0.0, 0.0], [0.0, 0.0]]])}
        >>> value = objective(batch | outputs, step=jnp.array(0))
        >>> print(f"{value.total:.3f} = {value.terms['dice']:.3f} + 0.5 * {value.terms['ce']:.3f}")
        0.847 = 0.500 + 0.5 * 0.693
    """

    terms: Mapping[str, Term]

    def __post_init__(self) -> None:
        """Freezes the terms; at least one is needed."""
        if not self.terms:
            raise ValueError("an objective needs at least one term")
        for name in RESERVED:
            if name in self.terms:
                raise ValueError(
                    f"no term can be named {name!r}: logs use that name themselves; choose another"
                )
        object.__setattr__(self, "terms", types.MappingProxyType(dict(self.terms)))

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str) -> Self:
        """Builds an objective from plain values, or from JSON.

        Args:
            config: either `{"terms": {name: {"loss": ..., "weight": ..., "inputs": {...},
                option: ...}}}`, where the loss of a term is its name unless `loss` says otherwise;
                or `{"loss": {"type": name, option: ...}}` for one loss; or
                `{"loss": {"type": "compound", "components": [{"type": name, "weight": ...,
                option: ...}, ...]}}`, where a component may have a "name" (its type by default,
                `dice_2` for the second of a kind). As a dict, as ml_collections has it, or as JSON
                text. The weight is 1, or a number of at least 0, or one of optax's schedules by
                name with its arguments: `{"schedule": "linear_schedule", "init_value": 0.0,
                "end_value": 1.0, "transition_steps": 500}`. With `"deep_supervision":
                "exponential"` (or "uniform", "linear", numbers) the logits are a list of outputs,
                see `losses.deep_supervision`. All other keys are options of the loss.

        Raises:
            ValueError: for an unknown loss, option or key (with the nearest names and those there
                are), a value of a wrong kind, or broken JSON. Of several terms that are wrong, it
                names each with its place.

        Example:
            >>> terms = {"dice": {"weight": 0.5}, "hard": {"loss": "focal", "gamma": 3.0}}
            >>> sorted(Objective.from_config({"terms": terms}).terms)
            ['dice', 'hard']
            >>> loss = {"type": "compound", "components": [{"type": "dice"}, {"type": "focal"}]}
            >>> sorted(Objective.from_config({"loss": loss}).terms)
            ['dice', 'focal']
        """
        terms: dict[str, Term] = {}
        errors: list[str] = []
        for entry in entries(config):
            if isinstance(entry, str):
                errors.append(entry)
                continue
            try:
                terms[entry.name] = Term(**term_arguments(entry))
            except ValueError as error:
                errors.append(f"{entry.place}: {error}")
        refuse(errors)
        if all(not callable(term.weight) and term.weight == 0 for term in terms.values()):
            raise ValueError("every weight is 0: nothing would be trained")
        return cls(terms)

    def __call__(self, namespace: Mapping[str, Any], step: jax.Array | int = 0) -> Value:
        """Evaluates every term.

        Args:
            namespace: the batch's arrays and the model's outputs together, by name. Per-example
                `weights` in it weigh the mean over the batch, in every term alike; they cannot
                reach into a loss that pools the batch itself: mask it with `where`.
            step: the step, for scheduled weights.
        """
        terms = {
            name: _mean(term.loss(**term.arguments(namespace)), namespace.get("weights"))
            for name, term in self.terms.items()
        }
        weights = {
            name: jnp.asarray(
                term.weight(jnp.asarray(step)) if callable(term.weight) else term.weight,
                jnp.float32,
            )
            for name, term in self.terms.items()
        }
        total = jnp.asarray(sum(weights[name] * terms[name] for name in terms))
        return Value(total, terms, weights)


def _mean(value: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The mean over examples; a scalar (a batch-pooled loss) is its own mean."""
    if value.ndim == 0:
        return value
    if value.ndim > 1:
        raise ValueError(
            f"a term needs one value an example, got shape {value.shape}; "
            'a loss with reduction="none" cannot be a term'
        )
    if weights is None:
        return jnp.mean(value)
    total = jnp.sum(weights)
    # Selected before it is weighed: an example that only pads the batch may hold anything.
    counted = jnp.where(weights > 0, value, 0)
    return jnp.sum(weights * counted) / jnp.where(total > 0, total, 1)
