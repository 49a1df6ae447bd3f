"""Losses with bugs that real ones have had; each must fail the check that is named beside it.

`BROKEN` maps a name to the loss and the check. Two sound losses, written as plainly, must pass.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lossbench.testing.discovery import subject_of
from lossbench.testing.suite import CHECKS, run_check, with_limits


def count(where, labels):
    """The pixels that count and their number, for each example."""
    where = jnp.ones(labels.shape, bool) if where is None else where
    return where, jnp.maximum(jnp.sum(where, axis=(1, 2)), 1)


def clean(logits, labels, where):
    """Harmless values under the mask."""
    if where is None:
        return logits, labels
    return jnp.where(where[..., None], logits, 0), jnp.where(where, labels, 0)


def surprise(logits, labels):
    """The cross entropy of each pixel."""
    logp = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
    return -jnp.take_along_axis(logp, labels[..., None].astype(jnp.int32), axis=-1)[..., 0]


def sound(logits, labels, *, where=None):
    logits, labels = clean(logits, labels, where)
    where, n = count(where, labels)
    return jnp.sum(surprise(logits, labels) * where, axis=(1, 2)) / n


def overlaps(logits, labels, where=None):
    """Probabilities, one-hot labels, and the axes to sum; masked pixels belong nowhere."""
    logits, labels = clean(logits, labels, where)
    p = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
    t = jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)
    if where is not None:
        p, t = p * where[..., None], t * where[..., None]
    return p, t


def ratio(i, p, t, s=1e-5):
    return 1 - (2 * i + s) / (p + t + s)


def sound_dice(logits, labels, *, where=None):
    p, t = overlaps(logits, labels, where)
    a = tuple(range(1, p.ndim - 1))
    return jnp.mean(ratio(jnp.sum(p * t, a), jnp.sum(p, a), jnp.sum(t, a)), axis=-1)


# Numbers


def focal_power(logits, labels, *, gamma=2.0):
    p = jnp.exp(-surprise(logits, labels))
    return jnp.mean((1 - p) ** gamma * surprise(logits, labels), axis=(1, 2))


def log_of_softmax(logits, labels):
    p = jax.nn.softmax(logits)
    return jnp.mean(-jnp.log(jnp.take_along_axis(p, labels[..., None], -1)), axis=(1, 2, 3))


def unshifted_exponential(logits, labels):
    own = jnp.take_along_axis(logits, labels[..., None], -1)[..., 0]
    return jnp.mean(jnp.log(jnp.sum(jnp.exp(logits), axis=-1)) - own, axis=(1, 2))


def norm_at_zero(logits, labels):
    spread = jnp.sqrt(jnp.sum((logits - jnp.mean(logits, -1, keepdims=True)) ** 2, axis=-1))
    return jnp.mean(surprise(logits, labels) + 0.01 * spread, axis=(1, 2))


def sums_in_half(logits, labels):
    p = jax.nn.softmax(logits)
    t = jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)
    return jnp.mean(ratio(jnp.sum(p * t, (1, 2)), jnp.sum(p, (1, 2)), jnp.sum(t, (1, 2))), axis=-1)


def always_float16(logits, labels):
    p = jax.nn.softmax(logits).astype(jnp.float16)
    t = jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)
    a = tuple(range(1, p.ndim - 1))
    return jnp.mean(ratio(*(jnp.sum(x, a) for x in (p * t, p, t))), axis=-1).astype(jnp.float32)


def value_in_half(logits, labels):
    return jnp.mean(surprise(logits, labels), axis=(1, 2)).astype(jnp.float16)


@jax.custom_vjp
def own_gradient(logits, labels):
    return sound(logits, labels)


def _forward(logits, labels):
    return own_gradient(logits, labels), (logits, labels)


def _backward(saved, g):
    logits, labels = saved
    error = jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return error * g[:, None, None, None].astype(logits.dtype), None  # not divided by the pixels


own_gradient.defvjp(_forward, _backward)


@jax.custom_vjp
def float32_gradient(logits, labels):
    return sound(logits, labels)


def _backward32(saved, g):
    logits, labels = saved
    error = jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    pixels = labels[0].size
    return (error * g[:, None, None, None] / pixels).astype(jnp.float32), None


float32_gradient.defvjp(lambda x, y: (float32_gradient(x, y), (x, y)), _backward32)


def hard_prediction(logits, labels):
    wrong = jnp.argmax(logits, axis=-1) != labels
    return jnp.mean(wrong, axis=(1, 2)) + 0 * jnp.sum(logits, axis=(1, 2, 3))


def stopped(logits, labels):
    return sound(jax.lax.stop_gradient(logits), labels)


def second_order(logits, labels):
    """Smooth in its first derivative only: u * sqrt(u) at 0."""
    u = jnp.maximum(jnp.max(logits, axis=-1) - jnp.min(logits, axis=-1), 0)
    return jnp.mean(surprise(logits, labels) + 0.01 * u**1.5, axis=(1, 2))


def overflowing_weights(logits, labels):
    p, t = overlaps(logits, labels)
    true = jnp.sum(t, axis=(1, 2)).astype(jnp.int32)
    w = 1 / jnp.maximum((true * true).astype(jnp.float32), 1)
    i, sizes = jnp.sum(p * t, axis=(1, 2)), jnp.sum(p + t, axis=(1, 2))
    return 1 - 2 * jnp.sum(w * i, -1) / jnp.sum(w * sizes, -1)


def counts_of(dtype, logits, labels):
    classes = jnp.arange(logits.shape[-1])[None, None, None]
    t = jnp.sum(labels[..., None] == classes, axis=(1, 2), dtype=dtype).astype(jnp.float32)
    p, one_hot = overlaps(logits, labels)
    return jnp.mean(ratio(jnp.sum(p * one_hot, (1, 2)), jnp.sum(p, (1, 2)), t), axis=-1)


def running_sum(logits, labels):
    """Adds one voxel after the other."""
    costs = surprise(logits, labels).reshape(labels.shape[0], -1)
    total, _ = jax.lax.scan(lambda s, x: (s + x, None), jnp.zeros(len(costs)), costs.T)
    return total / costs.shape[1]


def running_count(logits, labels):
    """A float32 count, one pixel after the other, stops at 2^24."""
    costs = surprise(logits, labels)
    axes = tuple(range(1, costs.ndim))
    pixels = min(costs[0].size, 2**24)
    return jnp.sum(costs, axis=axes) / pixels


# Labels


def negated(logits, labels):
    return -sound(logits, labels)


def background_only_divides(logits, labels):
    p, t = overlaps(logits, labels)
    i, true = jnp.sum(p * t, axis=(1, 2)), jnp.sum(t, axis=(1, 2))
    return 1 - jnp.mean(i / true, axis=-1)


def divides_by_foreground(logits, labels):
    costs = jnp.sum(surprise(logits, labels) * (labels > 0), axis=(1, 2))
    return costs / jnp.sum(labels > 0, axis=(1, 2))


def full_is_no_background(logits, labels):
    costs = jnp.sum(surprise(logits, labels) * (labels == 0), axis=(1, 2))
    return costs / jnp.sum(labels == 0, axis=(1, 2)) + sound(logits, labels)


def one_pixel_variance(logits, labels):
    """The spread of class 1, with n - 1."""
    member = labels == 1
    n = jnp.sum(member, axis=(1, 2))
    return sound(logits, labels) + jnp.where(
        n == 0, 0.0, jnp.sum(surprise(logits, labels) * member, axis=(1, 2)) / (n - 1)
    )


def weights_by_number(logits, labels):
    weights = jnp.array([1.0, 1.0, 2.0])
    return jnp.mean(surprise(logits, labels) * weights[jnp.minimum(labels, 2)], axis=(1, 2))


def counts_bytes(logits, labels):
    """Sums in the labels' own dtype."""
    foreground = jnp.sum(jnp.minimum(labels, 1), axis=(1, 2), dtype=labels.dtype)
    share = foreground.astype(jnp.float32) / labels[0].size
    return sound(logits, labels) * (2 - share)


# Masks


def mask_ignored(logits, labels, *, where=None):
    return sound(logits, labels)


def times_zero(logits, labels, *, where=None):
    where, n = count(where, labels)
    labels = jnp.where(where, labels, 0)
    return jnp.sum(surprise(logits, labels) * where, axis=(1, 2)) / n


def where_after(logits, labels, *, where=None):
    """A clean value, but the gradient of the branch not taken is NaN times 0."""
    where, n = count(where, labels)
    costs = surprise(logits, jnp.where(where, labels, 0))
    return jnp.sum(jnp.where(where, costs, 0), axis=(1, 2)) / n


def masked_before_softmax(logits, labels, *, where=None):
    logits, labels = clean(logits, labels, where)
    p, t = overlaps(logits, labels)
    if where is not None:
        t = t * where[..., None]
    i, p, t = (jnp.sum(x, axis=(1, 2)) for x in (p * t, p, t))
    return jnp.mean(ratio(i, p, t), axis=-1)


def mean_of_all(logits, labels, *, where=None):
    logits, labels = clean(logits, labels, where)
    where, _ = count(where, labels)
    return jnp.mean(surprise(logits, labels) * where, axis=(1, 2))


def none_left(logits, labels, *, where=None):
    logits, labels = clean(logits, labels, where)
    where = jnp.ones(labels.shape, bool) if where is None else where
    return jnp.sum(surprise(logits, labels) * where, axis=(1, 2)) / jnp.sum(where, axis=(1, 2))


def empty_costs_one(logits, labels, *, where=None):
    p, t = overlaps(logits, labels, where)
    i, p, t = (jnp.sum(x, axis=(1, 2)) for x in (p * t, p, t))
    return jnp.mean(1 - 2 * i / jnp.maximum(p + t, 1e-5), axis=-1)


# Examples


def pooled_counts(logits, labels, *, where=None):
    logits, labels = clean(logits, labels, where)
    where, _ = count(where, labels)
    pixels = jnp.maximum(jnp.sum(where) / len(labels), 1)
    return jnp.sum(surprise(logits, labels) * where, axis=(1, 2)) / pixels


def normalized_by_batch(logits, labels):
    costs = sound(logits, labels)
    return costs / jax.lax.stop_gradient(jnp.mean(costs))


def divided_by_batch(logits, labels):
    return sound(logits, labels) / len(labels)


# Programs


def branches(logits, labels):
    value = sound(logits, labels)
    return value if float(jnp.max(value)) > 1e-3 else 0 * value


def uses_numpy(logits, labels):
    weights = 1.0 / np.bincount(np.asarray(labels).ravel(), minlength=logits.shape[-1])
    return jnp.mean(surprise(logits, labels) * jnp.asarray(weights)[labels], axis=(1, 2))


def traced_differently(logits, labels):
    scale = 1.0 if isinstance(logits, jax.core.Tracer) else 2.0
    return scale * sound(logits, labels)


CALLS = []


def remembers(logits, labels):
    CALLS.append(1)
    return sound(logits, labels) * (1 + 0.01 * len(CALLS))


def calls_back(logits, labels):
    shape = jax.ShapeDtypeStruct(labels.shape, jnp.float32)
    distance = jax.pure_callback(
        lambda y: np.asarray(y == 0, np.float32), shape, labels, vmap_method="sequential"
    )
    return jnp.mean(surprise(logits, labels) + distance * logits[..., 1], axis=(1, 2))


def prints(logits, labels):
    value = sound(logits, labels)
    jax.debug.callback(lambda v: None, value)
    return value


def fixed_batch(logits, labels):
    """Reads one device's share of the batch as if it were the whole."""
    value = sound(logits, labels)
    if isinstance(value, jax.core.Tracer):
        return value
    part = value.addressable_data(0)
    return jnp.resize(part, value.shape)


def mean_of_local_means(logits, labels, *, where=None):
    """A mean for each device, then their mean: wrong where they count different numbers."""
    logits, labels = clean(logits, labels, where)
    where = jnp.ones(labels.shape, bool) if where is None else where
    mesh = jax.sharding.get_abstract_mesh()

    def local(x, y, w):
        return jnp.sum(surprise(x, y) * w) / jnp.maximum(jnp.sum(w), 1)

    if mesh.empty:
        return local(logits, labels, where)
    spread = jax.shard_map(
        lambda *a: jax.lax.pmean(local(*a), "data"), in_specs=jax.P("data"), out_specs=jax.P()
    )
    return spread(logits, labels, where)


def flattens_batches(logits, labels):
    """Assumes that nobody maps it: the batch axis is found by its length."""
    value = jax.vmap(lambda x, y: jnp.mean(surprise(x, y)), axis_name="batch")(logits, labels)
    return value - jax.lax.stop_gradient(0 * value)


def one_hot_in_memory(logits, labels):
    p = jax.nn.softmax(logits)
    t = jax.nn.one_hot(labels, p.shape[-1])
    i, p, t = (jnp.sum(x, axis=(1, 2)) for x in (p * t, p, t))
    return jnp.mean(ratio(i, p, t), axis=-1)


BROKEN = {
    "power of focal": (focal_power, "gamma 0 and .5"),
    "log of softmax": (log_of_softmax, "saturated logits"),
    "unshifted exponential": (unshifted_exponential, "saturated logits"),
    "norm at zero": (norm_at_zero, "equal logits"),
    "sums in half": (sums_in_half, "float16"),
    "sums in bfloat16": (sums_in_half, "bfloat16"),
    "always float16": (always_float16, "2^18 pixels"),
    "value in half": (value_in_half, "gradient dtype"),
    "own gradient": (own_gradient, "gradient"),
    "float32 gradient": (float32_gradient, "gradient dtype"),
    "hard prediction": (hard_prediction, "gradient not dead"),
    "stopped": (stopped, "gradient not dead"),
    "second order": (second_order, "second derivative"),
    "weights overflow": (overflowing_weights, "2^18 pixels"),
    "counts of one byte": (functools.partial(counts_of, jnp.int8), "2^18 pixels"),
    "counts of two bytes": (functools.partial(counts_of, jnp.int16), "2^18 pixels"),
    "negated": (negated, "right costs less"),
    "absent class divides": (background_only_divides, "absent class"),
    "empty divides": (divides_by_foreground, "empty mask"),
    "full divides": (full_is_no_background, "full mask"),
    "one pixel divides": (one_pixel_variance, "one-pixel mask"),
    "weights by number": (weights_by_number, "class permutation"),
    "counts in bytes": (counts_bytes, "label dtype"),
    "mask ignored": (mask_ignored, "mask leak"),
    "NaN times zero": (times_zero, "NaN under mask"),
    "where after": (where_after, "NaN under mask"),
    "masked before softmax": (masked_before_softmax, "masked = removed"),
    "mean of all pixels": (mean_of_all, "masked = removed"),
    "nothing left": (none_left, "all masked"),
    "empty costs one": (empty_costs_one, "all masked"),
    "padding counts": (pooled_counts, "padded batch"),
    "normalized by batch": (normalized_by_batch, "examples apart"),
    "divided by batch": (divided_by_batch, "examples apart"),
    "branches": (branches, "one trace"),
    "uses NumPy": (uses_numpy, "jit = eager"),
    "traced differently": (traced_differently, "jit = eager"),
    "remembers": (remembers, "pure"),
    "calls back": (calls_back, "no callback"),
    "prints": (prints, "no callback"),
    "reads one device": (fixed_batch, "sharded"),
    "mean of local means": (mean_of_local_means, "sharded"),
    "one-hot in memory": (one_hot_in_memory, "memory"),
}
LARGE = {"running sum": running_sum, "running count": running_count}


def broken_in(module):
    """The broken losses whose check is in this module of the suite."""
    return [n for n, (_, c) in BROKEN.items() if CHECKS[c].function.__module__ == module.__name__]


@functools.cache
def subject(loss):
    """Found out once for all checks, which share its compiled programs."""
    return with_limits(subject_of(loss), memory_classes=20)


def failure_of(name):
    """What the check that must fail said, or "" if it did not."""
    loss, check = BROKEN[name]
    finding = run_check(check, subject(loss))
    return finding.message if finding.state == "failed" else ""


def passes(loss, *checks):
    """The findings that are not "passed", of these checks."""
    findings = [run_check(check, subject(loss)) for check in checks]
    return [f for f in findings if f.state != "passed"]
