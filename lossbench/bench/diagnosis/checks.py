"""What a diagnosis takes, checked before anything is measured."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lossbench.bench.diagnosis.moment import catalog_row
from lossbench.objective import Objective, Term
from lossbench.training.state import Model


def check_objective(objective: Any) -> None:
    """Raises a ValueError for what is no objective."""
    if not isinstance(objective, Objective):
        raise ValueError(
            f"objective: expected a lossbench.objective.Objective, got {_kind(objective)}; "
            "Objective.from_config makes one of plain values"
        )


def checked_batches(batches: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The batches as a list of dicts.

    Raises:
        ValueError: for no batch, one that is no dict of arrays with an "image", or a single one
            in place of several.
    """
    if isinstance(batches, Mapping):
        raise ValueError(
            f"batches: expected several, got one, a dict with {_names(batches)}; "
            "[batch] is a list of one"
        )
    if not isinstance(batches, Iterable) or isinstance(batches, str):
        raise ValueError(f"batches: expected dicts of arrays, got {_kind(batches)}")
    found = []
    for i, batch in enumerate(batches):
        if not isinstance(batch, Mapping):
            raise ValueError(
                f'batch {i}: expected a dict of arrays with an "image", got {_kind(batch)}'
            )
        if "image" not in batch:
            raise ValueError(
                f'batch {i}: the model takes its "image", and it has only {_names(batch)}'
            )
        for name, array in batch.items():
            if not _is_array(array):
                raise ValueError(
                    f"batch {i}: expected arrays of numbers, {name!r} is {_kind(array)}; "
                    "leave it out"
                )
        found.append(dict(batch))
    if not found:
        raise ValueError("no batch to look at: at least one is needed, and 16 tell more")
    return found


def checked_variables(variables: Any) -> dict[str, Any]:
    """The variables as a dict.

    Raises:
        ValueError: for variables without parameters.
    """
    if not isinstance(variables, Mapping):
        raise ValueError(
            f"variables: expected a dict with the parameters under 'params', got {_kind(variables)}"
        )
    if "params" not in variables:
        raise ValueError(
            "variables: expected the parameters under 'params', as in "
            f'{{"params": parameters}}; there are only {_names(variables)}'
        )
    return dict(variables)


def outputs_of(model: Model, variables: Mapping[str, Any], image: Any) -> dict[str, Any]:
    """The shapes of a model's outputs by name; nothing is computed.

    Raises:
        ValueError: if it gives something else than a dict of arrays.
    """
    collections = [name for name in variables if name != "params"]

    def call(variables: Any, image: Any) -> dict[str, Any]:
        given = model.apply(variables, image, **({"mutable": collections} if collections else {}))
        if collections and not (isinstance(given, tuple) and len(given) == 2):
            raise ValueError(
                "model: applied with `mutable=`, as its variables have "
                f"{_names(collections)}, it has to give its outputs and these, got {_kind(given)}"
            )
        outputs = given[0] if collections else given
        if not isinstance(outputs, Mapping):
            raise ValueError(
                'model: expected a dict of outputs, such as {"logits": ...}, got '
                f"{_kind(outputs)}; put it into one"
            )
        for name, output in outputs.items():
            leaves = jax.tree.leaves(output)
            if not all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
                raise ValueError(
                    f"model: expected a dict of arrays, its output {name!r} is {_kind(output)}"
                )
        return dict(outputs)

    return jax.eval_shape(call, dict(variables), image)


def check_labels(
    objective: Objective, batches: Sequence[Mapping[str, Any]], outputs: Mapping[str, Any]
) -> None:
    """Raises a ValueError for class ids that the logits have no channel for.

    Of terms with a loss of logits in the catalog; any other may mean something else by its labels.
    What `where` or per-example `weights` leave out may be anything.
    """
    for name, term in objective.terms.items():
        row = catalog_row(term)
        if row is None or "logits" not in row.needs:
            continue
        logits = outputs.get(term.inputs.get("logits", "logits"))
        shape = getattr(logits, "shape", ())
        classes = shape[-1] if shape else 0
        if classes < 2:  # one channel is a mask, whose labels are another matter
            continue
        for i, batch in enumerate(batches):
            counted = _counted(term, batch)
            if counted.size and (counted.min() < 0 or counted.max() >= classes):
                what = term.inputs.get("labels", "labels")
                raise ValueError(
                    f"batch {i}: {what!r} has class ids from {counted.min()} to {counted.max()}, "
                    f"and the term {name!r} allows 0 to {classes - 1}: its logits have {classes} "
                    "channels; pixels of no class are left out with `where`"
                )


def _counted(term: Term, batch: Mapping[str, Any]) -> np.ndarray:
    """The class ids of a batch that a term counts; none where its labels are no ids."""
    nothing = np.zeros(0, np.int32)
    given = batch.get(term.inputs.get("labels", "labels"))
    if given is None or "labels" not in inspect.signature(term.loss).parameters:
        return nothing
    labels = np.asarray(given)
    image = np.ndim(batch["image"])
    # Labels with an axis of classes are probabilities or one-hot.
    if labels.dtype.kind not in "iu" or labels.ndim != image - 1:
        return nothing
    mask = np.ones(labels.shape, bool)
    where = batch.get(term.inputs.get("where", "where"))
    if where is not None and np.shape(where) == labels.shape:
        mask &= np.asarray(where).astype(bool)
    weights = batch.get("weights")
    if weights is not None and np.shape(weights) == labels.shape[:1]:
        mask &= np.asarray(weights).reshape(-1, *[1] * (labels.ndim - 1)) > 0
    return labels[mask]


def _is_array(value: Any) -> bool:
    if isinstance(value, jax.Array):  # a key, which NumPy cannot read, is one
        return True
    return not isinstance(value, str | bytes | Mapping) and np.asarray(value).dtype.kind in "biufcV"


def _kind(value: Any) -> str:
    """What a value is, for a message: "a tuple", "an array of shape (2, 3)"."""
    if isinstance(value, jax.Array | np.ndarray):
        return f"an array of shape {value.shape}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _names(names: Iterable[Any]) -> str:
    return ", ".join(repr(str(name)) for name in names) or "nothing"
