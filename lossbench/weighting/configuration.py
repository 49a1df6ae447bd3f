"""A weighting, and a schedule, from plain values."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import optax

from lossbench._names import unknown
from lossbench.weighting._weighting import Weighting
from lossbench.weighting.catalog import WEIGHTINGS, Row, get

# Keys of a weighting that are no options of its function.
OWN = ("type", "shared", "skip_nonfinite")


class Configured(NamedTuple):
    """What a configuration says about how several losses become one update.

    Attributes:
        weighting: a `Weighting`, or a transformation of stacked gradients.
        shared: patterns of the parameters whose gradients it looks at; all if there are none.
        skip_nonfinite: whether a step goes on without a term that is not finite.
    """

    weighting: Weighting | optax.GradientTransformationExtraArgs
    shared: tuple[str, ...] = ()
    skip_nonfinite: bool = False


def from_config(config: Mapping[str, Any] | str, terms: Sequence[str]) -> Configured:
    """A weighting from its type and its options.

    Args:
        config: `{"type": NAME, option: ...}`, or the name alone. Two keys belong to every type:
            "skip_nonfinite" (true leaves a term out of a step in which it is not finite) and, where
            gradients are looked at, "shared" (patterns of the names of parameters). An option that
            has something for each term may be a mapping of their names, one that says which term
            may be its name; a schedule is `{"schedule": NAME_OF_OPTAX, argument: ...}`.
        terms: the names of the terms, in their order.

    Raises:
        ValueError: for a type or an option that there is none of, or a value that does not fit.

    Example:
        >>> from_config({"type": "pcgrad", "shared": "head/*"}, ["dice", "ce"]).shared
        ('head/*',)
    """
    config = {"type": config} if isinstance(config, str) else config
    if not isinstance(config, Mapping) or not isinstance(config.get("type"), str):
        raise ValueError(f'weighting: expected {{"type": NAME, option: ...}}, got {config!r}')
    name = config["type"]
    function = get(name)
    row = WEIGHTINGS.get(name)
    build = (row.weighting if row else None) or function
    known = inspect.signature(build).parameters
    options = {k: _option(v, terms) for k, v in config.items() if k not in OWN}
    # How many terms there are is known, and a training draws from its own seed.
    allowed = [option for option in known if option not in (*OWN, "terms", "seed")]
    shares = "shared" in known or row is None or _looks(row)
    everywhere = ["shared"] * shares + ["skip_nonfinite"]
    for option in options:
        if option not in allowed:
            raise unknown(f"option of the weighting {name}", option, [*allowed, *everywhere])
    for option, value in options.items():
        if option == "reference" and known[option].annotation is int and isinstance(value, str):
            if value not in terms:
                raise unknown(f"term in {option!r} of the weighting {name}", value, terms)
            options[option] = list(terms).index(value)
    if "terms" in known:
        options.setdefault("terms", len(terms))
    skip = config.get("skip_nonfinite", False)
    if not isinstance(skip, bool):
        raise ValueError(f"weighting {name!r}: skip_nonfinite must be true or false, got {skip!r}")
    if "skip_nonfinite" in known:
        options["skip_nonfinite"] = skip
    shared = _patterns(name, config.get("shared", ()))
    if "shared" in known:  # a transformation that looks at them itself
        options["shared"], shared = shared, ()
    try:
        weighting = build(**options)
        if isinstance(weighting, Weighting):
            _check_weights(weighting.init(len(terms)))
    except (TypeError, ValueError) as error:
        # An option is missing, or is of a kind that the function cannot take.
        raise ValueError(f"weighting {name!r}: {error}") from error
    if shared and not (isinstance(weighting, Weighting) and weighting.needs_gramian):
        raise ValueError(
            f"weighting {name!r}: 'shared' has no effect on it; it is for those that weigh by the "
            f"gradients: {', '.join(n for n, r in WEIGHTINGS.items() if _looks(r))}"
        )
    return Configured(weighting, shared, skip)


def _patterns(name: str, shared: Any) -> tuple[str, ...]:
    """Patterns of names, from one or a list of them."""
    patterns = [shared] if isinstance(shared, str) else shared
    if not isinstance(patterns, list | tuple) or not all(isinstance(p, str) for p in patterns):
        raise ValueError(
            f"weighting {name!r}: shared must be a pattern of names of parameters, or a list of "
            f"them, got {shared!r}"
        )
    return tuple(patterns)


def _check_weights(state: Any) -> None:
    """Raises a ValueError for weights that a training cannot begin with."""
    weights = [float(weight) for weight in getattr(state, "weights", ())]
    if any(weight < 0 for weight in weights):
        raise ValueError(f"a weight is below 0, got {weights}: terms are minimized")
    if weights and not any(weights):
        raise ValueError("every weight is 0: nothing would be trained")


def _looks(row: Row) -> bool:
    """Whether a weighting looks at gradients of a part of the parameters."""
    return (
        row.form in ("norms", "gramian") or "shared" in inspect.signature(row.function).parameters
    )


def schedule(config: Mapping[str, Any]) -> Callable:
    """One of optax's schedules, from its name and its arguments.

    Raises:
        ValueError: for a name or arguments that optax does not have.

    Example:
        >>> rise = {"schedule": "linear_schedule", "init_value": 0, "end_value": 1}
        >>> float(schedule({**rise, "transition_steps": 4})(1))
        0.25
    """
    options = dict(config)
    name = options.pop("schedule", "")
    known = [n for n in dir(optax.schedules) if n.endswith("_schedule") and n[0] != "_"]
    if name not in known:
        raise unknown("schedule of the weight", name, known)
    try:
        return getattr(optax.schedules, name)(**options)
    except TypeError as error:
        raise ValueError(f"weight: {error}") from error


def _option(value: Any, terms: Sequence[str]) -> Any:
    """A mapping of all terms as a list in their order, a schedule as a function."""
    if isinstance(value, Mapping):
        if "schedule" in value:
            return schedule(value)
        for name in value:
            if name not in terms:
                raise unknown("term in an option of the weighting", name, terms)
        missing = [name for name in terms if name not in value]
        if missing:
            raise ValueError(f"weighting: an option names some terms, but not {missing}")
        return [_option(value[name], terms) for name in terms]
    if isinstance(value, list | tuple):
        return [_option(item, terms) for item in value]
    return value
