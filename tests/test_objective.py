"""Objectives: names bound to arrays, weights, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench import losses
from lossbench.objective import Objective, Term

STEP = jnp.array(0)


def mean_square(logits, labels, *, where=None, scale=1.0):
    """A loss of one value an example that is easily computed by hand."""
    errors = (logits - labels) ** 2
    if where is not None:
        errors = jnp.where(where, errors, 0)
    return scale * jnp.mean(errors, axis=1)


def pooled(logits):
    return jnp.sum(logits)


def every_pixel(logits):
    return logits


BATCH = {"logits": jnp.array([[1.0, 2.0], [3.0, 5.0]]), "labels": jnp.zeros((2, 2))}
# Mean squares of the two examples.
VALUES = np.array([2.5, 17.0])


def test_the_total_is_the_weighted_sum_of_the_means():
    objective = Objective(
        {
            "one": Term(mean_square, weight=0.5),
            "two": Term(mean_square, weight=-2.0, options={"scale": 3.0}),
        }
    )
    value = jax.jit(objective)(BATCH, STEP)
    np.testing.assert_allclose(value.terms["one"], VALUES.mean())
    np.testing.assert_allclose(value.terms["two"], 3 * VALUES.mean())
    assert {name: float(weight) for name, weight in value.weights.items()} == {
        "one": 0.5,
        "two": -2.0,
    }
    np.testing.assert_allclose(value.total, 0.5 * VALUES.mean() - 6 * VALUES.mean())
    for scalar in jax.tree.leaves(value):
        assert scalar.shape == ()
        assert scalar.dtype == jnp.float32


def test_the_gradient_of_the_total_is_that_of_the_weighted_terms():
    objective = Objective({"a": Term(mean_square, weight=0.5), "b": Term(pooled, weight=2.0)})
    gradient = jax.grad(lambda x: objective({**BATCH, "logits": x}, STEP).total)(BATCH["logits"])
    # d/dx of 0.5 * mean over four of x^2, and 2 for the sum.
    np.testing.assert_allclose(gradient, 0.5 * 2 * BATCH["logits"] / 4 + 2)


def test_inputs_rename_an_argument():
    term = Term(mean_square, inputs={"logits": "logits_2", "labels": "target"})
    namespace = {"logits_2": BATCH["logits"], "target": BATCH["labels"] + 1, "logits": jnp.zeros(3)}
    value = Objective({"coarse": term})(namespace, STEP)
    np.testing.assert_allclose(value.total, np.mean([0, 1, 4, 16]))


def test_where_is_bound_if_it_is_there():
    where = jnp.array([[True, False], [True, True]])
    objective = Objective({"a": Term(mean_square)})
    np.testing.assert_allclose(objective(BATCH, STEP).total, (1 + 4 + 9 + 25) / 4)
    np.testing.assert_allclose(objective({**BATCH, "where": where}, STEP).total, (1 + 9 + 25) / 4)
    renamed = Objective({"a": Term(mean_square, inputs={"where": "inside"})})
    np.testing.assert_allclose(renamed({**BATCH, "inside": where}, STEP).total, (1 + 9 + 25) / 4)


def test_an_option_is_not_overwritten_by_a_name_of_the_batch():
    """`scale` has a default that is not None: only `inputs` may take it from the batch."""
    namespace = {**BATCH, "scale": jnp.array(100.0)}
    np.testing.assert_allclose(
        Objective({"a": Term(mean_square)})(namespace, STEP).total, VALUES.mean()
    )
    taken = Objective({"a": Term(mean_square, inputs={"scale": "scale"})})
    np.testing.assert_allclose(taken(namespace, STEP).total, 100 * VALUES.mean())
    given = Objective({"a": Term(mean_square, options={"where": None})})
    masked = {**BATCH, "where": jnp.zeros((2, 2), bool)}
    np.testing.assert_allclose(given(masked, STEP).total, VALUES.mean())


@pytest.mark.parametrize(
    ("inputs", "needed"),
    [
        ({}, r"the loss mean_square needs 'labels'; batch and outputs have: image, logits"),
        ({"labels": "mask"}, r"needs 'labels' \(from 'mask'\)"),
        ({"labels": "image", "where": "inside"}, r"needs 'where' \(from 'inside'\)"),
    ],
)
def test_a_missing_name_is_an_error_that_lists_what_there_is(inputs, needed):
    objective = Objective({"a": Term(mean_square, inputs=inputs)})
    namespace = {"logits": jnp.zeros((1, 2)), "image": jnp.zeros((1, 2))}
    with pytest.raises(ValueError, match=needed):
        objective(namespace, STEP)


def test_unknown_options_and_arguments_name_the_nearest():
    with pytest.raises(ValueError, match=r"unknown option of the loss focal 'gama'; .* 'gamma'"):
        Term(losses.focal, options={"gama": 2.0})
    with pytest.raises(ValueError, match=r"unknown argument of the loss dice 'logit'; .* 'logits'"):
        Term(losses.dice, inputs={"logit": "logits_2"})
    with pytest.raises(ValueError, match="at least one term"):
        Objective({})


def test_terms_cannot_be_changed_afterwards():
    terms = {"a": Term(mean_square)}
    objective = Objective(terms)
    terms["b"] = Term(pooled)
    assert list(objective.terms) == ["a"]
    with pytest.raises(TypeError):
        objective.terms["b"] = Term(pooled)  # pyright: ignore[reportIndexIssue]


def test_a_schedule_is_a_weight_of_the_step():
    ramp = optax.linear_schedule(0.0, 1.0, transition_steps=10)
    objective = jax.jit(Objective({"a": Term(mean_square, weight=ramp)}))
    for step, weight in ((0, 0.0), (5, 0.5), (100, 1.0)):
        value = objective(BATCH, jnp.array(step))
        np.testing.assert_allclose(value.weights["a"], weight)
        np.testing.assert_allclose(value.terms["a"], VALUES.mean())
        np.testing.assert_allclose(value.total, weight * VALUES.mean())


def test_a_weight_may_be_traced_and_swept():
    total = lambda w: Objective({"a": Term(mean_square, weight=w)})(BATCH, STEP).total  # noqa: E731
    np.testing.assert_allclose(
        jax.vmap(total)(jnp.array([0.5, 2.0])), [0.5 * VALUES.mean(), 2 * VALUES.mean()]
    )


def test_a_scalar_loss_is_its_own_mean():
    value = Objective({"a": Term(pooled)})({**BATCH, "weights": jnp.zeros(2)}, STEP)
    np.testing.assert_allclose(value.total, 11.0)


def test_one_value_a_pixel_is_refused():
    with pytest.raises(ValueError, match=r'shape \(2, 2\).*reduction="none"'):
        Objective({"a": Term(every_pixel)})(BATCH, STEP)


@pytest.mark.parametrize(
    ("weights", "mean"), [([1.0, 0.0], 2.5), ([1.0, 3.0], 13.375), ([0.0, 0.0], 0.0)]
)
def test_examples_are_weighted_in_every_term(weights, mean):
    objective = Objective({"a": Term(mean_square), "b": Term(mean_square, options={"scale": 2.0})})
    value = objective({**BATCH, "weights": jnp.array(weights)}, STEP)
    np.testing.assert_allclose(value.terms["a"], mean)
    np.testing.assert_allclose(value.terms["b"], 2 * mean)
    np.testing.assert_allclose(value.total, 3 * mean)


def test_a_partial_and_a_loss_of_any_options_are_losses():
    def open_ended(logits, **options):
        return options["factor"] * jnp.sum(logits)

    objective = Objective(
        {
            "partial": Term(functools.partial(mean_square, scale=2.0)),
            "open": Term(open_ended, options={"factor": 3.0}),
        }
    )
    value = objective(BATCH, STEP)
    np.testing.assert_allclose(value.terms["partial"], 2 * VALUES.mean())
    np.testing.assert_allclose(value.terms["open"], 33.0)
    with pytest.raises(ValueError, match="the loss mean_square needs 'logits'"):
        Objective({"a": Term(functools.partial(mean_square, scale=2.0))})({}, STEP)


def test_a_configuration_is_the_objective_written_in_python():
    objective = Objective.from_config(
        {
            "terms": {
                "dice": {"weight": 0.5, "smooth": 1.0},
                "hard": {"loss": "focal", "gamma": 3.0, "inputs": {"logits": "logits_2"}},
                "cross_entropy": None,
            }
        }
    )
    logits = jax.random.normal(jax.random.key(0), (2, 6, 3))
    labels = jnp.arange(12).reshape(2, 6) % 3
    value = objective({"logits": logits, "logits_2": 2 * logits, "labels": labels}, STEP)
    expected = {
        "dice": losses.dice(logits, labels, smooth=1.0).mean(),
        "hard": losses.focal(2 * logits, labels, gamma=3.0).mean(),
        "cross_entropy": losses.cross_entropy(logits, labels).mean(),
    }
    assert list(value.terms) == list(expected)
    for name, term in expected.items():
        np.testing.assert_allclose(value.terms[name], term, rtol=1e-6)
    total = 0.5 * expected["dice"] + expected["hard"] + expected["cross_entropy"]
    np.testing.assert_allclose(value.total, total, rtol=1e-6)


def test_a_configured_weight_may_be_a_named_schedule():
    weight = {
        "schedule": "linear_schedule",
        "init_value": 1.0,
        "end_value": 3.0,
        "transition_steps": 4,
    }
    objective = Objective.from_config({"terms": {"dice": {"weight": weight}}})
    schedule = objective.terms["dice"].weight
    assert callable(schedule)
    assert [float(schedule(jnp.array(step))) for step in (0, 2, 9)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "needs 'terms'"),
        ({"terms": {}}, "needs 'terms'"),
        ({"terms": ["dice"]}, r"needs 'terms', a mapping .* got \['dice'\]"),
        ({"terms": {"dice": {}}, "weight": 1}, "unknown key of an objective 'weight'"),
        ({"terms": {"dise": {}}}, "unknown loss 'dise'; did you mean 'dice'"),
        ({"terms": {"edges": {"loss": "fokal"}}}, "unknown loss 'fokal'; did you mean 'focal'"),
        (
            {"terms": {"dice": {"weight": -1.0}}},
            "term 'dice': weight must be .* at least 0, got -1",
        ),
        ({"terms": {"dice": {"weight": float("nan")}}}, "weight must be finite .* got nan"),
        ({"terms": {"dice": {"weight": 0}, "focal": {"weight": 0.0}}}, "every weight is 0"),
        ({"terms": {"edges": {"loss": 3}}}, "term 'edges': the loss must be a name, got 3"),
        ({"terms": {"loss": {"loss": "dice"}}}, "no term can be named 'loss'.*choose another"),
        ({"terms": {"dice": {"smoth": 1.0}}}, "option of the loss dice 'smoth'.*'smooth'"),
        ({"terms": {"dice": 0}}, "term 'dice': expected a mapping of options, got 0"),
        ({"terms": {"dice": {"weight": "1"}}}, "term 'dice': weight must be a number"),
        ({"terms": {"dice": {"weight": True}}}, "term 'dice': weight must be a number"),
        ({"terms": {"dice": {"inputs": "logits_2"}}}, "term 'dice': inputs must map"),
        ({"terms": {"dice": {"inputs": {"logit": "x"}}}}, "argument of the loss dice 'logit'"),
        (
            {"terms": {"dice": {"weight": {"schedule": "linear"}}}},
            "term 'dice': unknown schedule of the weight 'linear'.*linear_schedule",
        ),
        (
            {"terms": {"dice": {"weight": {"schedule": "constant_schedule", "v": 1}}}},
            "term 'dice': weight: .*'v'",
        ),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(config, message):
    with pytest.raises(ValueError, match=message):
        Objective.from_config(config)
