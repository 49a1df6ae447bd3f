"""The forms of a configuration: one objective from all of them, errors that say where."""

import inspect
import json
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from lossbench import losses
from lossbench.objective import Objective
from lossbench.objective_config import SOFTMAX_FLOOR, normal_form
from lossbench.weighting import Weighting, get_weights, softmax

COMPOUND = {
    "type": "compound",
    "components": [
        {"type": "dice", "weight": 0.5},
        {"type": "focal", "weight": 0.3, "alpha": 0.25, "gamma": 2.0},
        {"type": "cross_entropy", "weight": 0.2},
    ],
    "learnable_weights": False,
}
TERMS = {
    "dice": {"weight": 0.5},
    "focal": {"weight": 0.3, "alpha": 0.25, "gamma": 2.0},
    "cross_entropy": {"weight": 0.2},
}


def compound(*components, **keys):
    return {"loss": {"type": "compound", "components": list(components), **keys}}


@pytest.mark.parametrize("kind", [dict, json.dumps, ConfigDict])
def test_every_form_is_the_same_objective(kind):
    config = kind({"loss": COMPOUND})
    assert normal_form(config) == normal_form(kind({"terms": TERMS})) == {"terms": TERMS}
    logits = jnp.sin(jnp.arange(24.0)).reshape(2, 4, 3)
    labels = jnp.arange(8).reshape(2, 4) % 3
    value = Objective.from_config(config)({"logits": logits, "labels": labels})
    expected = (
        0.5 * losses.dice(logits, labels)
        + 0.3 * losses.focal(logits, labels, alpha=0.25, gamma=2.0)
        + 0.2 * losses.cross_entropy(logits, labels)
    )
    np.testing.assert_allclose(value.total, expected.mean(), rtol=1e-6)


def test_one_loss_is_given_by_its_type():
    loss = {"type": "dice", "smooth": 1.0}
    for one in (loss, FrozenConfigDict(loss)):
        assert normal_form({"loss": one}) == {"terms": {"dice": {"smooth": 1.0}}}


def test_the_tuples_of_a_frozen_config_dict_are_lists():
    frozen: Any = FrozenConfigDict({"terms": {"dice": {"class_weights": [1.0, 2.0]}}})
    weights = Objective.from_config(frozen).terms["dice"].options["class_weights"]
    np.testing.assert_array_equal(weights, [1.0, 2.0])


def test_a_matrix_is_an_array():
    config = {"loss": {"type": "dice", "class_weights": [[0, 1], [1, 0]]}}
    option = Objective.from_config(config).terms["dice"].options["class_weights"]
    np.testing.assert_array_equal(option, np.array([[0.0, 1.0], [1.0, 0.0]]))


def test_components_of_a_kind_have_names_of_their_own():
    def names(*components):
        return list(normal_form(compound(*components))["terms"])

    dice = {"type": "dice"}
    assert names(dice, {"type": "focal"}, dice, dice) == ["dice", "focal", "dice_2", "dice_3"]
    assert names(dice, {"type": "focal", "name": "dice_2"}, dice) == ["dice", "dice_2", "dice_3"]
    assert names({"type": "focal", "name": "dice"}, dice) == ["dice", "dice_2"]
    assert names({"type": "mine.py:own"}) == ["own"]
    again = normal_form(compound(dice, {**dice, "smooth": 1.0}))
    assert again["terms"]["dice_2"] == {"loss": "dice", "smooth": 1.0}
    assert normal_form(again) == again


def test_all_that_is_wrong_is_told_at_once_and_in_order():
    nowhere = {"type": "nowhere", "weight": 0.2}
    text = json.dumps(compound({"type": "dice"}, {"type": "focal", "gama": 1}, nowhere)).replace(
        "]}}", '], "learnable_weights": 1}}'
    )
    with pytest.raises(ValueError, match="3 errors") as raised:
        Objective.from_config(text)
    head, option, loss, learnable = str(raised.value).splitlines()
    assert head == "3 errors:"
    assert option.startswith("  components[1]: unknown option of the loss focal 'gama'; did you")
    assert "There are: where, gamma, alpha, class_weights" in option
    assert loss.startswith("  components[2]: unknown loss 'nowhere'. There are: ")
    for name in losses.CATALOG:
        assert re.search(rf"\b{name}\b", loss)
    assert learnable == "  learnable_weights: expected true or false, got 1"


def test_weights_that_are_learned_begin_as_they_are_written():
    config = json.dumps({"loss": {**COMPOUND, "learnable_weights": True}})
    form = normal_form(config)
    assert form["terms"]["dice"] == {}
    initial = {"dice": 0.5, "focal": 0.3, "cross_entropy": 0.2}
    assert form["weighting"] == {"type": "softmax", "initial": initial, "total": 1.0}
    assert normal_form(form) == form
    weighting = Objective.from_config(config).weighting
    assert isinstance(weighting, Weighting)
    np.testing.assert_allclose(get_weights(weighting.init(3)), [0.5, 0.3, 0.2], rtol=1e-6)
    two = compound({"type": "dice", "weight": 2}, {"type": "focal"}, learnable_weights=True)
    weighting = Objective.from_config(two).weighting
    assert isinstance(weighting, Weighting)
    np.testing.assert_allclose(get_weights(weighting.init(2)), [2.0, 1.0], rtol=1e-6)
    far = compound({"type": "dice", "weight": 20}, {"type": "focal"}, learnable_weights=True)
    weighting = Objective.from_config(far).weighting
    assert isinstance(weighting, Weighting)
    np.testing.assert_allclose(get_weights(weighting.init(2)), [20.0, 1.0], rtol=1e-5)


def test_the_floor_of_learned_weights_is_that_of_their_softmax():
    assert inspect.signature(softmax).parameters["floor"].default == SOFTMAX_FLOOR


@pytest.mark.parametrize("kind", [dict, json.dumps, ConfigDict])
def test_a_weighting_comes_beside_the_terms(kind):
    config = kind({"terms": TERMS, "weighting": "dwa"})
    assert normal_form(config) == {"terms": TERMS, "weighting": {"type": "dwa"}}
    config = kind({"loss": COMPOUND, "weighting": {"type": "pcgrad", "shared": ["head/*"]}})
    assert normal_form(config)["weighting"] == {"type": "pcgrad", "shared": ["head/*"]}
    assert Objective.from_config(config).shared == ("head/*",)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (3, "needs 'terms', .* or 'loss', .*; got 3"),
        ("3", "got 3$"),
        ("", "not JSON: line 1, column 1: Expecting value, near ''"),
        ("dice", "not JSON: line 1, column 1: Expecting value, near 'dice'"),
        ('{"loss": {"type": "dice",\n "smooth": 1.0,}}', "not JSON: line 2, column 1[56]: "),
        ('{"terms": {"dice": {}, "dice": {}}}', "the key 'dice' is there twice"),
        ({"loss": {"type": "dice"}, "terms": {}}, "by 'terms' or by 'loss', not by both"),
        ({"type": "dice"}, "unknown key of an objective 'type'. There are: terms, loss, weighting"),
        ({"loss": "dice"}, r'loss: expected \{"type": NAME_OF_A_LOSS, ...\}, got \'dice\''),
        ({"loss": {"smooth": 1.0}}, r"loss: expected .*, got \{'smooth': 1.0\}"),
        ({"loss": {"type": "dise"}}, "loss: unknown loss 'dise'; did you mean 'dice'"),
        ({"loss": {"type": "compound"}}, "components: expected a list of losses, .* got None"),
        (compound(), r"components: expected a list of losses, .* got \[\]"),
        ({"loss": {"type": "compound", "components": {"dice": {}}}}, "expected a list .*'dice'"),
        (compound({"type": "dice"}, weights=1), "unknown key of a compound loss 'weights'.* comp"),
        (compound({"type": "dice"}, learnable_weights="no"), "expected true or false, got 'no'"),
        (
            compound({"type": "dice", "weight": 0}, learnable_weights=True),
            r"components\[0\]: a weight that is learned begins at a finite number above 0, got 0",
        ),
        (
            {**compound({"type": "dice"}, learnable_weights=True), "weighting": "dwa"},
            "learnable_weights: the objective has a 'weighting' already",
        ),
        (
            {"terms": {"dice": {}}, "weighting": "dua"},
            "unknown weighting 'dua'; did you mean 'dwa'",
        ),
        ({"terms": {"dice": {}}, "weighting": 3}, r'weighting: expected \{"type": NAME, .* got 3'),
        (compound("dice"), r"components\[0\]: expected .*, got 'dice'"),
        (compound({"type": 1}), r"components\[0\]: expected"),
        (compound({"type": "dice", "loss": "focal"}), r"components\[0\]: expected"),
        (compound({"type": "dice"}, {"type": "dice", "name": 3}), r"components\[1\]: the name"),
        (compound({"type": "dice", "name": "loss"}), "no term can be named 'loss'"),
        (compound(COMPOUND), r"components\[0\]: a compound loss inside another"),
        (compound({"type": "dice", "weight": "1"}), r"components\[0\]: weight must be a number"),
        (compound({"type": "dice", "weight": True}), r"components\[0\]: weight must be a number"),
        (compound({"type": "dice", "weight": None}), r"components\[0\]: weight must be a number"),
        (compound({"type": "dice", "weight": -1}), r"\[0\]: weight must be finite and at least 0"),
        ('{"loss": {"type": "dice", "weight": NaN}}', "loss: weight must be finite"),
        (compound({"type": "dice", "inputs": "x"}), r"components\[0\]: inputs must map"),
        (
            compound({"type": "dice", "name": "a"}, {"type": "focal", "name": "a"}),
            r"components\[0\]: the name 'a' is given twice\n  components\[1\]: ",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(config, message):
    with pytest.raises(ValueError, match=message):
        Objective.from_config(config)
