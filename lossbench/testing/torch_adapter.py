"""PyTorch losses under the suite; torch is imported only here, and only when one is checked."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossbench.testing.engine import Arrays, Result


class TorchLoss:
    """A PyTorch loss that `check_loss` knows as one; made by `from_torch`."""

    def __init__(self, target: Any, options: Mapping[str, Any]):
        self.target = target
        self.options = dict(options)
        self.name = getattr(target, "__name__", type(target).__name__)

    def with_options(self, **options: Any) -> "TorchLoss":
        """The same loss with other options; a module that is built already takes none."""
        return TorchLoss(self.target, {**self.options, **options})

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """What it can be configured with, by name."""
        if is_module(self.target):
            return {}
        return _signature(self.target)

    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """What it is called with, by name."""
        module = isinstance(self.target, type) or is_module(self.target)
        return _signature(self.target.forward) if module else _signature(self.target)

    def build(self) -> Callable:
        """The function to call on tensors."""
        if isinstance(self.target, type):
            return self.target(**self.options)
        if self.options and is_module(self.target):
            raise ValueError(f"{self.name}: a module that is built already takes no options")
        return lambda *x, **more: self.target(*x, **self.options, **more)


def from_torch(target: Any, **options: Any) -> TorchLoss:
    """A PyTorch loss as something that `check_loss` can check.

    It is evaluated eagerly on the CPU, with gradients by `torch.autograd`; the checks of compiled
    programs do not apply to it. Tensors come channels first.

    Args:
        target: a subclass of `torch.nn.Module`, which is built with the options (and again with
            another gamma, if it has one); a module; or a function.
        **options: of the class or function.

    Example:
        >>> from_torch(print, sep=", ").name
        'print'
    """
    return TorchLoss(target, options)


def is_module(target: object) -> bool:
    """True for an instance of `torch.nn.Module`; torch need not be there."""
    return not isinstance(target, type) and is_module_class(type(target))


def is_module_class(target: object) -> bool:
    """True for a subclass of `torch.nn.Module`; torch need not be there."""
    return isinstance(target, type) and any(
        base.__module__ == "torch.nn.modules.module" for base in target.__mro__
    )


def _signature(target: Any) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(target).parameters)
    parameters.pop("self", None)
    return parameters


class TorchEngine:
    """Evaluates `apply(x, rest)` on tensors; see `Engine`."""

    library = "PyTorch"

    def __init__(self, apply: Callable):
        self.apply = apply

    def value(self, x: np.ndarray, rest: Arrays, *, dtype: str = "float32") -> np.ndarray:
        """The value in float64, computed from inputs of this dtype."""
        import torch  # pyright: ignore[reportMissingImports]

        with torch.no_grad():
            return _numpy(self.apply(_tensor(x, dtype), tuple(_tensor(y, dtype) for y in rest)))

    def value_and_gradient(
        self, x: np.ndarray, rest: Arrays, *, dtype: str = "float32", total: bool = False
    ) -> Result:
        """Value and gradient of its mean, or of its sum if `total`."""
        import torch  # pyright: ignore[reportMissingImports]

        leaf = _tensor(x, dtype).requires_grad_()
        value = self.apply(leaf, tuple(_tensor(y, dtype) for y in rest))
        wide = value if value.dtype == torch.float64 else value.float()
        objective = wide.sum() if total else wide.mean()
        if not objective.requires_grad:
            raise ValueError("the value has no gradient: nothing differentiable leads to it")
        (gradient,) = torch.autograd.grad(objective, leaf)
        names = (str(value.dtype), str(gradient.dtype))
        return Result(_numpy(value), _numpy(gradient), *(n.removeprefix("torch.") for n in names))

    def second(self, x: np.ndarray, rest: Arrays) -> np.ndarray:
        """The gradient of `sum(gradient * cos(x))`."""
        import torch  # pyright: ignore[reportMissingImports]

        leaf = _tensor(x, "float32").requires_grad_()
        value = self.apply(leaf, tuple(_tensor(y, "float32") for y in rest)).mean()
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
        (along,) = torch.autograd.grad((gradient * torch.cos(leaf)).sum(), leaf)
        return _numpy(along)


def softmax(x: Any) -> Any:
    """Probabilities over the channels of a tensor, for losses that take no logits."""
    import torch  # pyright: ignore[reportMissingImports]

    return torch.sigmoid(x) if x.shape[1] == 1 else torch.softmax(x, dim=1)


def _tensor(array: np.ndarray, dtype: str) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    if np.issubdtype(array.dtype, np.floating):
        return torch.tensor(array).to(getattr(torch, dtype))
    return torch.tensor(array if array.dtype in (np.bool_, np.uint8) else array.astype(np.int64))


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().double().numpy()
