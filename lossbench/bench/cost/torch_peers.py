"""Losses of PyTorch libraries on the arrays of a case, channels first, with their backward pass."""

import functools
import importlib
import importlib.util
import os
import sys
import time
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lossbench.bench.cost.cases import Inputs, distances
from lossbench.bench.cost.measure import Contestant
from lossbench.bench.cost.program import Program


class Problem:
    """A case as PyTorch libraries want it.

    Attributes:
        torch: the module.
        logits: channels first, contiguous, with gradients; one tensor a level.
        ids: class ids, int64, without an axis of classes.
    """

    def __init__(self, torch: Any, inputs: Inputs) -> None:
        self.torch = torch
        self.device = device_of(torch)
        self.inputs = inputs
        self.logits = [
            torch.from_numpy(np.moveaxis(level, -1, 1).copy()).to(self.device).requires_grad_()
            for level in inputs.logits
        ]
        self.ids = torch.from_numpy(inputs.labels.astype(np.int64)).to(self.device)

    @property
    def channel(self) -> Any:
        """The ids with an axis of one class."""
        return self.ids[:, None]

    @property
    def masks(self) -> Any:
        """One float mask a class, made outside of what is timed."""
        masks = self.torch.nn.functional.one_hot(self.ids, self.inputs.classes)
        return masks.movedim(-1, 1).to(self.torch.float32).contiguous()

    @property
    def dims(self) -> int:
        """The number of axes of space."""
        return self.ids.ndim - 1

    def on(self, loss: Any, target: Any) -> Callable[[Any], Any]:
        """The loss as a function of the logits."""
        if isinstance(loss, self.torch.nn.Module):
            loss = loss.to(self.device)
        return lambda logits: loss(logits, target)


def device_of(torch: Any) -> str:
    """Where PyTorch has to run so that it can be compared: where JAX runs.

    Raises:
        ImportError: if it has no such device.
    """
    platform = jax.default_backend()
    if platform == "cpu":
        return "cpu"
    if platform == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise ImportError(f"JAX runs on {platform}, where this PyTorch cannot")


# A library's losses by the name that lossbench has for them. Each is built only when asked for.
Table = Mapping[str, Callable[[], Callable[[Any], Any]]]


def plain_torch(module: Any, problem: Problem) -> Table:
    """PyTorch's own losses."""
    functional = problem.torch.nn.functional
    return {
        "cross_entropy": lambda: problem.on(functional.cross_entropy, problem.ids),
        "binary_cross_entropy": lambda: problem.on(
            functional.binary_cross_entropy_with_logits, problem.masks
        ),
    }


def monai(module: Any, problem: Problem) -> Table:
    """MONAI's losses; it turns class ids into masks inside."""
    softmax = {"softmax": True, "to_onehot_y": True}

    def entry(name: str, **options: Any) -> Callable[[], Callable[[Any], Any]]:
        return lambda: problem.on(getattr(module, name)(**options), problem.channel)

    def unified() -> Callable[[Any], Any]:
        loss = module.AsymmetricUnifiedFocalLoss(to_onehot_y=True, gamma=0.5, delta=0.6)
        return problem.on(
            lambda x, y: loss(x.softmax(1), y), problem.channel
        )  # wants probabilities

    def supervised() -> Callable[[Any], Any]:
        loss = module.DeepSupervisionLoss(module.DiceLoss(**softmax))
        return problem.on(loss, problem.channel.to(problem.torch.float32))

    table = {
        "dice": entry("DiceLoss", **softmax),
        "jaccard": entry("DiceLoss", jaccard=True, **softmax),
        "generalized_dice": entry("GeneralizedDiceLoss", **softmax),
        "tversky": entry("TverskyLoss", alpha=0.3, beta=0.7, **softmax),
        "focal": entry("FocalLoss", use_softmax=True, to_onehot_y=True),
        "sigmoid_focal": entry("FocalLoss", to_onehot_y=True),
        "mcc": entry("MCCLoss", **softmax),
        "wasserstein_dice": entry(
            "GeneralizedWassersteinDiceLoss",
            dist_matrix=distances(problem.inputs.classes),
        ),
        "deep_supervision": supervised,
        "boundary": entry("BoundaryLoss", include_background=False, **softmax),
        "hausdorff_dt": entry("HausdorffDTLoss", **softmax),
        "log_hausdorff_dt": entry("LogHausdorffDTLoss", **softmax),
        "cl_dice": entry("SoftclDiceLoss", iter_=10, include_background=False, **softmax),
        "dice+cross_entropy": entry("DiceCELoss", **softmax),
        "dice+focal": entry("DiceFocalLoss", **softmax),
    }
    if problem.inputs.classes == 2:
        table["unified_focal"] = unified
    if problem.dims > 1:
        table["neighbor_aware_calibration"] = lambda: problem.on(
            module.NACLLoss(classes=problem.inputs.classes, dim=problem.dims), problem.ids
        )
    return table


def smp(module: Any, problem: Problem) -> Table:
    """segmentation-models-pytorch's losses; its region losses pool the batch."""

    def entry(name: str, *mode: str, **options: Any) -> Callable[[], Callable[[Any], Any]]:
        return lambda: problem.on(getattr(module, name)(*mode, **options), problem.ids)

    def masked(name: str, *mode: str, **options: Any) -> Callable[[], Callable[[Any], Any]]:
        return lambda: problem.on(getattr(module, name)(*mode, **options), problem.masks)

    return {
        "dice": entry("DiceLoss", "multiclass"),
        "jaccard": entry("JaccardLoss", "multiclass"),
        "tversky": entry("TverskyLoss", "multiclass", alpha=0.3, beta=0.7),
        "focal_tversky": entry("TverskyLoss", "multiclass", alpha=0.3, beta=0.7, gamma=0.75),
        "focal": entry("FocalLoss", "multiclass"),
        "sigmoid_focal": masked("FocalLoss", "multilabel"),
        "lovasz_softmax": entry("LovaszLoss", "multiclass", per_image=True),
        "lovasz_hinge": masked("LovaszLoss", "multilabel", per_image=True),
        "cross_entropy": entry("SoftCrossEntropyLoss", smooth_factor=0.0),
        "binary_cross_entropy": masked("SoftBCEWithLogitsLoss"),
    }


def kornia(module: Any, problem: Problem) -> Table:
    """Kornia's losses, for images only."""
    if problem.dims != 2:
        return {}
    table = {
        "dice": lambda x, y: module.dice_loss(x, y, average="macro"),
        "tversky": lambda x, y: module.tversky_loss(x, y, alpha=0.3, beta=0.7),
        "focal": lambda x, y: module.focal_loss(x, y, alpha=None, reduction="mean"),
        "lovasz_softmax": module.lovasz_softmax_loss,
    }
    return {name: lambda f=loss: problem.on(f, problem.ids) for name, loss in table.items()}


def exacta(module: Any, problem: Problem) -> Table:
    """Exacta's losses."""

    def entry(name: str, *arguments: Any, **options: Any) -> Callable[[], Callable[[Any], Any]]:
        return lambda: problem.on(getattr(module, name)(*arguments, **options), problem.ids)

    def spaced(name: str) -> Callable[[], Callable[[Any], Any]]:
        return lambda: functools.partial(
            getattr(module, name)(), target=problem.ids, spacing=(1.0,) * problem.dims
        )

    return {
        "boundary": spaced("BoundaryLoss"),
        "hausdorff_dt": spaced("HausdorffDTLoss"),
        "cl_dice": entry("SoftClDiceLoss", iterations=10),
        "dice": entry("DiceLoss"),
        "generalized_dice": entry("GeneralizedDiceLoss"),
        "tversky": entry("TverskyLoss", alpha=0.3, beta=0.7),
        "focal_tversky": entry("FocalTverskyLoss"),
        "focal": entry("FocalLoss"),
        "sigmoid_focal": entry("FocalLoss", activation="sigmoid"),
        "top_k_cross_entropy": entry("TopKCELoss"),
        "lovasz_softmax": entry("LovaszSoftmaxLoss", per_image=True),
        "lovasz_hinge": lambda: problem.on(module.LovaszHingeLoss(multilabel=True), problem.masks),
        "wasserstein_dice": entry(
            "GeneralizedWassersteinDiceLoss",
            distances(problem.inputs.classes),
        ),
        "dice+cross_entropy": entry("DiceCELoss"),
        "dice+focal": entry("DiceFocalLoss"),
    }


def load(module: str) -> Any:
    """A module of a peer, with PyTorch using every core and compiling without a cache.

    Raises:
        ImportError: if it is not installed, or cannot run where JAX does.
    """
    os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    torch = importlib.import_module("torch")
    device_of(torch)
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        return importlib.import_module(module)
    except ImportError:
        package, _, _ = module.partition(".")
        if package == module or package in sys.modules:
            raise
        return _without_parent(package, module)


def _without_parent(package: str, module: str) -> Any:
    """A subpackage whose package cannot be imported, for want of libraries that losses don't need.

    Raises:
        ImportError: if that does not help.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"No module named {package!r}")
    parent = types.ModuleType(package)
    parent.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = parent
    try:
        return importlib.import_module(module)
    finally:
        del sys.modules[package]


def contestant(
    name: str, problem: Problem, loss: Callable[[Any], Any], *, compile: bool = False
) -> Contestant:
    """Forward and backward; with `compile` through `torch.compile`, whose time is taken here.

    Raises:
        Exception: whatever `torch.compile` raises.
    """
    torch, logits = problem.torch, problem.logits
    if compile:
        torch._dynamo.reset()
        loss = torch.compile(loss, dynamic=False)
    argument = logits if len(logits) > 1 else logits[0]

    def start() -> Any:
        for level in logits:
            level.grad = None
        value = loss(argument)
        value.backward()
        return value.detach(), None

    def wait(out: Any) -> None:
        if problem.device == "cuda":
            torch.cuda.synchronize()

    program = None
    if compile:
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that caches are off, which is meant
            wait(start())
        program = Program(time.perf_counter() - begin)
    return Contestant(name, start, wait, program, queues=problem.device == "cuda")
