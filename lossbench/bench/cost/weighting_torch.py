"""TorchJD's weightings on the same network, parameters, batch and terms in PyTorch, eager.

Three of its ways are measured where a method has them: "torchjd autojac" takes all gradients by one
`torch.vmap` and combines them, "torchjd autojac, one by one" does without `vmap`, and "torchjd
autogram" computes the Gramian layer by layer, then one more backward pass with the weights. That
last way with the Gramian of the last layer is "torchjd autogram, last layer".
"""

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lossbench.bench.cost import measure, torch_peers
from lossbench.bench.cost.measure import Contestant
from lossbench.bench.cost.weighting import LOSSES, Problem
from lossbench.bench.cost.weighting_unet import network

# Our names -> classes of `torchjd.aggregation`, with the options they cannot do without.
AGGREGATORS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "mgda": ("MGDA", lambda terms: {}),
    "pcgrad": ("PCGrad", lambda terms: {}),
    "gradvac": ("GradVac", lambda terms: {}),
    "graddrop": ("GradDrop", lambda terms: {}),
    "imtl_g": ("IMTLG", lambda terms: {}),
    "cagrad": ("CAGrad", lambda terms: {"c": 0.5}),
    "nash_mtl": ("NashMTL", lambda terms: {"n_tasks": terms}),
    "aligned_mtl": ("AlignedMTL", lambda terms: {}),
    "upgrad": ("UPGrad", lambda terms: {}),
    "dual_projection": ("DualProj", lambda terms: {}),
    "fairgrad": ("FairGrad", lambda terms: {"alpha": 1.0}),
    "config": ("ConFIG", lambda terms: {}),
}
# Our names -> classes of `torchjd.scalarization`: weightings of losses.
SCALARIZERS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "random": ("Random", lambda terms: {}),
    "uncertainty": ("UW", lambda terms: {"shape": terms}),
    "dwa": ("DWA", lambda terms: {}),
    "famo": ("FAMO", lambda terms: {"shape": terms}),
    "geometric": ("GeometricMean", lambda terms: {}),
    "stch": ("STCH", lambda terms: {"mu": 1.0}),
}


class TorchJD(NamedTuple):
    """The modules of PyTorch and TorchJD that are used.

    Attributes:
        torch: PyTorch.
        aggregation: of TorchJD; so are the next three.
        scalarization: weightings of losses.
        autojac: all gradients at once.
        autogram: the Gramian alone.
        versions: of the packages.
    """

    torch: Any
    aggregation: Any
    scalarization: Any
    autojac: Any
    autogram: Any
    versions: dict[str, str]


def load() -> tuple[TorchJD | None, dict[str, str]]:
    """The peer, or the reason why there is none."""
    try:
        torch = torch_peers.load("torch")
        parts = TorchJD._fields[1:-1]
        modules = {name: importlib.import_module(f"torchjd.{name}") for name in parts}
        versions = {name: importlib.metadata.version(name) for name in ("torch", "torchjd")}
    except Exception as error:  # a broken installation raises anything
        return None, {"torchjd": measure.reason(error)}
    return TorchJD(torch, versions=versions, **modules), {}


class Step:
    """The network in PyTorch with a batch; makes contestants of functions of the losses."""

    def __init__(self, torch: Any, problem: Problem, terms: int) -> None:
        self.torch, self.terms = torch, terms
        self.device = torch_peers.device_of(torch)
        self.network = network(torch, problem.params).to(self.device)
        image = torch.from_numpy(np.moveaxis(problem.image, -1, 1).copy())
        self.image = image.to(self.device)
        self.labels = torch.from_numpy(problem.labels.astype(np.int64)).to(self.device)

    def contestant(self, name: str, backward: Callable[[list[Any]], Any]) -> Contestant:
        """Forward pass and losses, then `backward` of these, from no gradients."""
        torch = self.torch

        def start() -> Any:
            self.network.zero_grad()
            values = losses(torch, self.network(self.image), self.labels, self.terms)
            backward(values)
            return torch.stack([value.detach() for value in values]).sum(), None

        def wait(out: Any) -> None:
            if self.device == "cuda":
                torch.cuda.synchronize()

        return Contestant(name, start, wait, queues=self.device == "cuda")


def plain(name: str, there: TorchJD, problem: Problem, terms: int) -> Contestant:
    """One backward pass of the plain sum."""
    step = Step(there.torch, problem, terms)
    return step.contestant(name, lambda values: there.torch.stack(values).sum().backward())


def contestants(
    method: str, there: TorchJD, problem: Problem, terms: int
) -> dict[str, Callable[[], Contestant]]:
    """TorchJD's forms of a weighting: name -> what makes it; none if it does not have it."""
    torch = there.torch

    def scalarized() -> Contestant:
        name, options = SCALARIZERS[method]
        scalarizer = getattr(there.scalarization, name)(**options(terms))
        step = Step(torch, problem, terms)
        return step.contestant("torchjd", lambda values: scalarizer(torch.stack(values)).backward())

    def autojac(label: str, chunk: int | None) -> Contestant:
        name, options = AGGREGATORS[method]
        aggregator = getattr(there.aggregation, name)(**options(terms))
        step = Step(torch, problem, terms)
        parameters = list(step.network.parameters())

        def backward(values: list[Any]) -> None:
            there.autojac.backward(values, parallel_chunk_size=chunk)
            there.autojac.jac_to_grad(parameters, aggregator)

        return step.contestant(label, backward)

    def autogram(label: str, last_layer: bool) -> Contestant:
        name, options = AGGREGATORS[method]
        weighting = getattr(there.aggregation, f"{name}Weighting")(**options(terms))
        step = Step(torch, problem, terms)
        looked_at = step.network.head if last_layer else step.network
        engine = there.autogram.Engine(looked_at, batch_dim=None)

        def backward(values: list[Any]) -> None:
            stacked = torch.stack(values)
            stacked.backward(weighting(engine.compute_gramian(stacked)))

        return step.contestant(label, backward)

    if method in SCALARIZERS:
        return {"torchjd": scalarized}
    if method not in AGGREGATORS:
        return {}
    together, single = "torchjd autojac", "torchjd autojac, one by one"
    ways = {together: lambda: autojac(together, None), single: lambda: autojac(single, 1)}
    if hasattr(there.aggregation, f"{AGGREGATORS[method][0]}Weighting"):
        whole, last = "torchjd autogram", "torchjd autogram, last layer"
        ways |= {whole: lambda: autogram(whole, False), last: lambda: autogram(last, True)}
    return ways


def losses(torch: Any, logits: Any, labels: Any, terms: int) -> list[Any]:
    """The first terms of `LOSSES`, as our losses define them; what they share is computed once."""
    space = tuple(range(2, logits.ndim))
    classes = logits.shape[1]
    log_probabilities = torch.nn.functional.log_softmax(logits, 1)
    picked = torch.gather(log_probabilities, 1, labels[:, None])[:, 0]
    true = picked.exp()
    probabilities = log_probabilities.exp()
    masks = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).to(logits.dtype)
    both = (probabilities * masks).sum(space)
    predicted, there = probabilities.sum(space), masks.sum(space)
    smooth = 1e-5

    def overlap(false_positives: float, false_negatives: float) -> Any:
        wrong = false_positives * (predicted - both) + false_negatives * (there - both)
        return 1 - ((2 * both + smooth) / (2 * (both + wrong) + smooth)).mean()

    made = {
        "dice": lambda: overlap(0.5, 0.5),
        "cross_entropy": lambda: -picked.mean(),
        "focal": lambda: -((1 - true) ** 2 * picked).mean(),
        "tversky": lambda: overlap(0.3, 0.7),
        "jaccard": lambda: overlap(1.0, 1.0),
        "brier": lambda: (probabilities - masks).square().sum(1).mean(),
        "poly_cross_entropy": lambda: (1 - true - picked).mean(),
        "generalized_cross_entropy": lambda: ((1 - true**0.7) / 0.7).mean(),
    }
    return [made[name]() for name in LOSSES[:terms]]
