import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench import losses
from tests.losses import agreement, reference


def formula(logits, targets, *, form="ratio", normalize=None, **options):
    def cost(overlap, p, t, s_n, s_d):
        union = p.sum() + t.sum() - overlap
        score = reference.ratio(2 * overlap + s_n, 2 * union + s_d)
        return reference.shape(form, score)

    if normalize is not None:
        logits = normalized(logits, normalize, options.get("where"), options.get("pool"))
        options["activation"] = "identity"
    return reference.region(cost, logits, targets, **options)


def normalized(x, normalize, where, pool):
    """Score maps as probabilities; the least and greatest are of the pixels that count."""
    if normalize == "sigmoid":
        return reference.sigmoid(x)
    if normalize == "clamp":
        return np.clip(x, 0, 1)
    where = np.ones(x.shape[:-1], bool) if where is None else where
    result = np.zeros_like(x)
    groups = [slice(None)] if pool == "batch" else [slice(b, b + 1) for b in range(len(x))]
    for group in groups:
        for c in range(x.shape[-1]):
            values = x[group, ..., c][where[group]]
            low, high = values.min(), values.max()
            scaled = np.full_like(x[group, ..., c], 0.5)
            if high > low:
                scaled = (x[group, ..., c] - low) / (high - low)
            result[group, ..., c] = scaled
    return result


@pytest.mark.parametrize("name", agreement.region_cases(losses.jaccard))
def test_jaccard_is_the_formula(name):
    agreement.region_agrees(losses.jaccard, formula, name)


@pytest.mark.parametrize("form", ["log", "log_cosh"])
@pytest.mark.parametrize("name", ["plain", "one class", "weights", "skip", "batch, masked"])
def test_forms(name, form):
    agreement.region_agrees(losses.jaccard, formula, name, form=form)


@pytest.mark.parametrize("normalize", ["sigmoid", "clamp", "minmax"])
@pytest.mark.parametrize("options", [{}, {"where": agreement.WHERE}, {"pool": "batch"}], ids=str)
@pytest.mark.parametrize("case", ["masks", "one class"])
def test_score_maps_are_normalized(normalize, options, case):
    agreement.agree(losses.jaccard, formula, case, {"normalize": normalize, **options})


def test_a_constant_map_is_half():
    """Two of four pixels: I = 1, P + T - I = 2 + 2 - 1."""
    labels = jnp.array([[True, True, False, False]])
    for constant in (-3.0, 0.0, 7.0):
        cost = lambda x: losses.jaccard(x, labels, normalize="minmax", smooth=0.0)[0]  # noqa: E731
        value, gradient = jax.value_and_grad(cost)(jnp.full((1, 4, 1), constant))
        np.testing.assert_allclose(value, 1 - 1 / 3, rtol=1e-6)
        np.testing.assert_array_equal(gradient, 0)


def test_minmax_does_not_see_scale_and_shift():
    case = agreement.INPUTS["one class"]
    moved = case._replace(logits=100 + 7 * case.logits)
    a, b = (agreement.value_of(losses.jaccard, c, normalize="minmax") for c in (case, moved))
    np.testing.assert_allclose(a, b, rtol=1e-4)


def test_hard_predictions_cost_one_minus_the_intersection_over_union():
    labels = jnp.array([[0, 0, 0, 1, 1]])
    found = jax.nn.one_hot(jnp.array([[0, 0, 1, 1, 0]]), 2)  # IoU 2/4 and 1/3
    value = losses.jaccard(found, labels, activation="identity", smooth=0.0)
    np.testing.assert_allclose(value, 1 - (2 / 4 + 1 / 3) / 2, rtol=1e-6)


def test_perfect_is_zero_and_disjoint_is_one():
    labels = jnp.array([[0, 0, 1, 1]])
    right = 200 * (jax.nn.one_hot(labels, 2) - 0.5)
    np.testing.assert_allclose(losses.jaccard(right, labels), 0, atol=1e-6)
    np.testing.assert_allclose(losses.jaccard(right, 1 - labels), 1, atol=1e-5)


def test_a_soft_label_is_its_own_optimum():
    _, soft, _ = agreement.INPUTS["soft"]
    soft = jnp.asarray(soft, jnp.float32)
    itself = losses.jaccard(soft, soft, activation="identity")
    np.testing.assert_allclose(itself, 0, atol=1e-6)
    assert np.all(losses.jaccard(soft, soft, activation="identity", overlap="product") > 0.1)
    for scale in (0.8, 1.2):
        assert np.all(losses.jaccard(scale * soft, soft, activation="identity") > 0.1)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1e-5, 1.0]))
@settings(max_examples=20, deadline=None)
def test_dice_and_jaccard_are_one_another(seed, smooth):
    """J = D / (2 - D) for one class without smoothing; always Dice costs no more; both in 0..1."""
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(size=(1, 12, 1), scale=3), jnp.float32)
    labels = jnp.asarray(rng.random((1, 12)) < 0.5).at[0, 0].set(True)
    dice = losses.dice(logits, labels, activation="sigmoid", smooth=smooth)
    jaccard = losses.jaccard(logits, labels, activation="sigmoid", smooth=smooth)
    assert 0 <= dice <= jaccard <= 1
    if smooth == 0:
        np.testing.assert_allclose(1 - jaccard, (1 - dice) / (1 + dice), rtol=1e-4)


@pytest.mark.parametrize("form", ["ratio", "log", "log_cosh"])
@pytest.mark.parametrize("absent", ["smooth", "skip", "suppress"])
def test_value_and_gradient_are_finite(form, absent):
    agreement.assert_finite(losses.jaccard, form=form, absent=absent)
    agreement.assert_finite_near_nothing(losses.jaccard, form=form, absent=absent, smooth=0.0)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.jaccard)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "square"}, "form: expected one of 'ratio', 'log', 'log_cosh'"),
        ({"normalize": "max"}, "normalize: expected one of"),
        ({"overlap": "min"}, "overlap: expected one of 'l1', 'product'"),
        ({"pool": "image"}, "pool: expected one of"),
        ({"absent": "zero"}, "absent: expected one of"),
        ({"activation": "relu"}, "activation: expected one of"),
    ],
)
def test_wrong_options_are_named(options, message):
    agreement.assert_refused(losses.jaccard, options, message)
