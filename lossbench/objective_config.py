"""An objective as plain values: the forms that a configuration may have, brought into one."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from lossbench import losses
from lossbench._names import unknown
from lossbench.weighting.configuration import schedule

FORMS = (
    "an objective needs 'terms', a mapping of names to options, or 'loss', a loss by its 'type' "
    "with its options"
)
KEYS = ("terms", "loss", "weighting")
# The default of `weighting.softmax`, as a share of equal weights.
SOFTMAX_FLOOR = 0.1
COMPOUND = ("type", "components", "learnable_weights")


class Entry(NamedTuple):
    """One term as a configuration has it.

    Attributes:
        place: where it stands, for errors: "term 'dice'" or "components[1]".
        name: of the term.
        options: its "loss" (its name if there is none), "weight", "inputs", "deep_supervision" (the
            weights of levels), and the loss's options.
    """

    place: str
    name: str
    options: Mapping[str, Any]


class Parts(NamedTuple):
    """A configuration taken apart.

    Attributes:
        terms: in their order; in place of one that is none, what is wrong.
        weighting: its type and options, or None.
    """

    terms: list[Entry | str]
    weighting: dict[str, Any] | None


def normal_form(config: Mapping[str, Any] | str) -> dict[str, Any]:
    """The same objective as `{"terms": {name: options}}`, whichever form it came in.

    With a weighting of the terms it has `"weighting": {"type": name, option: ...}`, too.

    Args:
        config: as for `Objective.from_config`.

    Raises:
        ValueError: for what is no objective; names of losses and options are not looked at.

    Example:
        >>> loss = '{"type": "compound", "components": [{"type": "dice", "weight": 0.5}]}'
        >>> normal_form('{"loss": %s}' % loss)
        {'terms': {'dice': {'weight': 0.5}}}
    """
    found = parts(config)
    refuse([wrong for wrong in found.terms if isinstance(wrong, str)])
    terms = [entry for entry in found.terms if isinstance(entry, Entry)]
    form: dict[str, Any] = {"terms": {entry.name: dict(entry.options) for entry in terms}}
    if found.weighting is not None:
        form["weighting"] = found.weighting
    return form


def parts(config: Any) -> Parts:
    """The terms and the weighting of a configuration; its terms are not checked yet.

    Raises:
        ValueError: where there are no terms to speak of.
    """
    config = _plain(_parsed(config) if isinstance(config, str) else config)
    if not isinstance(config, Mapping):
        raise ValueError(f"{FORMS}; got {config!r}")
    for key in config:
        if key not in KEYS:
            raise unknown("key of an objective", key, KEYS)
    if "terms" in config and "loss" in config:
        raise ValueError("an objective is given by 'terms' or by 'loss', not by both")
    weighting = config.get("weighting")
    if isinstance(weighting, str):
        weighting = {"type": weighting}
    if "loss" in config:
        return _of_loss(config["loss"], weighting)
    terms = config.get("terms")
    if not isinstance(terms, Mapping) or not terms:
        raise ValueError(f"{FORMS}; got {terms!r}")
    found = [
        Entry(f"term {name!r}", name, options or {})
        if options is None or isinstance(options, Mapping)
        else f"term {name!r}: expected a mapping of options, got {options!r}"
        for name, options in terms.items()
    ]
    return Parts(found, weighting)


def refuse(errors: Sequence[str]) -> None:
    """Raises a ValueError that holds all the errors, if there are any."""
    if len(errors) == 1:
        raise ValueError(errors[0])
    if errors:
        raise ValueError("\n  ".join([f"{len(errors)} errors:", *errors]))


def term_arguments(entry: Entry) -> dict[str, Any]:
    """The arguments of the `Term` that an entry describes.

    Raises:
        ValueError: for an unknown loss, a weight that is none, or inputs that are no mapping.
    """
    options = dict(entry.options)
    loss = options.pop("loss", entry.name)
    if not isinstance(loss, str):
        raise ValueError(f"the loss must be a name, got {loss!r}")
    weight, inputs = options.pop("weight", 1.0), options.pop("inputs", {})
    if not isinstance(inputs, Mapping):
        raise ValueError(f"inputs must map arguments to names, got {inputs!r}")
    function, levels = losses.get(loss), options.pop("deep_supervision", None)
    if levels is not None:
        function = losses.deep_supervision(function, weights=levels)
    return {
        "loss": function,
        "weight": _weight(weight),
        "options": {name: _option(value) for name, value in options.items()},
        "inputs": dict(inputs),
    }


def _of_loss(loss: Any, weighting: Any) -> Parts:
    """One loss by its type, or the components of a compound one."""
    if not isinstance(loss, Mapping) or loss.get("type") != "compound":
        return Parts(_components({"loss": loss}), weighting)
    wrong = [str(unknown("key of a compound loss", k, COMPOUND)) for k in loss if k not in COMPOUND]
    components, learnable = loss.get("components"), loss.get("learnable_weights", False)
    found = []
    if isinstance(components, list) and components:
        found = _components({f"components[{i}]": c for i, c in enumerate(components)})
    else:
        wrong.append(
            'components: expected a list of losses, {"type": NAME, "weight": NUMBER, ...} each; '
            f"got {components!r}"
        )
    if not isinstance(learnable, bool):
        wrong.append(f"learnable_weights: expected true or false, got {learnable!r}")
    elif learnable and weighting is not None:
        wrong.append("learnable_weights: the objective has a 'weighting' already")
    elif learnable:
        found, weighting = _learnable(found)
    return Parts([*found, *wrong], weighting)


def _learnable(found: list[Entry | str]) -> tuple[list[Entry | str], dict[str, Any]]:
    """Components whose weights are where a learned softmax begins; their sum stays as it is."""
    terms: list[Entry | str] = []
    initial: dict[str, float] = {}
    for entry in found:
        if isinstance(entry, Entry):
            options = dict(entry.options)
            weight = options.pop("weight", 1.0)
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if number and 0 < weight < math.inf:
                initial[entry.name] = float(weight)
                entry = Entry(entry.place, entry.name, options)
            else:
                entry = (
                    f"{entry.place}: a weight that is learned begins at a finite number above 0, "
                    f"got {weight!r}"
                )
        terms.append(entry)
    total = sum(initial.values())
    weighting: dict[str, Any] = {"type": "softmax", "initial": initial, "total": total}
    least = min(initial.values(), default=1.0) * len(initial) / (total or 1.0)
    if least <= SOFTMAX_FLOOR:  # which would not let the smallest begin where it is written
        weighting["floor"] = least / 2
    return terms, weighting


def _components(components: Mapping[str, Any]) -> list[Entry | str]:
    """Terms from losses by type, each with its place. Two of a kind are called dice and dice_2."""
    found: list[Entry | str] = []
    given = [c["name"] for c in components.values() if isinstance(c, Mapping) and "name" in c]
    taken = {name for name in given if isinstance(name, str)}
    for place, component in components.items():
        options = dict(component) if isinstance(component, Mapping) else {}
        kind, name = options.pop("type", None), options.pop("name", None)
        if not isinstance(kind, str) or "loss" in options:
            found.append(f'{place}: expected {{"type": NAME_OF_A_LOSS, ...}}, got {component!r}')
        elif kind == "compound":
            found.append(f"{place}: a compound loss inside another; list its components there")
        elif name is not None and (not isinstance(name, str) or not name):
            found.append(f"{place}: the name must be a text, got {name!r}")
        elif name is not None and given.count(name) > 1:
            found.append(f"{place}: the name {name!r} is given twice")
        else:
            name = name or _free(kind.rpartition(":")[2], taken)
            taken.add(name)
            found.append(Entry(place, name, options if name == kind else {"loss": kind, **options}))
    return found


def _free(name: str, taken: set[str]) -> str:
    """The name, or with the first number from 2 on that makes it a new one."""
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}_{number}"
    return free


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        near = text[max(error.pos - 20, 0) : error.pos + 20]
        raise ValueError(
            f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}, near {near!r}"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that is there twice, `json` would drop the first in silence."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the key {name!r} is there twice in one object")
    return dict(pairs)


def is_mapping(value: Any) -> bool:
    """True for what has keys and values; those of ml_collections are no `Mapping`."""
    return isinstance(value, Mapping) or (hasattr(value, "keys") and hasattr(value, "items"))


def _plain(value: Any) -> Any:
    """Mappings as dicts and tuples as lists, at every depth."""
    if is_mapping(value):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _option(value: Any) -> Any:
    """Lists of numbers (class weights, a matrix of distances) as an array; all else as it is."""
    return jnp.asarray(value, jnp.float32) if _numbers(value) else value


def _numbers(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, int | float) or _numbers(item) for item in value)


def _weight(weight: Any) -> float | Callable:
    if isinstance(weight, Mapping):
        return schedule(weight)
    if callable(weight):
        return weight
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError(f"weight must be a number or a schedule, got {weight!r}")
    if not 0 <= weight < math.inf:
        raise ValueError(
            f"weight must be finite and at least 0, got {weight!r}: terms are minimized"
        )
    return weight
