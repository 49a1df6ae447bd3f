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


def logits_of(key, space, classes):
    return 2 * jax.random.normal(key, (BATCH, *space, classes))


def labels_of(key, space, classes):
    return jax.random.randint(key, (BATCH, *space), 0, classes)


VOCABULARY = {"logits": logits_of, "labels": labels_of}


def inputs_of(name, space=(5, 6), seed=0):
    """The required arguments of a loss, by name."""
    keys = iter(jax.random.split(jax.random.key(seed), 8))
    return {
        argument: VOCABULARY[argument](next(keys), space, CLASSES[name])
        for argument, parameter in inspect.signature(getattr(losses, name)).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }


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
    value = loss(**inputs_of(name, space))
    chex.assert_shape(value, (BATCH,))
    assert value.dtype == jnp.float32
    assert np.all(np.asarray(value) >= losses.CATALOG[name].lower_bound - 1e-6)


def test_examples_do_not_mix(name, loss):
    inputs = inputs_of(name)
    whole = loss(**inputs)
    parts = [loss(**{k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(BATCH)]
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
    mapped = jax.vmap(lambda inputs: loss(**inputs))(stacked)
    np.testing.assert_allclose(mapped, jnp.stack([loss(**i) for i in inputs]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e4])
@pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__
)
def test_value_and_gradient_are_finite_and_keep_the_dtype(name, loss, scale, dtype):
    inputs = inputs_of(name)
    function, x = mean_of(loss, inputs)
    x = (jnp.clip(x / 4, -1, 1) * scale).astype(dtype)
    value, gradient = jax.value_and_grad(function)(x)
    assert value.dtype == jnp.float32
    assert gradient.dtype == dtype
    assert np.isfinite(value)
    assert np.all(np.isfinite(np.asarray(gradient, np.float64)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_half_precision_accumulates_in_float32(name, loss, dtype):
    """On inputs that the half type holds exactly, the value is the float32 value."""
    inputs = inputs_of(name, (64, 64))
    first = next(iter(inputs))
    half = inputs[first].astype(dtype)
    rest = {k: v for k, v in inputs.items() if k != first}
    value = loss(**{first: half}, **rest)
    assert value.dtype == jnp.float32
    full = loss(**{first: half.astype(jnp.float32)}, **rest)
    np.testing.assert_allclose(value, full, rtol=1e-6)


def test_float64_stays_float64(name, loss):
    with jax.enable_x64(True):
        inputs = inputs_of(name)
        first = next(iter(inputs))
        inputs[first] = inputs[first].astype(jnp.float64)
        assert loss(**inputs).dtype == jnp.float64


@pytest.mark.parametrize("labels", ["empty", "full", "one pixel", "absent class"])
def test_degenerate_labels_give_finite_gradients(name, loss, labels):
    inputs = inputs_of(name)
    if "labels" not in inputs:
        pytest.skip("no labels")
    zeros = jnp.zeros_like(inputs["labels"])
    inputs["labels"] = {
        "empty": zeros,
        "full": zeros + 1,
        "one pixel": zeros.at[:, 0].set(1),
        "absent class": jnp.minimum(inputs["labels"], 1),
    }[labels]
    for x in (inputs["logits"], 1e4 * jnp.sign(inputs["logits"])):
        function, _ = mean_of(loss, inputs)
        value, gradient = jax.value_and_grad(function)(x)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


def takes_where(loss):
    return "where" in inspect.signature(loss).parameters


def test_masked_equals_removed_whatever_lies_under_the_mask(name, loss):
    if not takes_where(loss):
        pytest.skip("no where")
    inputs = inputs_of(name, (6, 5))
    where = jnp.zeros((BATCH, 6, 5), bool).at[:, :4].set(True)
    hidden = dict(inputs)
    for argument, x in inputs.items():
        rubbish = jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else -1000
        mask = where if x.ndim == 3 else where[..., None]
        hidden[argument] = jnp.where(mask, x, rubbish)
    kept = {k: v[:, :4] for k, v in inputs.items()}
    np.testing.assert_allclose(loss(**hidden, where=where), loss(**kept), rtol=1e-5, atol=1e-6)
    function, x = mean_of(loss, hidden, where=where)
    for rubbish in (jnp.nan, jnp.inf):
        x = jnp.where(where[..., None], x, rubbish)
        gradient = jax.grad(function)(x)
        expected, y = mean_of(loss, kept)
        np.testing.assert_allclose(gradient[:, :4], jax.grad(expected)(y), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(gradient[:, 4:], 0)


def test_an_example_masked_whole_costs_nothing(name, loss):
    if not takes_where(loss):
        pytest.skip("no where")
    inputs = inputs_of(name)
    where = jnp.ones((BATCH, 5, 6), bool).at[1].set(False)
    function, x = mean_of(loss, inputs, where=where)
    value = loss(**inputs, where=where)
    assert value[1] == 0
    np.testing.assert_allclose(np.delete(value, 1), np.delete(loss(**inputs), 1), rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(function)(x)[1], 0)


def test_gradients_of_first_and_second_order(name, loss):
    with jax.enable_x64(True):
        inputs = inputs_of(name, (3, 2))
        function, x = mean_of(loss, inputs)
        x = x.astype(jnp.float64)
        of_any = lambda x: function(jnp.asarray(x))  # noqa: E731  check_grads gives NumPy arrays
        check_grads(of_any, (x,), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-5)
        vector = jax.random.normal(jax.random.key(9), x.shape, jnp.float64)
        forward_over_reverse = jax.jvp(jax.grad(function), (x,), (vector,))[1]
        h = 1e-6
        gradient = jax.grad(function)
        numeric = (gradient(x + h * vector) - gradient(x - h * vector)) / (2 * h)
        np.testing.assert_allclose(forward_over_reverse, numeric, atol=1e-7)


def test_label_forms_agree(name, loss):
    """Ids, one bool mask a class, and probabilities that are 0 or 1 mean the same."""
    inputs = inputs_of(name)
    if "labels" not in inputs or losses.CATALOG[name].soft_labels == "no":
        pytest.skip("no soft labels")
    one_hot = jnp.equal(inputs["labels"][..., None], jnp.arange(CLASSES[name])[None, None, None])
    by_id = loss(**inputs)
    for labels in (one_hot, one_hot.astype(jnp.float32), one_hot.astype(jnp.bfloat16)):
        np.testing.assert_allclose(loss(**{**inputs, "labels": labels}), by_id, rtol=2e-5)
    for dtype in (jnp.uint8, jnp.int16):
        same = loss(**{**inputs, "labels": inputs["labels"].astype(dtype)})
        np.testing.assert_allclose(same, by_id, rtol=1e-6)


def test_many_classes_take_the_other_path_to_the_same_value(name, loss):
    """Classes beyond the unrolled ones: unlikely extra classes change nothing that matters."""
    if "labels" not in inputs_of(name) or name == "binary_cross_entropy":
        pytest.skip("no exclusive classes")
    inputs = inputs_of(name)
    one_hot = jnp.equal(inputs["labels"][..., None], jnp.arange(20)[None, None, None])
    wide = jax.random.normal(jax.random.key(3), (*inputs["labels"].shape, 20))
    by_id = loss(wide, inputs["labels"])
    np.testing.assert_allclose(loss(wide, one_hot.astype(jnp.float32)), by_id, rtol=2e-5)
    function = lambda x: jnp.mean(loss(x, inputs["labels"]))  # noqa: E731
    soft = lambda x: jnp.mean(loss(x, one_hot.astype(jnp.float32)))  # noqa: E731
    np.testing.assert_allclose(jax.grad(function)(wide), jax.grad(soft)(wide), atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": lambda x: x[:, 1:]}, "labels"),
        ({"labels": lambda y: y[:2]}, "labels"),
        ({"labels": lambda y: y[..., None].astype(jnp.float32)}, "labels"),
        ({"labels": lambda y: y.astype(jnp.complex64)}, "labels"),
        ({"logits": lambda x: x.astype(jnp.int32)}, "logits"),
    ],
)
def test_wrong_shapes_and_dtypes_name_the_argument(name, loss, change, message):
    inputs = inputs_of(name)
    if not set(change) <= set(inputs):
        pytest.skip("no such argument")
    for argument, function in change.items():
        inputs[argument] = function(inputs[argument])
    # The public function as users have it, without the annotations' own check.
    bare = inspect.unwrap(loss)
    with pytest.raises(ValueError, match=message):
        bare(**inputs)


def test_a_softmax_over_one_class_is_refused(name, loss):
    parameters = inspect.signature(loss).parameters
    if "logits" not in parameters or name == "binary_cross_entropy":
        pytest.skip("no softmax")
    with pytest.raises(ValueError, match='activation="sigmoid"'):
        loss(jnp.zeros((1, 4, 1)), jnp.zeros((1, 4), bool))


NUMBERS = (int, float)


def test_numbers_may_be_traced_and_swept(name, loss):
    inputs = inputs_of(name)
    for option, parameter in inspect.signature(loss).parameters.items():
        if isinstance(parameter.default, NUMBERS) and not isinstance(parameter.default, bool):
            values = jnp.array([0.25, 0.5])
            swept = jax.vmap(lambda v, option=option: loss(**inputs, **{option: v}))(values)
            for row, value in zip(swept, values, strict=True):
                np.testing.assert_allclose(row, loss(**inputs, **{option: float(value)}), rtol=1e-5)


def test_sharded_equals_unsharded(name, loss):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    inputs = inputs_of(name, (8, 8))
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    spread = jax.device_put(inputs, sharding)

    def value_and_gradient(inputs):
        function, x = mean_of(loss, inputs)
        return loss(**inputs), jax.grad(function)(x)

    alone = jax.jit(value_and_gradient)(inputs)
    with jax.set_mesh(mesh):
        together = jax.jit(value_and_gradient)(spread)
    chex.assert_trees_all_close(together, alone, rtol=1e-5, atol=1e-7)


def test_no_host_callback_and_strict_dtypes(name, loss):
    with jax.numpy_dtype_promotion("strict"):
        function, x = mean_of(loss, inputs_of(name))
        jaxpr = str(jax.make_jaxpr(jax.value_and_grad(function))(x))
    assert "callback" not in jaxpr


def test_ids_never_become_an_array_of_the_logits_size(name, loss):
    """The compiled value and gradient hold at most the probabilities beside inputs and outputs."""
    inputs = inputs_of(name, (32, 32, 32))
    if "labels" not in inputs or name == "binary_cross_entropy":
        pytest.skip("no class ids")
    function = functools.partial(loss, labels=inputs["labels"])
    compiled = jax.jit(jax.value_and_grad(lambda x: jnp.mean(function(x)))).lower(inputs["logits"])
    memory = compiled.compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 1.35 * inputs["logits"].nbytes
