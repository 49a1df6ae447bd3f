"""Stored values of peers: inputs in closed form, files of cases, and how two answers are compared.

A case is what a peer answered for one loss: `{"loss", "options", "inputs", "value", "gradient"}`.
Its inputs are written as formulas (see `array`), so that a file holds numbers of the peer only. The
gradient is that of `objective(value)` for the first input, which may be a list of arrays.

Files are made by `python -m tests.compat.make_values PEER` where the peer is installed. The plain
tests read them; tests with the peer itself ask it about further options and shapes.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

VALUES = Path(__file__).parent / "values"
TOLERANCE = 1e-5
# What runs once on a few numbers is compiled in a hurry.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
DIGITS = 8


def array(formula: Mapping[str, Any] | Sequence[Any]) -> Any:
    """The input that a formula says; a list of formulas is a list of inputs.

    `{"wave": shape, "frequency": .7, "phase": .1, "scale": 1, "offset": 0}` is
    `scale * sin(frequency * index + phase) + offset`, index in C order, float32; with
    `"above": x` it is the boolean mask of where that exceeds x, with `"softmax": axis` its softmax.
    `{"ids": shape, "classes": n, "step": 7, "modulus": 5, "ignored": [value, every]}` is
    `index * step % modulus % classes`, int32, with `value` at each `every`-th index, and with
    `"first": [value, count]` at the first of them; with `"float": true` as float32; with
    `"one_hot": axis` one-hot along that axis, of length 1, float32 (all 0 for what is no class).
    """
    if not isinstance(formula, Mapping):
        return [array(one) for one in formula]
    rest = dict(formula)
    if "wave" in rest:
        shape = tuple(rest.pop("wave"))
        index = np.arange(np.prod(shape, dtype=int), dtype=np.float64)
        angle = rest.pop("frequency", 0.7) * index + rest.pop("phase", 0.1)
        wave = rest.pop("scale", 1.0) * np.sin(angle) + rest.pop("offset", 0.0)
        wave = wave.reshape(shape)
        if "above" in rest:
            wave = wave > rest.pop("above")
        elif "softmax" in rest:
            power = np.exp(wave)
            wave = power / power.sum(axis=rest.pop("softmax"), keepdims=True)
        result = wave if wave.dtype == bool else wave.astype(np.float32)
    else:
        shape = tuple(rest.pop("ids"))
        classes = rest.pop("classes")
        index = np.arange(np.prod(shape, dtype=int))
        result = index * rest.pop("step", 7) % rest.pop("modulus", 5) % classes
        if "ignored" in rest:
            value, every = rest.pop("ignored")
            result = np.where(index % every == 0, value, result)
        if "first" in rest:
            value, count = rest.pop("first")
            result[:count] = value
        result = result.reshape(shape).astype(np.float32 if rest.pop("float", False) else np.int32)
        if "one_hot" in rest:
            axis = rest.pop("one_hot")
            each = np.moveaxis(result == np.arange(classes).reshape(-1, *[1] * len(shape)), 0, -1)
            result = np.moveaxis(each.squeeze(axis), -1, axis).astype(np.float32)
    assert not rest, f"unknown parts of a formula: {rest}"
    return result


def arrays(case: Mapping[str, Any]) -> list[Any]:
    """The inputs of a case."""
    return array(case["inputs"])


def objective(value: Any, weights: Any) -> Any:
    """What is differentiated: a scalar itself, of an array a sum that tells its elements apart."""
    return value if value.ndim == 0 else (value * weights).sum()


def weights(shape: Sequence[int]) -> np.ndarray:
    """The weights of that sum."""
    return array({"wave": list(shape), "frequency": 1.1, "phase": 0.3, "offset": 1.5})


def ask(function: Callable, inputs: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Value and flat gradient of a JAX function for its first input."""
    return ask_all([(function, inputs)])[0]


def ask_all(
    questions: Sequence[tuple[Callable, Sequence[Any]]],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`ask` for several functions, compiled together, which takes half the time."""
    given = [jax.tree.map(jnp.asarray, list(inputs)) for _, inputs in questions]

    @functools.partial(jax.jit, compiler_options=QUICK)
    def answers(firsts: list[Any]) -> list[Any]:
        found = []
        for x, (function, _), (_, *others) in zip(firsts, questions, given, strict=True):

            def total(x: Any, function=function, others=others) -> tuple[jax.Array, jax.Array]:
                value = jnp.asarray(function(x, *others))
                return objective(value, weights(value.shape)), value

            found.append(jax.grad(total, has_aux=True)(x))
        return found

    found = answers([first for first, *_ in given])
    return [(np.asarray(value), _flat(jax.tree.leaves(gradient))) for gradient, value in found]


def ask_torch(function: Callable, inputs: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Value and flat gradient of a PyTorch function for its first input; integers become int64."""
    import torch

    def tensor(x: Any) -> Any:
        if isinstance(x, list):
            return [tensor(one) for one in x]
        x = np.array(x)
        return torch.from_numpy(x.astype(np.int64) if x.dtype.kind == "i" else x)

    first, *others = [tensor(x) for x in inputs]
    leaves = first if isinstance(first, list) else [first]
    for leaf in leaves:
        leaf.requires_grad_(True)
    value = function(first, *others)
    if value.requires_grad:  # else it depends on no input
        objective(value, torch.from_numpy(weights(value.shape).astype(np.float32))).backward()
    missing = [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]
    return value.detach().numpy(), _flat(missing)


def _flat(leaves: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])


def record(
    loss: str, options: Mapping[str, Any], inputs: Any, answer: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """A case from a peer's answer."""
    value, gradient = answer
    assert np.isfinite(value).all(), (loss, options, inputs)
    assert np.isfinite(gradient).all(), (loss, options, inputs)
    return {
        "loss": loss,
        "options": dict(options),
        "inputs": inputs,
        "shape": list(value.shape),
        "value": _rounded(value),
        "gradient": _rounded(gradient),
    }


def _rounded(x: np.ndarray) -> list[float]:
    return [float(f"{v:.{DIGITS}g}") for v in np.asarray(x, np.float64).ravel()]


def save(peer: str, source: Mapping[str, str], cases: Sequence[Mapping[str, Any]]) -> None:
    """Writes a peer's file, one case a line."""
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = f'{{"source": {json.dumps(dict(source))},\n"cases": [\n{lines}\n]}}\n'
    VALUES.mkdir(exist_ok=True)
    (VALUES / f"{peer}.json").write_text(text)


def load(peer: str) -> list[dict[str, Any]]:
    """The cases of a peer."""
    return json.loads((VALUES / f"{peer}.json").read_text())["cases"]


def name(case: Mapping[str, Any]) -> str:
    """A case as the name of a test."""
    options = ",".join(f"{key}={value}" for key, value in case["options"].items())
    return f"{case['loss']}({options})"


def check(case: Mapping[str, Any], function: Callable) -> None:
    """A JAX function answers as the peer did."""
    check_all([case], lambda _: function)


def check_all(
    cases: Sequence[Mapping[str, Any]], function: Callable[[Mapping[str, Any]], Callable]
) -> None:
    """The JAX function of each case answers as the peer did; all are compiled together."""
    answers = ask_all([(function(case), arrays(case)) for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        agree(answer, (case["value"], case["gradient"]), shape=case["shape"], name=name(case))


def agree(
    answer: tuple[Any, Any], expected: tuple[Any, Any], *, shape: Any = None, name=""
) -> None:
    """Two answers are equal, value and gradient each to `TOLERANCE` of its largest number."""
    shape = np.shape(expected[0]) if shape is None else tuple(shape)
    assert np.shape(answer[0]) == shape, name
    for what, ours, theirs in zip(("value", "gradient"), answer, expected, strict=True):
        theirs = np.asarray(theirs, np.float64).ravel()
        bound = TOLERANCE * max(np.abs(theirs).max(initial=0.0), 1e-3)
        np.testing.assert_allclose(
            np.ravel(ours), theirs, rtol=TOLERANCE, atol=bound, err_msg=f"{name}: {what}"
        )
