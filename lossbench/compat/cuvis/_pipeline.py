"""The loss nodes of a cuvis-ai pipeline as an objective."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lossbench._names import unknown
from lossbench.compat.cuvis import _anomaly, _nodes
from lossbench.objective import Objective, Term

NODES = {
    node.__name__: node
    for node in (
        _nodes.AnomalyBCEWithLogits,
        _nodes.CrossEntropyLoss,
        _anomaly.DeepSVDDSoftBoundaryLoss,
        _nodes.DiceLoss,
        _anomaly.DistinctnessLoss,
        _anomaly.ForegroundContrastLoss,
        _nodes.IoULoss,
        _anomaly.MSEReconstructionLoss,
        _anomaly.OrthogonalityLoss,
        _anomaly.SelectorDiversityRegularizer,
        _anomaly.SelectorEntropyRegularizer,
    )
}
# Arguments of every node that say nothing about its value.
OF_THE_PIPELINE = ("name", "execution_stages")


def read_pipeline(pipeline: str | Path | Mapping[str, Any]) -> Objective:
    """The objective of a cuvis-ai pipeline: the weighted sum of its loss nodes.

    A term is named after its node, has the node's `weight`, and takes its inputs under the names of
    the outputs that are connected to its ports, as the file writes them. The radius of
    `DeepSVDDSoftBoundaryLoss` is a parameter of the node: it is taken from `r_unconstrained` of the
    namespace, if that is there.

    Args:
        pipeline: a path, or the YAML text itself, or what it contains: `nodes`, each with `name`,
            `class_name` and `hparams`, and `connections`, each with `source` and `target` (or, as
            cuvis-ai wrote before 0.2, `class`, `params`, `from`, `to`). Nodes that are no losses
            are ignored.

    Returns:
        An objective. Its namespace needs one array for each output connected to a loss.

    Raises:
        ValueError: for text that is no pipeline; for a loss node that is not known, with those that
            are; for an option or a port that a node does not have; for a port that is not connected
            or connected twice.

    Example:
        >>> import jax.numpy as jnp
        >>> text = '''
        ... nodes:
        ... - {name: data, class_name: cuvis_ai.node.data.LentilsAnomalyDataNode}
        ... - name: bce
        ...   class_name: cuvis_ai.node.losses.AnomalyBCEWithLogits
        ...   hparams: {weight: 10.0}
        ... connections:
        ... - {source: head.outputs.logits, target: bce.inputs.predictions}
        ... - {source: data.outputs.mask, target: bce.inputs.targets}
        ... '''
        >>> objective = read_pipeline(text)
        >>> dict(objective.terms["bce"].inputs)
        {'predictions': 'head.outputs.logits', 'targets': 'data.outputs.mask'}
        >>> logits, mask = jnp.zeros((1, 2, 2, 1)), jnp.zeros((1, 2, 2, 1), bool)
        >>> value = objective({"head.outputs.logits": logits, "data.outputs.mask": mask})
        >>> print(f"{value.total:.2f} = {value.weights['bce']:.0f} * {value.terms['bce']:.3f}")
        6.93 = 10 * 0.693
    """
    content = pipeline if isinstance(pipeline, Mapping) else _parse(pipeline)
    nodes = content.get("nodes") if isinstance(content, Mapping) else None
    if not isinstance(nodes, list):
        raise ValueError("a cuvis-ai pipeline needs 'nodes', a list; this has none")
    sources = dict(_connections(content.get("connections") or []))
    terms: dict[str, Term] = {}
    for position, node in enumerate(nodes):
        found = _term(f"nodes[{position}]", node, sources)
        if found is not None:
            name, term = found
            if name in terms:
                raise ValueError(f"nodes[{position}]: two loss nodes are named {name!r}")
            terms[name] = term
    if not terms:
        raise ValueError(f"no node of this pipeline is a loss; known are: {', '.join(NODES)}")
    return Objective(terms)


def _parse(pipeline: str | Path) -> Any:
    """A path is a `Path`, or text of a single line, which no pipeline has."""
    text = pipeline
    if isinstance(pipeline, Path) or "\n" not in pipeline:
        text = Path(pipeline).read_text(encoding="utf-8")
    try:
        return yaml.safe_load(str(text))
    except yaml.YAMLError as error:
        raise ValueError(f"not a cuvis-ai pipeline, as it is no YAML: {error}") from error


def _connections(connections: Any) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """For each port of a node, `(node, port)`, the outputs connected to it."""
    if not isinstance(connections, list):
        raise ValueError(f"connections: expected a list, got {connections!r}")
    sources: dict[tuple[str, str], list[str]] = {}
    for position, connection in enumerate(connections):
        one = connection if isinstance(connection, Mapping) else {}
        source, target = one.get("source", one.get("from")), one.get("target", one.get("to"))
        node, inputs, port = str(target).rpartition(".inputs.")
        if not isinstance(source, str) or not inputs:
            raise ValueError(
                f"connections[{position}]: expected a source 'node.outputs.port' and a target "
                f"'node.inputs.port', got {connection!r}"
            )
        sources.setdefault((node, port), []).append(source)
    yield from sources.items()


def _term(
    place: str, node: Any, sources: Mapping[tuple[str, str], list[str]]
) -> tuple[str, Term] | None:
    """The term of a loss node with its name; None for another node."""
    if not isinstance(node, Mapping):
        raise ValueError(f"{place}: expected a node with name and class_name, got {node!r}")
    path = str(node.get("class_name", node.get("class", "")))
    module, _, kind = path.rpartition(".")
    if not path:
        raise ValueError(f"{place}: a node needs a class_name")
    is_loss = module.split(".")[-1] == "losses" or kind.endswith(("Loss", "Regularizer"))
    if not is_loss and kind not in NODES:
        return None
    name = str(node.get("name") or kind)
    place = f"{place} ({name})"
    if kind not in NODES:
        raise ValueError(f"{place}: {unknown('loss node of cuvis-ai', kind, NODES)}")
    options = dict(node.get("hparams", node.get("params")) or {})
    for argument in OF_THE_PIPELINE:
        options.pop(argument, None)
    fields = {field.name: field.default for field in dataclasses.fields(NODES[kind])}
    weight: Any = options.pop("weight", fields["weight"])
    for option in options:
        if option not in fields:
            raise ValueError(f"{place}: {unknown(f'option of {kind}', option, fields)}")
    if options.get("reduction") == "none":
        raise ValueError(f'{place}: reduction: a term needs one value, "mean" or "sum"')
    try:
        loss = NODES[kind](weight=1.0, **options)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    return name, Term(loss, weight, inputs=_inputs(place, name, list(_ports(loss)), sources))


def _ports(loss: Any) -> list[str]:
    """What must be connected: what has a default is a parameter that cuvis-ai's node holds."""
    parameters = inspect.signature(loss).parameters.items()
    return [name for name, parameter in parameters if parameter.default is parameter.empty]


def _inputs(
    place: str, name: str, ports: list[str], sources: Mapping[tuple[str, str], list[str]]
) -> dict[str, str]:
    """Which output each port of a node takes."""
    for node, port in sources:
        if node == name and port not in ports:
            raise ValueError(f"{place}: {unknown('port', port, ports)}")
    inputs = {}
    for port in ports:
        connected = sources.get((name, port), [])
        if len(connected) != 1:
            found = f"these are: {', '.join(connected)}" if connected else "none is"
            raise ValueError(f"{place}: port {port} needs one output connected to it, and {found}")
        inputs[port] = connected[0]
    return inputs
