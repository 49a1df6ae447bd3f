"""Checks of JAX programs: what is traced, compiled, mapped and spread over devices."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from lossbench.testing.cases import BATCH
from lossbench.testing.compare import change, close
from lossbench.testing.jax_engine import JaxEngine, arrays, mean_of, with_gradient
from lossbench.testing.subject import Subject
from lossbench.testing.verdict import Finding, failed, not_applicable, passed

# Other ways to the host than the primitives called "...callback".
HOST = {"outside_call", "infeed", "outfeed"}


def jit_equals_eager(subject: Subject) -> Finding:
    """Compiled with every array an argument, value and gradient are those of the eager call."""
    engine = jax_engine(subject)
    evaluate = with_gradient(engine.apply, jnp.mean)
    for seed in (0, 1):
        inputs = arrays(*subject.plain(seed))
        # The plain call, too: a gradient traces even where it is not compiled.
        eager = (*evaluate(*inputs), engine.apply(*inputs))
        value, gradient = engine.gradient_program(*inputs)
        for name, a, b in zip(
            ("value", "gradient", "value"), (value, gradient, value), eager, strict=True
        ):
            if not close(b, a):
                return failed(f"{name} {change(b, a)} under jit")
    return passed("value and gradient, compiled and eager, are the same")


def pure(subject: Subject) -> Finding:
    """Called twice, it gives the same value and traces to the same program."""
    inputs = arrays(*subject.plain())
    first, again = (np.asarray(subject.engine.apply(*inputs)) for _ in range(2))
    if not np.array_equal(first, again, equal_nan=True):
        return failed(f"called again with the same arrays: {change(first, again)}")
    if not subject.traces:
        return passed("called again, the value is the same")
    again = jax.jit(lambda x, rest: subject.engine.apply(x, rest))
    compiled = [np.asarray(run(*inputs)) for run in (jax_engine(subject).program, again)]
    if not np.array_equal(*compiled, equal_nan=True):
        return failed(f"compiled again: {change(*compiled)}")
    return passed("called again and compiled again, the value is the same")


def one_trace(subject: Subject) -> Finding:
    """Other values of the same shapes need no other program."""
    engine = jax_engine(subject)
    traces = []
    for seed in (0, 1, 2):
        engine.gradient_program(*arrays(*subject.plain(seed)))
        traces.append(engine.traces)
    if more := traces[-1] - traces[0]:
        return failed(f"traced {1 + more} times for three inputs of the same shape")
    return passed("three inputs of the same shape, one program")


def no_callback(subject: Subject) -> Finding:
    """The traced value and gradient never call back to the host."""
    inputs = arrays(*subject.plain())
    names: set[str] = set()
    # The value first: a callback may have no gradient.
    for function in (subject.engine.apply, with_gradient(subject.engine.apply, jnp.mean)):
        names |= set(primitives(jax.make_jaxpr(function)(*inputs).jaxpr))
        calls = sorted(n for n in names if "callback" in n or n in HOST)
        if calls:
            return failed(f"calls back to the host: {', '.join(calls)}")
    return passed(f"none among {len(names)} primitives")


def primitives(jaxpr) -> Iterator[str]:
    """The names of all primitives of a program, nested programs included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from primitives(inner)


def vmap(subject: Subject) -> Finding:
    """Mapped over an axis of batches, it gives what a loop gives."""
    batches = [subject.plain(seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
    mapped = jax.jit(jax.vmap(subject.engine.apply))(*arrays(*stacked))
    one = jax_engine(subject).program
    loop = np.stack([np.asarray(one(*arrays(*b))) for b in batches])
    if not close(loop, mapped):
        return failed(f"mapped instead of looped: {change(loop, mapped)}")
    return passed("mapped over an axis it gives what a loop gives")


def sharded(subject: Subject) -> Finding:
    """Spread over devices along the batch, value and gradient stay what they are on one."""
    devices = jax.devices()
    count = 4 if len(devices) >= 4 else 2
    if len(devices) < 2:
        return not_applicable('one device (jax.config.update("jax_num_cpu_devices", 4) gives four)')
    mesh = jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=devices[:count])
    x, rest = _uneven(subject)

    def spread(array: jax.Array) -> jax.Array:
        divides = array.ndim > 0 and array.shape[0] == len(x) and len(x) % count == 0
        spec = jax.P("data") if divides else jax.P()
        return jax.device_put(array, jax.NamedSharding(mesh, spec))

    if len(x) % count:
        return not_applicable(f"{len(x)} examples cannot be spread over {count} devices")
    alone = jax_engine(subject).gradient_program(x, rest)
    evaluate = with_gradient(subject.engine.apply, jnp.mean)
    with jax.set_mesh(mesh):
        inputs = jax.tree.map(spread, (x, rest))
        together = {
            "compiled": jax.jit(evaluate)(*inputs),
            "eager": (subject.engine.apply(*inputs), alone[1]),
        }
    for how, results in together.items():
        for name, a, b in zip(("value", "gradient"), alone, results, strict=True):
            if np.shape(a) != np.shape(b):
                return failed(f"{name} of shape {np.shape(b)} instead of {np.shape(a)} ({how})")
            if not close(a, b):
                return failed(f"{name} {change(a, b)} on {count} devices ({how})")
    return passed(f"the same on {count} devices as on one")


def jax_engine(subject: Subject) -> JaxEngine:
    """The engine of a loss in JAX."""
    assert isinstance(subject.engine, JaxEngine)
    return subject.engine


def _uneven(subject: Subject):
    """Ordinary inputs; where pixels can be masked, as many as differ between devices."""
    if not subject.takes_mask:
        return arrays(*subject.plain())
    case = subject.random()
    where = np.ones(case.ids.shape, bool)
    for i in range(BATCH):
        where[i, : i + 1] = False
    return arrays(*subject.arguments(case._replace(where=where)))


def memory(subject: Subject) -> Finding:
    """What value and gradient of many classes hold beside inputs and outputs."""
    assert subject.rebuild is not None
    count = subject.memory_classes if subject.classes > 1 else 1
    other = subject.rebuild(subject.segmentation._replace(classes=count))
    space = (32, 32) if count > 16 else (128, 128)
    x, rest = arrays(*other.arguments(other.random(batch=2, space=space)))
    step = jax.jit(jax.value_and_grad(lambda x, rest: mean_of(other.engine.apply, x, rest)))
    try:
        analysis = step.lower(x, rest).compile().memory_analysis()
    except (ValueError, TypeError) as error:
        if count == subject.classes:
            raise
        return not_applicable(f"does not run with {count} classes ({type(error).__name__})")
    if analysis is None:
        return not_applicable("this backend reports no memory")
    ratio = analysis.temp_size_in_bytes / x.nbytes
    text = f"{ratio:.2f} x the logits of {count} classes"
    if ratio > subject.memory_limit:
        return failed(f"holds {text}; allowed {subject.memory_limit:g} x")
    return passed(f"{text} (allowed {subject.memory_limit:g} x)")
