"""Peers: which library has which of our losses, and how its equal is called."""

import functools
import importlib
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lossbench._names import unknown
from lossbench.bench.cost import measure, torch_peers
from lossbench.bench.cost.cases import Inputs
from lossbench.bench.cost.measure import Contestant


class Peer(NamedTuple):
    """A library.

    Attributes:
        module: where its losses are.
        package: its name on the package index.
        table: its losses on a problem, for a library of PyTorch; None for one of JAX.
    """

    module: str
    package: str
    table: Callable[[Any, torch_peers.Problem], torch_peers.Table] | None


PEERS = {
    "torch": Peer("torch", "torch", torch_peers.plain_torch),
    "monai": Peer("monai.losses", "monai", torch_peers.monai),
    "smp": Peer(
        "segmentation_models_pytorch.losses", "segmentation-models-pytorch", torch_peers.smp
    ),
    "kornia": Peer("kornia.losses", "kornia", torch_peers.kornia),
    "exacta": Peer("exacta.losses", "exacta", torch_peers.exacta),
    "optax": Peer("optax", "optax", None),
}


class Peers(NamedTuple):
    """The peers of a run: those that can be imported, and why others cannot.

    Attributes:
        modules: by name.
        versions: by name.
        absent: by name, the reason.
    """

    modules: dict[str, Any]
    versions: dict[str, str]
    absent: dict[str, str]


def names(text: str, option: str) -> list[str]:
    """The peers that an option lists: `all`, `none`, or names with commas between.

    Raises:
        ValueError: for a name that is none.

    Example:
        >>> names("monai,optax", "--peers")
        ['monai', 'optax']
    """
    if text in ("all", "none"):
        return list(PEERS) if text == "all" else []
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in PEERS:
            raise unknown(f"peer in {option}", name, [*PEERS, "all", "none"])
    return chosen


def load(chosen: Sequence[str]) -> Peers:
    """Imports the peers; one that is not there is no error."""
    peers = Peers({}, {}, {})
    for name in chosen:
        module, package, table = PEERS[name]
        try:
            loaded = torch_peers.load(module) if table else importlib.import_module(module)
            peers.modules[name] = loaded
            peers.versions[name] = importlib.metadata.version(package)
        except Exception as error:  # a broken installation raises anything
            peers.absent[name] = measure.reason(error)
    return peers


def contestants(
    loss: str, inputs: Inputs, peers: Peers, compiled: Sequence[str]
) -> Iterator[tuple[str, Contestant | str]]:
    """The peers that have this loss: name and contestant, or the reason why there is none.

    Args:
        loss: our name.
        inputs: the arrays.
        peers: the libraries.
        compiled: of which to take the `torch.compile` form, too.
    """
    problem: Any = None
    if any(PEERS[name].table for name in peers.modules):
        problem = torch_peers.Problem(importlib.import_module("torch"), inputs)
    for name, module in peers.modules.items():
        make = PEERS[name].table
        if make is None:
            function = jax_losses().get(loss)
            if function:
                yield name, _tried(lambda f=function, n=name: _compiled(n, f, inputs))
            continue
        table = make(module, problem)
        if loss not in table:
            continue
        for form in (False, True) if name in compiled else (False,):
            label = f"{name} compiled" if form else name
            yield (
                label,
                _tried(functools.partial(_of_torch, label, problem, table[loss], compile=form)),
            )


def _of_torch(label: str, problem: Any, build: Callable[[], Any], *, compile: bool) -> Contestant:
    return torch_peers.contestant(label, problem, build(), compile=compile)


def _compiled(name: str, function: Callable[..., jax.Array], inputs: Inputs) -> Contestant:
    arrays = (jnp.asarray(inputs.logits[0]), jnp.asarray(inputs.labels))
    return measure.compiled(name, function, arrays)


def _tried(make: Callable[[], Contestant]) -> Contestant | str:
    try:
        return make()
    except Exception as error:  # whatever a library raises is its row
        return measure.reason(error)


def jax_losses() -> dict[str, Callable[[jax.Array, jax.Array], jax.Array]]:
    """Optax's losses as functions of logits and ids; those that want masks get them in the jit."""

    def masks(x: jax.Array, y: jax.Array) -> jax.Array:
        return jax.nn.one_hot(y, x.shape[-1], dtype=x.dtype)

    def poly(x: jax.Array, y: jax.Array) -> jax.Array:
        return optax.losses.poly_loss_cross_entropy(x, masks(x, y), epsilon=1.0).mean()

    def dice(x: jax.Array, y: jax.Array, alpha: float = 0.5, beta: float = 0.5) -> jax.Array:
        return optax.losses.dice_loss(x, masks(x, y), smooth=5e-6, alpha=alpha, beta=beta).mean()

    return {
        "cross_entropy": lambda x, y: optax.softmax_cross_entropy_with_integer_labels(x, y).mean(),
        "binary_cross_entropy": lambda x, y: optax.sigmoid_binary_cross_entropy(
            x, masks(x, y)
        ).mean(),
        "sigmoid_focal": lambda x, y: optax.sigmoid_focal_loss(x, masks(x, y)).mean(),
        "poly_cross_entropy": poly,
        "dice": dice,
        "tversky": functools.partial(dice, alpha=0.3, beta=0.7),
        "generalized_dice": lambda x, y: optax.losses.multiclass_generalized_dice_loss(
            x, masks(x, y)
        ),
    }
