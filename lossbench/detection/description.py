"""A detector's model as plain values, from which the same model is built again."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lossbench import models
from lossbench._names import find, unknown
from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.detection.classical import CLASSICAL, Classical
from lossbench.training.pretraining import Pretrained

# A detector that is a network of its own, with scores or logits of what is anomalous.
NETWORK = "network"
SVDD = "svdd"
KINDS = (SVDD, NETWORK, *CLASSICAL)


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a detector's model consists of.

    Attributes:
        kind: one of `KINDS`.
        network: the Linen module, or the classical detector.
        pipeline: the preprocessing before it; None without.
        svdd: the sphere around its embeddings; None without.
    """

    kind: str
    network: Any
    pipeline: Pipeline | None
    svdd: DeepSvdd | None


def parts_of(model: Any) -> Parts:
    """A model's parts: sphere, preprocessing, network."""
    svdd = model if isinstance(model, DeepSvdd) else None
    inner = model if svdd is None else svdd.model
    pipeline = inner.pipeline if isinstance(inner, Preprocessed) else None
    network = inner.model if isinstance(inner, Preprocessed) else inner
    if isinstance(network, Pretrained):
        network = network.model
    if isinstance(network, Classical):
        return Parts(network.kind, network, pipeline, None)
    return Parts(NETWORK if svdd is None else SVDD, network, pipeline, svdd)


def assembled(parts: Parts) -> Any:
    """The model of these parts, without what a training alone needs."""
    model = parts.network
    if parts.pipeline is not None:
        model = Preprocessed(parts.pipeline, model)
    if parts.svdd is None:
        return model
    return dataclasses.replace(parts.svdd, model=model, checks=None)


def is_pixelwise(model: Any) -> bool:
    """Whether a model scores each pixel by itself, whatever is around it."""
    network = parts_of(model).network
    return (
        isinstance(network, Classical)
        or getattr(network, "architecture", None) == "mlp"
        or getattr(network, "head", None) == "pixel"
    )


def describe(model: Any, name: str | None = None) -> dict[str, Any]:
    """The model as plain values.

    Args:
        model: what `parts_of` takes.
        name: of the network in a configuration; needed for one of the user's own.

    Raises:
        ValueError: for a network without a name, or with an option that JSON does not have.
    """
    parts = parts_of(model)
    described: dict[str, Any] = {"kind": parts.kind}
    if not isinstance(parts.network, Classical):
        described["model"] = _network(parts.network, name)
    described["preprocess"] = None if parts.pipeline is None else parts.pipeline.config()
    if parts.svdd is not None:
        described["svdd"] = dataclasses.asdict(parts.svdd.options)
        described["warmup_steps"] = parts.svdd.warmup_steps
    return described


def rebuild(described: Mapping[str, Any], wavelengths: tuple[float, ...] | None) -> Any:
    """The model of a description.

    Args:
        described: what `describe` gives.
        wavelengths: of the channels that come in.

    Raises:
        ValueError: for what is not known here.
        KeyError: for what is missing.
    """
    kind = described["kind"]
    if kind not in KINDS:
        raise unknown("kind of detector", kind, KINDS)
    if kind in CLASSICAL:
        network = Classical(kind)
    else:
        entry = described["model"]
        module = find("model", entry["name"], models.MODELS)
        try:
            network = module(**{k: _tuples(v) for k, v in entry["options"].items()})
        except TypeError as error:
            raise ValueError(f"the model {entry['name']}: {error}") from error
    steps, svdd = described["preprocess"], None
    pipeline = None if steps is None else Pipeline.from_config(steps, wavelengths=wavelengths)
    if kind == SVDD:
        options = SvddOptions.from_config(described["svdd"])
        svdd = DeepSvdd(network, options, warmup_steps=int(described["warmup_steps"]))
    return assembled(Parts(kind, network, pipeline, svdd))


def _network(network: Any, name: str | None) -> dict[str, Any]:
    if name is None:
        name = next((n for n, module in models.MODELS.items() if type(network) is module), None)
    if name is None:
        raise ValueError(
            f"model: {type(network).__name__} has no name in lossbench.models.MODELS; give the "
            "one that a configuration would have, package.module:Name or path/to/file.py:Name"
        )
    fields = [f.name for f in dataclasses.fields(network) if f.name not in ("parent", "name")]
    options = {field: _plain(name, field, getattr(network, field)) for field in fields}
    return {"name": name, "options": options}


def _plain(name: str, field: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(name, field, one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"model {name}: {field}: only plain values can be saved, got {type(value).__name__}"
    )


def _tuples(value: Any) -> Any:
    """Lists as tuples: a module is a key of caches."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
