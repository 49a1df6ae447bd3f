"""Options of the sphere: defaults that follow the paper, and errors that say what is allowed."""

import pytest

from lossbench.anomaly.svdd_options import SvddOptions


def test_the_defaults_are_the_papers():
    options = SvddOptions()
    assert (options.center, options.radius, options.center_eps) == ("fixed", "quantile", 0.1)
    assert SvddOptions.from_config({}) == options
    assert SvddOptions.from_config({"allow": "*/bias"}).allow == ("*/bias",)
    assert SvddOptions.from_config({"nu": 1, "allow": ["*/bias"]}) == SvddOptions(
        nu=1.0, allow=("*/bias",)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nu": 0.0}, "svdd.nu: expected a share above 0"),
        ({"center": "moving"}, "svdd.center"),
        ({"radius": "fixed"}, "svdd.radius"),
        ({"monitor": "ignore"}, "svdd.monitor"),
        ({"recent": 5, "nu": 0.1}, r"svdd.recent: .* at least 10"),
        ({"center_rate": 0.0}, "svdd.center_rate: expected above 0 to 1"),
        ({"center_eps": -1.0}, "svdd.center_eps: expected at least 0"),
        ({"initial_radius": 0.0}, "svdd.initial_radius: expected above 0"),
        ({"warmup": 1.0}, "svdd.warmup"),
        ({"update_every": 0}, "svdd.update_every: expected at least 1"),
        ({"pretrain_steps": -1}, "svdd.pretrain_steps"),
        ({"pretrain_learning_rate": 0.0}, "svdd.pretrain_learning_rate"),
        ({"pretrain_weight_decay": -1.0}, "svdd.pretrain_weight_decay"),
        ({"nuu": 0.1}, "unknown option of svdd 'nuu'; did you mean 'nu'"),
        ({"nu": "0.1"}, "svdd.nu: expected float"),
        ({"allow": [1]}, "svdd.allow: expected a list of patterns"),
        ({"update_every": True}, "svdd.update_every: expected int"),
    ],
)
def test_options_say_what_is_allowed(options, words):
    with pytest.raises(ValueError, match=words):
        SvddOptions.from_config(options)
