"""The contract of a loss, on every public loss.

A loss is found in `lossbench.losses`, its inputs are built from the names of its arguments. A name
that is not in `VOCABULARY` fails here: that is how the naming rule enforces itself.
"""

import functools
import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.test_util import check_grads

from lossbench import losses

BATCH = 4
LOSSES = [name for name in losses.__all__ if name not in ("CATALOG", "get")]
# The number of classes a loss is tried with, where three would not show its use.
CLASSES = dict.fromkeys(LOSSES, 3)
SPACES = [(), (7,), (5, 6), (3, 4, 5)]
# Losses of classes that do not exclude one another.
INDEPENDENT = {"binary_cross_entropy"}


# NumPy draws: JAX would compile its generator for every shape.
def logits_of(rng, space, classes):
    return jnp.asarray(rng.normal(size=(BATCH, *space, classes), scale=2), jnp.float32)


def labels_of(rng, space, classes):
    return jnp.asarray(rng.integers(0, classes, (BATCH, *space)), jnp.int32)


VOCABULARY = {"logits": logits_of, "labels": labels_of}


def inputs_of(name, space=(5, 6), seed=0):
    """The required arguments of a loss, by name."""
    rng = np.random.default_rng(seed)
    return {
        argument: VOCABULARY[argument](rng, space, CLASSES[name])
        for argument, parameter in inspect.signature(getattr(losses, name)).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }


def losses_with(*arguments, exclusive=False):
    """The losses that take all these arguments, for tests that mean them only."""
    return [
        name
        for name in LOSSES
        if set(arguments) <= set(inspect.signature(getattr(losses, name)).parameters)
        and not (exclusive and name in INDEPENDENT)
    ]


@pytest.fixture(params=LOSSES)
def name(request):
    return request.param


@pytest.fixture
def loss(name):
    return getattr(losses, name)


def mean_of(loss, inputs, **options):
    """The mean over the batch as a function of the first argument."""
    first = next(iter(inspect.signature(loss).parameters))
    rest = {k: v for k, v in inputs.items() if k != first}
    return lambda x: jnp.mean(loss(**{first: x}, **rest, **options)), inputs[first]


def test_every_loss_has_a_row_and_every_row_is_public():
    assert sorted(LOSSES) == sorted(losses.CATALOG)
    for row in losses.CATALOG.values():
        assert row.function is getattr(losses, row.name)
        signature = inspect.signature(row.function).parameters
        required = tuple(k for k, p in signature.items() if p.default is inspect.Parameter.empty)
        assert row.needs == required


def test_options_are_keyword_only_and_documented(name, loss):
    assert loss.__doc__ is not None
    for heading in ("Args:", "Returns:", "Gradient:", "Raises:", "Example:", "Reference:"):
        assert heading in loss.__doc__, heading
    for argument, parameter in inspect.signature(loss).parameters.items():
        assert f"        {argument}: " in loss.__doc__, f"{argument} is not documented"
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, argument


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_one_float32_value_an_example_at_least_the_lower_bound(name, loss, space):
    value = jax.jit(loss)(**inputs_of(name, space))
    chex.assert_shape(value, (BATCH,))
    assert value.dtype == jnp.float32
    assert np.all(np.asarray(value) >= losses.CATALOG[name].lower_bound - 1e-6)


def test_examples_do_not_mix(name, loss):
    inputs = inputs_of(name)
    whole, alone = jax.jit(loss)(**inputs), jax.jit(loss)
    parts = [alone(**{k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(BATCH)]
    np.testing.assert_allclose(whole, jnp.stack(parts), rtol=1e-6)


def test_jit_equals_eager_in_one_trace(name, loss):
    traces = []

    def counted(**inputs):
        traces.append(1)
        return loss(**inputs)

    compiled = jax.jit(counted)
    for seed in (0, 1):
        inputs = inputs_of(name, seed=seed)
        np.testing.assert_allclose(compiled(**inputs), loss(**inputs), rtol=2e-6, atol=1e-6)
    assert len(traces) == 1


def test_vmap_equals_a_loop(name, loss):
    inputs = [inputs_of(name, seed=s) for s in (0, 1, 2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *inputs)
    mapped = jax.jit(jax.vmap(lambda inputs: loss(**inputs)))(stacked)
    one = jax.jit(loss)
    np.testing.assert_allclose(mapped, jnp.stack([one(**i) for i in inputs]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__
)
def test_value_and_gradient_are_finite_and_keep_the_dtype(name, loss, dtype):
    function, x = mean_of(loss, inputs_of(name))
    value_and_gradient = jax.jit(jax.value_and_grad(function))
    for scale in (0.0, 1.0, 100.0, 1e4):
        scaled = (jnp.clip(x / 4, -1, 1) * scale).astype(dtype)
        value, gradient = value_and_gradient(scaled)
        assert value.dtype == jnp.float32
        assert gradient.dtype == dtype
        assert np.isfinite(value), scale
        assert np.all(np.isfinite(np.asarray(gradient, np.float64))), scale


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_half_precision_accumulates_in_float32(name, loss, dtype):
    """On inputs that the half type holds exactly, the value is the float32 value."""
    inputs = inputs_of(name, (64, 64))
    first = next(iter(inputs))
    half = inputs[first].astype(dtype)
    rest = {k: v for k, v in inputs.items() if k != first}
    value = jax.jit(loss)(**{first: half}, **rest)
    assert value.dtype == jnp.float32
    full = jax.jit(loss)(**{first: half.astype(jnp.float32)}, **rest)
    np.testing.assert_allclose(value, full, rtol=1e-6)


def test_float64_stays_float64(name, loss):
    with jax.enable_x64(True):
        inputs = inputs_of(name)
        first = next(iter(inputs))
        inputs[first] = inputs[first].astype(jnp.float64)
        assert jax.eval_shape(loss, **inputs).dtype == jnp.float64


@pytest.mark.parametrize("name", losses_with("logits", "labels"))
def test_degenerate_labels_give_finite_derivatives(name, loss):
    """Of first and second order, the second in reverse over reverse."""
    inputs = inputs_of(name, (3, 2))
    zeros = jnp.zeros_like(inputs["labels"])
    degenerate = {
        "empty": zeros,
        "full": zeros + 1,
        "one pixel": zeros.at[:, 0, 0].set(1),
        "absent class": jnp.minimum(inputs["labels"], 1),
    }

    @jax.jit
    def derivatives(x, labels):
        gradient = jax.grad(lambda x: jnp.mean(loss(x, labels)))
        along = jax.grad(lambda x: jnp.sum(gradient(x) * jnp.cos(x)))
        return loss(x, labels), gradient(x), along(x)

    for kind, labels in degenerate.items():
        for x in (inputs["logits"], 1e4 * jnp.sign(inputs["logits"])):
            for result in derivatives(x, labels):
                assert np.all(np.isfinite(result)), kind


@pytest.mark.parametrize("name", losses_with("where"))
def test_masked_equals_removed_whatever_lies_under_the_mask(name, loss):
    inputs = inputs_of(name, (6, 5))
    where = jnp.zeros((BATCH, 6, 5), bool).at[:, :4].set(True)
    hidden = dict(inputs)
    for argument, x in inputs.items():
        rubbish = jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else -1000
        mask = where if x.ndim == 3 else where[..., None]
        hidden[argument] = jnp.where(mask, x, rubbish)
    kept = {k: v[:, :4] for k, v in inputs.items()}
    function, x = mean_of(loss, hidden, where=where)
    expected, y = mean_of(loss, kept)
    wanted = jax.jit(lambda x: (jax.grad(expected)(x), loss(**kept)))(y)
    masked = jax.jit(lambda x: (jax.grad(function)(x), loss(**hidden, where=where)))
    for rubbish in (jnp.nan, jnp.inf):
        gradient, value = masked(jnp.where(where[..., None], x, rubbish))
        np.testing.assert_allclose(value, wanted[1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient[:, :4], wanted[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(gradient[:, 4:], 0)


@pytest.mark.parametrize("name", losses_with("where"))
def test_an_example_masked_whole_costs_nothing(name, loss):
    inputs = inputs_of(name)
    where = jnp.ones((BATCH, 5, 6), bool).at[1].set(False)
    function, x = mean_of(loss, inputs, where=where)
    value, whole, gradient = jax.jit(
        lambda x: (loss(**inputs, where=where), loss(**inputs), jax.grad(function)(x))
    )(x)
    assert value[1] == 0
    np.testing.assert_allclose(np.delete(value, 1), np.delete(whole, 1), rtol=1e-6)
    np.testing.assert_array_equal(gradient[1], 0)
    assert np.all(gradient[0] != 0)


def test_gradients_of_first_and_second_order(name, loss):
    """Against differences, forward, reverse and every composition of the two."""
    with jax.enable_x64(True):
        function, x = mean_of(loss, inputs_of(name, (2,)))
        of_any = jax.jit(lambda x: function(jnp.asarray(x)))
        x = x.astype(jnp.float64)
        check_grads(of_any, (x,), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "name", [n for n in losses_with("labels") if losses.CATALOG[n].soft_labels != "no"]
)
def test_label_forms_agree(name, loss):
    """Ids, one bool mask a class, and probabilities that are 0 or 1 mean the same."""
    inputs = inputs_of(name)
    one_hot = jnp.equal(inputs["labels"][..., None], jnp.arange(CLASSES[name])[None, None, None])
    evaluate = jax.jit(loss)
    by_id = evaluate(**inputs)
    for labels in (one_hot, one_hot.astype(jnp.float32), one_hot.astype(jnp.bfloat16)):
        np.testing.assert_allclose(evaluate(**{**inputs, "labels": labels}), by_id, rtol=2e-5)
    for dtype in (jnp.uint8, jnp.int16):
        same = evaluate(**{**inputs, "labels": inputs["labels"].astype(dtype)})
        np.testing.assert_allclose(same, by_id, rtol=1e-6)


@pytest.mark.parametrize("name", losses_with("logits", "labels", exclusive=True))
def test_many_classes_take_the_other_path_to_the_same_value(name, loss):
    """Beyond the unrolled classes, ids and one mask a class mean the same as well."""
    labels = inputs_of(name)["labels"]
    one_hot = jnp.equal(labels[..., None], jnp.arange(20)[None, None, None]).astype(jnp.float32)
    wide = logits_of(np.random.default_rng(3), labels.shape[1:], 20)

    @jax.jit
    def both(x):
        gradients = [jax.grad(lambda x, y=y: jnp.mean(loss(x, y)))(x) for y in (labels, one_hot)]
        return (loss(x, labels), loss(x, one_hot)), gradients

    values, gradients = both(wide)
    np.testing.assert_allclose(*values, rtol=2e-5)
    np.testing.assert_allclose(*gradients, atol=1e-7)


# What is done to an argument, and the argument that the message names.
WRONG = {
    "fewer pixels": ("logits", lambda x: x[:, 1:], "labels"),
    "fewer examples": ("labels", lambda y: y[:2], "labels"),
    "floating ids": ("labels", lambda y: y[..., None].astype(jnp.float32), "labels"),
    "complex labels": ("labels", lambda y: y.astype(jnp.complex64), "labels"),
    "integer logits": ("logits", lambda x: x.astype(jnp.int32), "logits"),
}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [(n, w) for w, (argument, *_) in WRONG.items() for n in losses_with(argument)],
)
def test_wrong_shapes_and_dtypes_name_the_argument(name, loss, wrong):
    argument, change, message = WRONG[wrong]
    inputs = inputs_of(name)
    inputs[argument] = change(inputs[argument])
    # The public function as users have it, without the annotations' own check.
    bare = inspect.unwrap(loss)
    with pytest.raises(ValueError, match=message):
        bare(**inputs)


@pytest.mark.parametrize("name", losses_with("logits", exclusive=True))
def test_a_softmax_over_one_class_is_refused(name, loss):
    with pytest.raises(ValueError, match='activation="sigmoid"'):
        loss(jnp.zeros((1, 4, 1)), jnp.zeros((1, 4), bool))


NUMBERS = (int, float)


def test_numbers_may_be_traced_and_swept(name, loss):
    inputs = inputs_of(name)
    for option, parameter in inspect.signature(loss).parameters.items():
        if isinstance(parameter.default, NUMBERS) and not isinstance(parameter.default, bool):
            values = jnp.array([0.25, 0.5])
            sweep = jax.vmap(lambda v, option=option: loss(**inputs, **{option: v}))
            for row, value in zip(jax.jit(sweep)(values), values, strict=True):
                fixed = jax.jit(functools.partial(loss, **{option: float(value)}))
                np.testing.assert_allclose(row, fixed(**inputs), rtol=1e-5)


def test_sharded_equals_unsharded(name, loss):
    devices = jax.devices("cpu")[:4]
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    inputs = inputs_of(name, (8, 8))
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    spread = jax.device_put(inputs, sharding)

    def value_and_gradient(inputs):
        function, x = mean_of(loss, inputs)
        return loss(**inputs), jax.grad(function)(x)

    alone = jax.jit(value_and_gradient)(jax.device_put(inputs, devices[0]))
    with jax.set_mesh(mesh):
        together = jax.jit(value_and_gradient)(spread)
    chex.assert_trees_all_close(together, alone, rtol=1e-5, atol=1e-7)


def test_no_host_callback_and_strict_dtypes(name, loss):
    with jax.numpy_dtype_promotion("strict"):
        function, x = mean_of(loss, inputs_of(name))
        jaxpr = str(jax.make_jaxpr(jax.value_and_grad(function))(x))
    assert "callback" not in jaxpr


@pytest.mark.parametrize("name", losses_with("logits", "labels", exclusive=True))
def test_ids_never_become_an_array_of_the_logits_size(name, loss):
    """The compiled value and gradient hold at most four arrays of pixels beside inputs and outputs.

    The probabilities of the three classes and one more, or four of margins; one-hot labels beside
    them would be three more. The rest is scratch, whose size differs between XLA's versions.
    """
    inputs = inputs_of(name, (32, 32, 32))
    function = functools.partial(loss, labels=inputs["labels"])
    compiled = jax.jit(jax.value_and_grad(lambda x: jnp.mean(function(x)))).lower(inputs["logits"])
    memory = compiled.compile().memory_analysis()
    pixels = inputs["logits"].nbytes // CLASSES[name]
    scratch = 64 * 1024
    assert memory.temp_size_in_bytes <= 4 * pixels + scratch
