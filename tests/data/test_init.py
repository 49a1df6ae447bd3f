import inspect

import pytest

import lossbench.data
from lossbench.data import SOURCES, Dataset, check_options, load


def test_every_data_set_says_what_it_is_and_can_be_cross_validated():
    for name, function in SOURCES.items():
        parameters = inspect.signature(function).parameters
        assert {"fold", "folds", "seed"} <= set(parameters), name
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values()), name
        first_line = inspect.getdoc(function).splitlines()[0]
        assert first_line.endswith("."), name


def test_public_names_exist():
    for name in lossbench.data.__all__:
        assert hasattr(lossbench.data, name)


def test_load_passes_options_on():
    data = load("shapes", size=(16, 16), classes=2, train=3, validation=1, test=1, fold=None)
    assert isinstance(data, Dataset)
    assert len(data.train) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("shape", {}, r"unknown data set 'shape'; did you mean 'shapes'\? There are: shapes, dec"),
        ("zzz", {}, "unknown data set 'zzz'. There are: shapes, decathlon"),
        (
            "shapes",
            {"forground": 0.1},
            "option of the data set shapes 'forground'; did you mean 'fore",
        ),
        ("decathlon", {}, "data set 'decathlon' needs the option 'path'"),
    ],
)
def test_unknown_names(name, options, message):
    for call in (lambda: load(name, **options), lambda: check_options(name, options)):
        with pytest.raises(ValueError, match=message):
            call()
