import inspect

import optax
import pytest

from lossbench import weighting
from lossbench.weighting import WEIGHTINGS, Weighting

FORMS = {"weights", "norms", "gramian", "gradients"}
# What the README and the issue of it promise.
PROMISED = [
    "constant",
    "scheduled",
    "stages",
    "random",
    "softmax",
    "uncertainty",
    "dwa",
    "soft_adapt",
    "coefficient_of_variation",
    "relobralo",
    "famo",
    "geometric",
    "stch",
    "gradnorm",
    "last_layer_ratio",
    "mgda",
    "pcgrad",
    "gradvac",
    "graddrop",
    "imtl_g",
    "cagrad",
    "nash_mtl",
    "aligned_mtl",
    "upgrad",
    "dual_projection",
    "fairgrad",
    "config",
    "moco",
]


def test_every_weighting_has_a_row_and_every_row_is_public():
    assert sorted(WEIGHTINGS) == sorted(PROMISED)
    for name, row in WEIGHTINGS.items():
        assert row.name == name
        assert name in weighting.__all__
        assert getattr(weighting, name) is row.function
        assert row.form in FORMS
        if row.weighting:
            assert row.weighting.__name__ in weighting.__all__


@pytest.mark.parametrize("name", PROMISED)
def test_every_weighting_says_what_it_is(name):
    row = WEIGHTINGS[name]
    text = row.function.__doc__ or ""
    for heading in ("Returns:", "Example:", *(["Reference:"] if row.paper else [])):
        assert heading in text, heading
    for argument in inspect.signature(row.function).parameters:
        assert f"        {argument}: " in text, f"{argument} is not documented"


def test_a_name_gives_the_function_and_a_place_ones_own():
    assert weighting.get("dwa") is weighting.dwa
    assert weighting.get("optax:adamw") is optax.adamw
    assert isinstance(weighting.get("geometric")(), Weighting)
    with pytest.raises(ValueError, match=r"unknown weighting 'pc_grad'; did you mean 'pcgrad'"):
        weighting.get("pc_grad")
