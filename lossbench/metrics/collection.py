"""Several metrics of one stream, which count once what more than one of them needs."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

from lossbench import _checks
from lossbench.metrics._cases import check_alike, static


class Member(NamedTuple):
    """A metric of a collection, without its sums.

    Attributes:
        name: what the collection calls it.
        place: which of the collection's sums are its own.
        structure: the metric and its options.
    """

    name: str
    place: int
    structure: Any

    def state(self, sums: Any) -> Any:
        """The state of this metric."""
        return jax.tree.unflatten(self.structure, sums[self.place])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Collection:
    """States of several metrics as one, which takes batches, merges and computes.

    Metrics that are made of the same sums share them: those of counted pixels their counts, which
    come from one confusion matrix a batch, and those of ranked scores one histogram. It costs what
    the most expensive metric of each kind does, in time and in memory.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import metrics
        >>> room = {"cases": 2, "num_classes": 2}
        >>> several = Collection.of(
        ...     dice=metrics.Dice.empty(**room),
        ...     iou=metrics.Iou.empty(**room),
        ...     hd95=metrics.Hd95.empty(**room, spacing=(0.5,)),
        ... )
        >>> several = several.update(
        ...     predictions=jnp.array([[0, 1, 1], [1, 1, 0]]),
        ...     labels=jnp.array([[0, 1, 0], [1, 1, 0]]),
        ...     case=jnp.array([0, 1]),
        ... )
        >>> for name, scores in several.compute().items():
        ...     print(name, round(float(scores.mean), 4))
        dice 0.8333
        iou 0.75
        hd95 0.2375
        >>> len(several.sums)  # Dice and IoU are of the same counts
        2
    """

    # The leaves of one state for each kind of sums. Not annotated so: JAX builds trees of other
    # leaves (NumPy, shardings) with it.
    sums: Any
    members: tuple[Member, ...] = static(())

    @classmethod
    def of(cls, **states: Any) -> "Collection":
        """A collection of these states.

        Args:
            states: a state of each metric, by the name under which `compute` returns it. They have
                seen nothing, or all the same.

        Raises:
            ValueError: if there is none, or if two that would share sums have different ones.
        """
        if not states:
            raise ValueError("states: expected at least one, got none")
        found: dict[Any, tuple[int, str]] = {}
        sums: list[tuple[Array, ...]] = []
        members = []
        for name, state in states.items():
            leaves, structure = jax.tree.flatten(state)
            shared_as = getattr(state, "made_of", name)
            place, first = found.setdefault((shared_as, _shapes(leaves)), (len(sums), name))
            if place == len(sums):
                sums.append(tuple(leaves))
            elif not _same(sums[place], leaves):
                raise ValueError(
                    f"states: expected {first!r} and {name!r} to have seen the same, since they "
                    "share what they count; got different sums"
                )
            members.append(Member(name, place, structure))
        return cls(tuple(sums), tuple(members))

    def update(self, **arrays: Any) -> "Collection":
        """Adds a batch.

        Args:
            arrays: what the metrics' own `update` takes, by name; each metric is given the names
                that it knows. An array that is None is as if it were not there. Masks (bool) as
                labels serve metrics of scores and, with `num_classes=2`, those of class ids alike.

        Raises:
            ValueError: if a metric lacks an array, or no metric knows one.
        """
        arrays = {name: array for name, array in arrays.items() if array is not None}
        taken = {member.name: _bound(member, self.sums, arrays) for member in self._firsts()}
        known = set().union(*taken.values())
        if strange := sorted(set(arrays) - known):
            raise ValueError(f"{strange[0]}: no metric takes it; they take {', '.join(_all(self))}")
        # Checks of values raise at once outside of a program alone.
        return (_updated if _checks.of_values() else _update)(self, arrays)

    def merge(self, other: "Collection") -> "Collection":
        """The collection that has seen what both have.

        Raises:
            ValueError: if the other is of other metrics or options.
        """
        if not isinstance(other, Collection):
            raise ValueError(f"other: expected Collection, got {type(other).__name__}")
        names, others = ([m.name for m in x.members] for x in (self, other))
        if names != others:
            raise ValueError(f"other: expected the metrics {names}, got {others}")
        for mine, its in zip(self.states().values(), other.states().values(), strict=True):
            check_alike(mine, its)
        return self._with([m.state(self.sums).merge(m.state(other.sums)) for m in self._firsts()])

    def compute(self) -> dict[str, Any]:
        """What each metric comes to, by its name. Pure: calling it twice changes nothing."""
        return {name: state.compute() for name, state in self.states().items()}

    @property
    def takes(self) -> frozenset[str]:
        """The names of the arrays that `update` takes for one metric or another."""
        return frozenset(_all(self))

    def states(self) -> dict[str, Any]:
        """The state of each metric, by its name."""
        return {member.name: member.state(self.sums) for member in self.members}

    def _firsts(self) -> list[Member]:
        """One metric for each kind of sums, in their order."""
        return list({m.place: m for m in reversed(self.members)}.values())[::-1]

    def _with(self, states: list[Any]) -> "Collection":
        sums = tuple(tuple(jax.tree.leaves(state)) for state in states)
        return dataclasses.replace(self, sums=sums)


def _updated(collection: Collection, arrays: Mapping[str, Array]) -> Collection:
    states = []
    for member in collection._firsts():
        taken = _bound(member, collection.sums, arrays)
        states.append(member.state(collection.sums).update(**taken))
    return collection._with(states)


# One program: kinds of sums that are made from the same confusion matrix count it once.
_update = jax.jit(_updated)


def _bound(member: Member, sums: Any, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays that a metric takes."""
    parameters = _parameters(member, sums)
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arrays:
            given = ", ".join(sorted(arrays)) or "nothing"
            raise ValueError(f"{name}: expected by the metric {member.name!r}, got {given}")
    return {name: array for name, array in arrays.items() if name in parameters}


def _parameters(member: Member, sums: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(member.state(sums).update).parameters


def _all(collection: Collection) -> list[str]:
    names = (_parameters(member, collection.sums) for member in collection.members)
    return sorted(set().union(*names))


def _shapes(leaves: list[Array]) -> tuple[Any, ...]:
    return tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)


def _same(ours: tuple[Array, ...], theirs: list[Array]) -> bool:
    """Whether two states hold the same; they may, if their values are not known yet."""
    if any(isinstance(x, Tracer) for x in (*ours, *theirs)):
        return True
    pairs = zip(ours, theirs, strict=True)
    return all(bool(jnp.array_equal(x, y, equal_nan=True)) for x, y in pairs)
