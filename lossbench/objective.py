"""An objective: named terms, each a loss bound by name to a batch and a model's outputs."""

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax

from lossbench import losses
from lossbench._names import unknown
from lossbench.objective_config import Entry, parts, refuse, term_arguments
from lossbench.weighting import WEIGHTINGS, Weighting
from lossbench.weighting.configuration import from_config

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
        total: sum over terms of value times the term's own weight, whatever a weighting gave it.
        terms: the value of each term, its mean over the batch, unweighted.
        weights: the weight of each term. In a training with a weighting, that includes what the
            weighting gave it; a transformation of gradients gives none.
    """

    total: jax.Array
    terms: dict[str, jax.Array]
    weights: dict[str, jax.Array]


# Compared and hashed by identity: `jax.jit` takes it as a function.
@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """A weighted sum of named terms.

    Attributes:
        terms: by name.
        weighting: how a training weighs the terms, each times its own weight, in every step: one
            of `lossbench.weighting`; their sum without one. A call knows nothing of it.
        shared: for a weighting that looks at gradients: patterns of the names of the parameters
            whose gradients it looks at, such as "head/*"; all of them by default.
        skip_nonfinite: true leaves a term out of a step in which its value or its gradient is not
            finite, and out of the total; otherwise, and if no term is left, such a step ends a
            training. A transformation of gradients has an option of its own for its part.

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
    weighting: Weighting | optax.GradientTransformation | None = None
    shared: tuple[str, ...] = ()
    skip_nonfinite: bool = False

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
        if isinstance(self.weighting, Weighting):
            if self.weighting.positive:
                _refuse_negative(self.terms)
        elif self.weighting is not None:
            if not isinstance(self.weighting, optax.GradientTransformation):
                raise ValueError(
                    "weighting: expected a Weighting or an optax transformation, such as "
                    f"weighting.dwa() or weighting.pcgrad(), got {self.weighting!r}"
                )
            if self.shared:
                raise ValueError(
                    "shared has no effect on a transformation of gradients: give it that itself, "
                    "as in pcgrad(shared=...), or take its weighting, pcgrad_weighting()"
                )

    @property
    def _one_pass(self) -> bool:
        """Whether a training takes one gradient of all terms together."""
        if isinstance(self.weighting, Weighting):
            return not self.weighting.needs_gramian
        return self.weighting is None

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

                Beside the terms there may be `"weighting": {"type": name, option: ...}`, or its
                name alone (`lossbench list weightings` has them); a compound loss with
                `"learnable_weights": true` is one of type "softmax" that begins at the weights as
                they are written. Every type takes "skip_nonfinite", those that look at gradients
                take "shared".

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
        found = parts(config)
        for entry in found.terms:
            if isinstance(entry, str):
                errors.append(entry)
                continue
            try:
                terms[entry.name] = Term(**term_arguments(entry))
            except ValueError as error:
                errors.append(f"{entry.place}: {error}")
        weighting: Mapping[str, Any] = {}
        if found.weighting is not None:
            names = [entry.name for entry in found.terms if isinstance(entry, Entry)]
            try:
                weighting = from_config(found.weighting, names)._asdict()
            except ValueError as error:
                errors.append(str(error))
        refuse(errors)
        if all(not callable(term.weight) and term.weight == 0 for term in terms.values()):
            raise ValueError("every weight is 0: nothing would be trained")
        try:
            return cls(terms, **weighting)
        except ValueError as error:
            if found.weighting is None:
                raise
            raise ValueError(f"weighting {found.weighting['type']!r}: {error}") from error

    def __call__(self, namespace: Mapping[str, Any], step: jax.Array | int = 0) -> Value:
        """Evaluates every term.

        Args:
            namespace: the batch's arrays and the model's outputs together, by name. Per-example
                `weights` in it weigh the mean over the batch, in every term alike; they cannot
                reach into a loss that pools the batch itself: mask it with `where`.
            step: the step, for scheduled weights.
        """
        terms = {}
        for name, term in self.terms.items():
            value = functools.partial(_value, term)
            if self.skip_nonfinite:
                value = _if_weighed(value, only_finite=self._one_pass)
            terms[name] = value(dict(namespace))
        weights = {
            name: jnp.asarray(
                term.weight(jnp.asarray(step)) if callable(term.weight) else term.weight,
                jnp.float32,
            )
            for name, term in self.terms.items()
        }
        return Value(weighted_sum(terms, weights, self.skip_nonfinite), terms, weights)


def weighted_sum(
    terms: Mapping[str, jax.Array], weights: Mapping[str, jax.Array], skip_nonfinite: bool
) -> jax.Array:
    """The sum over terms of weight times value; without those that are not finite, if asked.

    If none is finite, nor is the sum: a diverged training must not look like a perfect one.
    """
    products = jnp.stack([weights[name] * terms[name] for name in terms])
    if not skip_nonfinite:
        return jnp.sum(products)
    finite = jnp.isfinite(products)
    return jnp.where(jnp.any(finite), jnp.sum(jnp.where(finite, products, 0)), jnp.nan)


def _value(term: Term, namespace: dict[str, Any]) -> jax.Array:
    return _mean(term.loss(**term.arguments(namespace)), namespace.get("weights"))


def _if_weighed(
    value: Callable[[dict[str, Any]], jax.Array], *, only_finite: bool
) -> Callable[[dict[str, Any]], Any]:
    """The same function; where its value has the weight 0, its gradient is 0, NaN or not.

    A derivative that is not finite times a weight of 0 would be NaN, in every term's parameters.

    Args:
        value: of a namespace.
        only_finite: a gradient that is not finite is 0, too; where gradients are looked at one by
            one it must be seen instead.
    """
    guarded = jax.custom_vjp(value)

    def forward(namespace: dict[str, Any]) -> tuple[jax.Array, Any]:
        return jax.vjp(value, namespace)

    def backward(pull: Any, weight: jax.Array) -> tuple[Any]:
        (gradient,) = pull(weight)
        kept = weight != 0
        if only_finite:
            leaves = [g for g in jax.tree.leaves(gradient) if g.dtype != jax.dtypes.float0]
            kept = functools.reduce(lambda kept, g: kept & jnp.all(jnp.isfinite(g)), leaves, kept)
        return (
            jax.tree.map(
                lambda g: g if g.dtype == jax.dtypes.float0 else jnp.where(kept, g, 0), gradient
            ),
        )

    guarded.defvjp(forward, backward)
    return guarded


def _refuse_negative(terms: Mapping[str, Term]) -> None:
    """Raises a ValueError for a loss that may be negative under a weighting of positive ones."""
    rows = {inspect.unwrap(row.function): row for row in losses.CATALOG.values()}
    for name, term in terms.items():
        # A partial has its function inside, and so has what deep supervision wraps.
        row = rows.get(inspect.unwrap(getattr(term.loss, "func", term.loss)))
        if row is not None and row.may_be_negative:
            able = [w.name for w in WEIGHTINGS.values() if not w.positive and w.form == "weights"]
            raise ValueError(
                "it takes logarithms, roots or ratios of the losses, and that of the term "
                f"{name!r} ({row.name}) may be negative, down to {row.lower_bound:g}; use one that "
                f"does not: {', '.join(able)}, or a combination of gradients such as upgrad"
            )


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
