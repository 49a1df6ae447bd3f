import dataclasses

import pytest

from lossbench.training.options import TrainOptions

OPTIONS = {field.name: field.default for field in dataclasses.fields(TrainOptions)}


def test_from_config_takes_plain_values_and_defaults():
    options = TrainOptions.from_config({"steps": 7, "learning_rate": 1, "optimizer": "sgd"})
    assert options == TrainOptions(steps=7, learning_rate=1.0, optimizer="sgd")
    assert isinstance(options.learning_rate, float)
    assert TrainOptions.from_config({}) == TrainOptions()


@pytest.mark.parametrize(("given", "nearest"), [("step", "steps"), ("batchsize", "batch_size")])
def test_an_unknown_option_names_the_nearest(given, nearest):
    with pytest.raises(ValueError, match=f"unknown option of train '{given}'.*'{nearest}'"):
        TrainOptions.from_config({given: 1})


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_refuses_another_type(name):
    wrong = {str: 3, bool: 1, int: 2.5, float: "0.1", tuple: 3}[type(OPTIONS[name])]
    with pytest.raises(ValueError, match=f"train.{name}: expected"):
        TrainOptions.from_config({name: wrong})
    with pytest.raises(ValueError, match=f"train.{name}: expected"):
        TrainOptions.from_config({name: None})


@pytest.mark.parametrize("name", [n for n, v in OPTIONS.items() if type(v) in (int, float)])
def test_every_number_refuses_true_and_less_than_zero(name):
    with pytest.raises(ValueError, match=f"train.{name}: expected"):
        TrainOptions.from_config({name: True})
    with pytest.raises(ValueError, match=f"train.{name}: expected"):
        TrainOptions.from_config({name: -1})


@pytest.mark.parametrize("name", [n for n, v in OPTIONS.items() if type(v) is float])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_every_number_is_finite(name, value):
    with pytest.raises(ValueError, match=f"train.{name}: expected a number >= 0"):
        TrainOptions.from_config({name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"eval_every": 0},
        {"log_every": 0},
        {"warmup_steps": 10, "steps": 10},
        {"ema_decay": 1.0},
        {"momentum": 1.0, "optimizer": "sgd"},
        {"plateau_factor": 1.0, "plateau_patience": 1},
        {"plateau_factor": 0.0, "plateau_patience": 1},
        {"optimizer": "adam"},
        {"schedule": "linear"},
    ],
)
def test_values_that_cannot_train_are_refused_by_name(values):
    with pytest.raises(ValueError, match=f"train.{next(iter(values))}: "):
        TrainOptions.from_config(values)


@pytest.mark.parametrize(
    ("name", "value", "with_effect"),
    [
        ("momentum", 0.5, {"optimizer": "sgd"}),
        ("final_learning_rate", 0.1, {"schedule": "cosine"}),
        ("plateau_factor", 0.1, {"plateau_patience": 1}),
    ],
)
def test_an_option_without_effect_is_refused(name, value, with_effect):
    base = {"optimizer": "adamw", "schedule": "constant", "plateau_patience": 0}
    with pytest.raises(ValueError, match=f"train.{name}: .* no effect"):
        TrainOptions.from_config({**base, name: value})
    assert getattr(TrainOptions.from_config({**base, **with_effect, name: value}), name) == value
