"""The contract of a loss, on every public loss.

A loss is found in `lossbench.losses`, its inputs are built from the names of its arguments. A name
that is not in `VOCABULARY` fails here: that is how the naming rule enforces itself. What the
torture suite asks of anybody's loss (masks, saturation, half precision, meshes, memory, ...) it
asks of every row of the catalog in `tests/testing/test_contract.py`.
"""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lossbench import losses

BATCH = 4
# What is public besides losses: the catalog, and what prepares a loss's arguments or wraps one.
OTHERS = {"CATALOG", "get", "deep_supervision", "boundary_optimum", "boundary_schedule"}
OTHERS |= {"signed_distance_map", "unet_weight_map", "component_map", "component_regions"}
OTHERS |= {"tubed_skeleton", "svdd_distance", "learned_radius"}
LOSSES = [name for name in losses.__all__ if name not in OTHERS]
# The number of classes a loss is tried with, where three would not show its use.
CLASSES = dict.fromkeys(LOSSES, 3)
SPACES = [(), (7,), (3, 4, 5)]
# Losses of classes that do not exclude one another.
INDEPENDENT = {
    "binary_cross_entropy",
    "sigmoid_focal",
    "lovasz_hinge",
    "signed_distance_regression",
}


# NumPy draws: JAX would compile its generator for every shape.
def logits_of(rng, space, classes):
    return jnp.asarray(rng.normal(size=(BATCH, *space, classes), scale=2), jnp.float32)


def labels_of(rng, space, classes):
    return jnp.asarray(rng.integers(0, classes, (BATCH, *space)), jnp.int32)


def distances_of(rng, space, classes):
    return jnp.asarray(1 - np.eye(classes), jnp.float32)


def mask_of(rng, space, classes):
    return jnp.asarray(rng.random((BATCH, *space)) < 0.4)


def signs_of(rng, space, classes):
    """The integers of Deep SAD."""
    return jnp.asarray(rng.integers(-1, 2, (BATCH, *space)), jnp.int32)


def spectra_of(rng, space, classes):
    """At least 0, as spectra and colors are."""
    return jnp.asarray(rng.random((BATCH, *space, classes)) + 0.1, jnp.float32)


def center_of(rng, space, classes):
    return jnp.asarray(rng.normal(size=classes), jnp.float32)


def radius_of(rng, space, classes):
    return jnp.float32(1.5)


def nu_of(rng, space, classes):
    return jnp.float32(0.3)


def matrix_of(rng, space, classes):
    """Of parameters, whatever the space."""
    return jnp.asarray(rng.random((classes, 5)) + 0.1, jnp.float32)


VOCABULARY = {
    "logits": logits_of,
    "labels": labels_of,
    "distances": distances_of,
    "embeddings": logits_of,
    "center": center_of,
    "radius": radius_of,
    "nu": nu_of,
    "reconstructed": spectra_of,
    "image": spectra_of,
    "colors": spectra_of,
    "components": matrix_of,
    "selector_weights": matrix_of,
}
# What labels mean by the first argument: classes, but for losses of anomalies.
MASKED = {"embeddings", "colors"}
# Numbers that a loss cannot do without, which are no arrays of a batch.
NUMBERS = {"nu"}


def inputs_of(name, space=(5, 6), seed=0, classes=None):
    """The required arguments of a loss, by name."""
    rng = np.random.default_rng(seed)
    parameters = inspect.signature(getattr(losses, name)).parameters
    vocabulary = dict(VOCABULARY)
    if next(iter(parameters)) in MASKED:
        vocabulary["labels"] = signs_of if name == "deep_sad" else mask_of
    return {
        argument: vocabulary[argument](rng, space, classes or CLASSES[name])
        for argument, parameter in parameters.items()
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
        assert row.needs == tuple(argument for argument in required if argument not in NUMBERS)


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
    row = losses.CATALOG[name]
    value = jax.jit(loss)(**inputs_of(name, space))
    chex.assert_shape(value, () if row.family == "regularizer" else (BATCH,))
    assert value.dtype == jnp.float32
    assert np.all(np.asarray(value) >= row.lower_bound - 1e-6)


def test_vmap_equals_a_loop(name, loss):
    inputs = [inputs_of(name, seed=s) for s in (0, 1, 2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *inputs)
    mapped = jax.jit(jax.vmap(lambda inputs: loss(**inputs)))(stacked)
    one = jax.jit(loss)
    np.testing.assert_allclose(mapped, jnp.stack([one(**i) for i in inputs]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", losses_with("logits"))
def test_what_has_diverged_shows_in_the_value(name, loss):
    """A guard against dividing by 0 must not take NaN for an empty class, which costs nothing."""
    inputs = inputs_of(name)
    logits = np.array(inputs["logits"])
    logits[0, 2, 3] = np.nan
    value = np.asarray(jax.jit(loss)(**{**inputs, "logits": jnp.asarray(logits)}))
    assert np.isnan(value).tolist() == [True] + [False] * (BATCH - 1)


def test_float64_stays_float64(name, loss):
    with jax.enable_x64(True):
        inputs = inputs_of(name)
        first = next(iter(inputs))
        inputs[first] = inputs[first].astype(jnp.float64)
        assert jax.eval_shape(loss, **inputs).dtype == jnp.float64


@pytest.mark.long
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

    rest = {k: v for k, v in inputs.items() if k not in ("logits", "labels")}

    @jax.jit
    def derivatives(x, labels):
        gradient = jax.grad(lambda x: jnp.mean(loss(x, labels, **rest)))
        along = jax.grad(lambda x: jnp.sum(gradient(x) * jnp.cos(x)))
        return loss(x, labels, **rest), gradient(x), along(x)

    for kind, labels in degenerate.items():
        for x in (inputs["logits"], 1e4 * jnp.sign(inputs["logits"])):
            for result in derivatives(x, labels):
                assert np.all(np.isfinite(result)), kind


@pytest.mark.long
def test_gradients_of_first_and_second_order(name, loss):
    """Against differences, forward, reverse and every composition of the two."""
    with jax.enable_x64(True):
        function, x = mean_of(loss, inputs_of(name, (2,)))
        of_any = jax.jit(lambda x: function(jnp.asarray(x)))
        x = x.astype(jnp.float64)
        check_grads(of_any, (x,), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", losses_with("logits", "labels"))
def test_label_forms_agree(name, loss):
    """Ids of any kind, one bool mask a class, and probabilities that are 0 or 1 mean the same."""
    inputs = inputs_of(name)
    labels = inputs.pop("labels")
    one_hot = jnp.equal(labels[..., None], jnp.arange(CLASSES[name])[None, None, None])
    forms = [labels, labels.astype(jnp.uint8), labels.astype(jnp.int16), one_hot]
    if losses.CATALOG[name].soft_labels != "no":
        forms += [one_hot.astype(jnp.float32), one_hot.astype(jnp.bfloat16)]
    values = jax.jit(lambda forms: [loss(labels=form, **inputs) for form in forms])(forms)
    for value in values[1:]:
        np.testing.assert_allclose(value, values[0], rtol=2e-5)


@pytest.mark.parametrize("name", losses_with("logits", "labels", exclusive=True))
def test_many_classes_take_the_other_path_to_the_same_value(name, loss):
    """Beyond the unrolled classes, ids and one mask a class mean the same as well."""
    inputs = {k: v for k, v in inputs_of(name, classes=20).items() if k != "logits"}
    labels = inputs.pop("labels") % 3
    one_hot = jnp.equal(labels[..., None], jnp.arange(20)[None, None, None])
    if losses.CATALOG[name].soft_labels != "no":
        one_hot = one_hot.astype(jnp.float32)
    wide = logits_of(np.random.default_rng(3), labels.shape[1:], 20)

    @jax.jit
    def both(x):
        def of(labels):
            return lambda x: jnp.mean(loss(x, labels, **inputs))

        return [jax.value_and_grad(of(y))(x) for y in (labels, one_hot)]

    (by_id, gradient), (by_class, same_gradient) = both(wide)
    np.testing.assert_allclose(by_class, by_id, rtol=2e-5)
    np.testing.assert_allclose(same_gradient, gradient, atol=1e-6)


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
    rest = {k: v for k, v in inputs_of(name, (4,), classes=1).items() if k == "distances"}
    with pytest.raises(ValueError, match='activation="sigmoid"'):
        loss(jnp.zeros((1, 4, 1)), jnp.zeros((1, 4), bool), **rest)


def test_strict_dtypes(name, loss):
    with jax.numpy_dtype_promotion("strict"):
        function, x = mean_of(loss, inputs_of(name))
        jax.make_jaxpr(jax.value_and_grad(function))(x)


# Distances of every class, ranks, erosions from and to arrays of all classes: of the logits' size.
MEMORY = {"lovasz_softmax": 1.2, "lovasz_hinge": 1.2, "hausdorff_dt": 1.2, "log_hausdorff_dt": 1.2}
MEMORY |= {"hausdorff_er": 4.2, "cl_dice": 3.2, "blob": 1.3, "cc_dice": 1.3}


@pytest.mark.parametrize("name", losses_with("logits", "labels"))
def test_many_classes_take_little_memory_besides_the_gradient(name, loss):
    """No one-hot labels and, but for what `MEMORY` names, no second array of logits."""
    space, classes = (32, 32, 16), 100
    inputs = inputs_of(name, space, classes=classes)
    logits = inputs["logits"] = inputs["logits"][:1]
    labels = inputs["labels"] = inputs["labels"][:1]
    rest = {k: v for k, v in inputs.items() if k not in ("logits", "labels")}
    step = jax.jit(jax.value_and_grad(lambda x, y: jnp.mean(loss(x, y, **rest))))
    memory = step.lower(logits, labels).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= MEMORY.get(name, 1.1) * logits.nbytes
