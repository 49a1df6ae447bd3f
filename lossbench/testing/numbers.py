"""Checks of numbers: finite, precise, and a gradient that is one."""

import numpy as np

from lossbench.testing import cases
from lossbench.testing.cases import Case
from lossbench.testing.compare import not_finite, share
from lossbench.testing.subject import PIXELS, Subject
from lossbench.testing.verdict import Finding, failed, not_applicable, passed


def saturated_logits(subject: Subject) -> Finding:
    """Value and gradient are finite up to 1e4, whether the prediction is right or wrong."""
    wrong = first_not_finite(subject, cases.saturated(subject.random()))
    return failed(wrong) if wrong else passed("value and gradient finite up to ±1e4")


def equal_logits(subject: Subject) -> Finding:
    """The same where all logits are equal."""
    wrong = first_not_finite(subject, {"equal logits": cases.flat(subject.random())})
    return failed(wrong) if wrong else passed("value and gradient finite")


def small_gamma(subject: Subject) -> Finding:
    """Powers of 0 have infinite derivatives: gamma at 0 and below 1, saturated."""
    names = [n for n in subject.parameters if n.startswith(("gamma", "focusing"))]
    if not names or subject.rebuild is None:
        return not_applicable("no option gamma")
    tried, refused = [], []
    for name in names:
        for gamma in (0.0, 0.5):
            try:
                other = subject.rebuild(**{name: gamma})
                every = {"ordinary logits": other.random(), **cases.saturated(other.random())}
                wrong = first_not_finite(other, every)
            except ValueError as error:
                refused.append(f"{name}={gamma:g} ({error})"[:60])
                continue
            if wrong:
                return failed(f"{name}={gamma:g}: {wrong}")
            tried.append(f"{name}={gamma:g}")
    if not tried:
        return not_applicable(f"the loss refuses {', '.join(refused)}")
    return passed(f"finite and saturated as well with {', '.join(tried)}")


def gradient_dtype(subject: Subject) -> Finding:
    """The gradient comes back in the dtype of the input, the value in at least that."""
    for dtype in ("float32", "float16", "bfloat16"):
        result = subject.engine.value_and_gradient(*subject.plain(), dtype=dtype)
        if result.gradient_dtype != dtype:
            return failed(f"{dtype} in, gradient in {result.gradient_dtype}")
        if result.value_dtype not in (dtype, "float32", "float64"):
            return failed(f"{dtype} in, value in {result.value_dtype}")
    return passed("the input's, for float32, float16 and bfloat16")


def gradient(subject: Subject) -> Finding:
    """The gradient is the derivative of the value, by differences in float64."""
    x, rest = subject.plain()
    total = subject.kind == PIXELS
    result = subject.engine.value_and_gradient(x, rest, dtype="float64", total=total)
    step = 1e-5 if result.value_dtype == "float64" else 1e-2
    rng, worst = np.random.default_rng(1), 0.0
    scale = np.linalg.norm(result.gradient) + 1e-30
    for _ in range(3):
        direction = rng.choice((-1.0, 1.0), x.shape)
        change = [
            subject.engine.value(x + s * step * direction, rest, dtype="float64") for s in (1, -1)
        ]
        ends = [v.sum() if total else v.mean() for v in change]
        slope = (ends[0] - ends[1]) / (2 * step)
        claimed = np.sum(result.gradient * direction)
        worst = max(worst, abs(slope - claimed) / scale)
        # As far as the value's own rounding lets one see; `not <` also for NaN.
        noise = 1e-6 * abs(ends[0]) / step if step == 1e-2 else 0.0
        if not abs(slope - claimed) <= 0.02 * scale + noise:
            return failed(f"along a line it claims {claimed:.4g}, differences give {slope:.4g}")
    return passed(f"{worst:.1g} from differences in float64")


def second_derivative(subject: Subject) -> Finding:
    """The derivative of the gradient is finite on ordinary, saturated and degenerate inputs."""
    for kind, (x, rest) in _hard(subject).items():
        try:
            second = subject.engine.second(x, rest)
        except RuntimeError as error:
            if subject.engine.library == "JAX":
                raise
            return not_applicable(f"none in PyTorch ({str(error).splitlines()[0][:50]})")
        if not np.all(np.isfinite(second)):
            return failed(f"{share(second)} of it NaN or infinite at {kind}")
    return passed("finite")


def _hard(subject: Subject) -> dict:
    if subject.form is None:
        return {"your inputs": subject.plain()}
    case = subject.random()
    every: dict[str, Case] = {"ordinary logits": case, "equal logits": cases.flat(case)}
    every |= cases.saturated(case)
    every |= {f"{kind} labels": cases.degenerate(case, kind) for kind in ("empty", "one pixel")}
    return {kind: subject.arguments(one) for kind, one in every.items()}


def finite(subject: Subject) -> Finding:
    """Value and gradient of the user's own inputs are finite, in float32 and half types."""
    for dtype in ("float32", "bfloat16", "float16"):
        result = subject.engine.value_and_gradient(*subject.plain(), dtype=dtype)
        if wrong := not_finite(result):
            return failed(f"{wrong} at your inputs in {dtype}")
    return passed("value and gradient of your inputs, in float32, bfloat16 and float16")


def alive(subject: Subject) -> Finding:
    """Every example of a mediocre prediction has a gradient to learn from."""
    x, rest = subject.plain()
    result = subject.engine.value_and_gradient(x, rest)
    if subject.form is None:
        least = np.linalg.norm(result.gradient)
    else:
        least = np.linalg.norm(result.gradient.reshape(len(x), -1), axis=1).min()
    if not least > 1e-12:
        return failed(f"the gradient of a mediocre prediction is {least:.2g}")
    return passed(f"norm of an example's gradient at least {least:.2g}")


def first_not_finite(subject: Subject, every: dict[str, Case], dtype: str = "float32") -> str:
    """The first of these cases with a value or gradient that is not finite; "" if none."""
    for kind, case in every.items():
        if wrong := not_finite(subject.evaluate(case, dtype=dtype)):
            return f"{wrong} at {kind}"
    return ""
