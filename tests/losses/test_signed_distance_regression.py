import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.losses.signed_distance_regression import signed_distance_regression
from tests.losses import agreement, distances

RNG = np.random.default_rng(9)


def target(mask, counted, spacing, scale):
    far, others = distances.diagonal(counted, spacing), counted & ~mask
    if not others.any() or not mask.any():
        return np.full(mask.shape, (1 if mask.any() else -1) * (far if scale == "none" else 1))
    phi = -distances.signed(mask, counted, spacing, inside="plain")
    if scale == "sides":
        phi = np.where(mask, phi / phi[mask].max(), phi / -phi[others].min())
    return phi / far if scale == "diagonal" else phi


def formula(
    logits,
    targets,
    *,
    where=None,
    activation="tanh",
    class_weights=None,
    include_background=False,
    spacing=None,
    scale="sides",
    form="l1_product",
):
    def cost(f, t, counted):
        y = target(t > 0.5, counted, spacing, scale)[counted]
        f = f[counted]
        product = 1 / 3 - (f * y).sum() / (f * y + f**2 + y**2).sum()
        terms = {"l1": np.abs(f - y).mean(), "l2": ((f - y) ** 2).mean(), "product": product}
        return sum(terms[name] for name in form.split("_"))

    return distances.by_class(
        cost,
        np.tanh(logits) if activation == "tanh" else logits,
        targets,
        where=where,
        activation="identity",
        class_weights=class_weights,
        include_background=include_background,
    )


CASES = [
    name
    for name, (_, options) in distances.SHARED.items()
    if options.get("activation", "softmax") == "softmax"
]


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_formula(name):
    case, options = distances.SHARED[name]
    agreement.agree(signed_distance_regression, formula, case, options, **distances.TOLERANCE)


@pytest.mark.parametrize("form", ["l1", "l2", "product", "l1_product"])
@pytest.mark.parametrize("scale", ["sides", "diagonal", "none"])
@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_forms_and_scales(form, scale, activation):
    options = {"form": form, "scale": scale, "activation": activation, "spacing": (2.0, 0.5)}
    agreement.agree(
        signed_distance_regression, formula, "ids", options, directions=1, **distances.TOLERANCE
    )


@pytest.mark.parametrize("scale", ["sides", "diagonal", "none"])
def test_degenerate_masks(scale):
    masks = np.zeros((5, 6, 7), bool)
    masks[1] = True
    masks[2, 2, 3] = True
    masks[3] = ~masks[2]
    masks[4, 0, 0] = True
    logits = RNG.normal(size=(*masks.shape, 1))
    case = agreement.Case(logits, masks, masks[..., None].astype(float))
    agreement.agree(
        signed_distance_regression, formula, case, {"scale": scale}, **distances.TOLERANCE
    )


@pytest.mark.parametrize("form", ["l1", "l2", "product", "l1_product"])
def test_a_perfect_map_costs_nothing(form):
    mask = distances.blob((9, 8))
    perfect = jnp.asarray(target(mask, np.ones_like(mask), None, "sides"), jnp.float32)[
        None, ..., None
    ]
    options = {"activation": "linear", "form": form}
    labels = jnp.asarray(mask)[None]
    value = signed_distance_regression(perfect, labels, **options)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    assert signed_distance_regression(-perfect, labels, **options)[0] > 0.1
    nothing = signed_distance_regression(0 * perfect, labels, **options)
    assert np.isfinite(nothing[0])


def test_value_and_gradient_are_finite():
    for form in ("l1", "l2", "product"):
        agreement.assert_finite(signed_distance_regression, form=form)
    agreement.assert_finite(signed_distance_regression, classes=7)


def test_vmap_jit_and_no_callback():
    labels = jnp.asarray(RNG.integers(0, 3, (3, 2, 6, 5)))
    logits = jnp.asarray(RNG.normal(size=(3, 2, 6, 5, 3)), jnp.bfloat16)
    mapped = jax.jit(jax.vmap(signed_distance_regression))(logits, labels)
    one = [jax.jit(signed_distance_regression)(x, y) for x, y in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(mapped, jnp.stack(one), rtol=1e-5)
    gradient = jax.grad(lambda x: signed_distance_regression(x, labels[0]).sum())
    assert not distances.callbacks(gradient, logits[0])
    assert gradient(logits[0]).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "l3"}, "form: expected one of 'l1', 'l2', 'product', 'l1_product'"),
        ({"scale": "max"}, "scale: expected one of 'sides', 'diagonal', 'none'"),
        ({"activation": "softmax"}, "activation: expected one of 'tanh', 'linear'"),
        ({"spacing": (1.0,)}, "spacing: expected 2 numbers above 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(signed_distance_regression, options, message)


def test_probabilities_are_refused():
    message = "labels: a signed distance needs hard labels"
    agreement.assert_refused(signed_distance_regression, {}, message, "soft")
