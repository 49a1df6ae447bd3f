import numpy as np
import optax
import pytest

from lossbench import weighting
from lossbench.weighting import WEIGHTINGS, Weighting, get_weights
from lossbench.weighting.configuration import from_config, schedule

TERMS = ["dice", "edges", "ce"]
# What those need that have no default for it.
NEEDED = {
    "scheduled": {"schedules": [1.0, 0.5, 0.0]},
    "stages": {"stages": [[0, [1.0, 1.0, 0.0]], [10, [1.0, 0.5, 2.0]]]},
}


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_every_weighting_is_built_from_its_name(name):
    built = from_config({"type": name, **NEEDED.get(name, {})}, TERMS).weighting
    row = WEIGHTINGS[name]
    if row.form == "gradients":
        assert isinstance(built, optax.GradientTransformationExtraArgs)
        built.init({"kernel": np.zeros(2, np.float32)})
        return
    assert isinstance(built, Weighting)
    assert built.positive == row.positive
    assert built.needs_gramian == (row.form != "weights")
    built.init(len(TERMS))
    assert (row.weighting is None) == (row.form != "gramian")
    if row.weighting:
        assert isinstance(row.function(), optax.GradientTransformationExtraArgs)
        assert row.weighting.__name__ == f"{name}_weighting"
    assert getattr(weighting, name) is row.function


def test_an_option_of_each_term_is_given_by_their_names():
    config = {"type": "constant", "weights": {"ce": 3.0, "dice": 1.0, "edges": 2.0}}
    built = from_config(config, TERMS).weighting
    np.testing.assert_array_equal(get_weights(built.init(3)), [1.0, 2.0, 3.0])


def test_a_transformation_looks_at_the_shared_part_itself():
    moco = from_config({"type": "moco", "shared": "head"}, TERMS)
    assert moco.shared == ()
    assert isinstance(moco.weighting, optax.GradientTransformationExtraArgs)
    with pytest.raises(ValueError, match=r"pattern of parameters 'head'"):
        moco.weighting.init({"kernel": np.zeros(2, np.float32)})


def test_a_term_is_named():
    config = {"type": "last_layer_ratio", "reference": "edges", "epsilon": 0}
    built = from_config(config, TERMS).weighting
    weights, _ = built.update(np.ones(3, np.float32), built.init(3), np.diag([4.0, 1.0, 16.0]))
    np.testing.assert_allclose(weights, [0.5, 1, 0.25])
    with pytest.raises(ValueError, match=r"unknown term in 'reference' .* 'edge'; did you mean"):
        from_config({**config, "reference": "edge"}, TERMS)


def test_schedules_are_named_as_optax_has_them():
    rise = {"schedule": "linear_schedule", "init_value": 0, "end_value": 1, "transition_steps": 4}
    config = {"type": "scheduled", "schedules": {"dice": 1.0, "edges": rise, "ce": 0.5}}
    built = from_config(config, TERMS).weighting
    state = built.init(3)
    for step in range(6):
        weights, state = built.update(np.ones(3, np.float32), state)
        np.testing.assert_allclose(weights, [1.0, min(step / 4, 1), 0.5])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"type": "dwa", "temprature": 1},
            "option of the weighting dwa 'temprature'; did you mean",
        ),
        ({"type": "dwa", "temperature": -1}, "weighting 'dwa': temperature: .*-1"),
        ({"type": "scheduled"}, "weighting 'scheduled': .*missing.*schedules"),
        ({"type": "dwa", "shared": "head/*"}, "'dwa': 'shared' has no effect on it.*pcgrad"),
        ({"type": "pcgrad", "shared": 3}, "shared must be a pattern .* got 3"),
        ({"type": "pcgrad", "shared": ["a", 3]}, r"shared must be a pattern .* got \['a', 3\]"),
        ({"type": "graddrop", "seed": 3}, "unknown option of the weighting graddrop 'seed'"),
        ({"type": "moco", "terms": 5}, "unknown option of the weighting moco 'terms'"),
        ({"type": "constant", "weights": [1, -2, 1]}, "'constant': a weight is below 0"),
        ({"type": "constant", "weights": [0, 0, 0]}, "'constant': every weight is 0"),
        ({"type": "constant", "weights": [1, 2]}, "'constant': weights: expected 3"),
        ({"type": "dwa", "window": "epoch"}, "'dwa': window: expected a whole number"),
        ({"type": "pcgrad", "skip_nonfinite": "yes"}, "skip_nonfinite must be true or false"),
        ({"type": "constant", "weights": {"dice": 1}}, r"not \['edges', 'ce'\]"),
        (
            {"type": "constant", "weights": {"dice": 1, "dize": 1}},
            "unknown term in an option of the weighting 'dize'; did you mean 'dice'",
        ),
        ({"type": "nowhere:function"}, "weighting 'nowhere:function': ModuleNotFoundError"),
        ({}, r'expected \{"type": NAME, option: ...\}, got \{\}'),
    ],
)
def test_what_is_wrong_is_told(config, message):
    with pytest.raises(ValueError, match=message):
        from_config(config, TERMS)


def test_a_schedule_that_optax_does_not_have():
    with pytest.raises(ValueError, match=r"unknown schedule of the weight 'line_schedule'"):
        schedule({"schedule": "line_schedule"})
    with pytest.raises(ValueError, match=r"weight: .*end"):
        schedule({"schedule": "linear_schedule", "end": 1})
