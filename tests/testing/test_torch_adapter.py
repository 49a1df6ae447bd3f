"""What needs PyTorch itself is run where it is installed."""

import numpy as np
import pytest

from lossbench.testing import check_loss, from_torch
from lossbench.testing.torch_adapter import is_module, is_module_class


class Weighted:
    """Stands for a class with options."""

    def __init__(self, gamma=2.0):
        self.gamma = gamma

    def forward(self, x, y):
        return self.gamma * x

    __call__ = forward


def test_options_of_a_class_are_set_when_it_is_built():
    loss = from_torch(Weighted, gamma=3.0)
    assert list(loss.parameters()) == ["gamma"]
    assert list(loss.arguments()) == ["x", "y"]
    assert loss.build()(2.0, None) == 6
    assert loss.with_options(gamma=0.5).build()(2.0, None) == 1
    assert loss.name == "Weighted"


def test_options_of_a_function_are_given_with_the_call():
    def power(x, y, gamma=1.0):
        return x**gamma

    assert from_torch(power, gamma=3.0).build()(2.0, None) == 8


def test_what_is_no_module_is_none():
    assert not is_module(Weighted())
    assert not is_module_class(Weighted)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def test_a_module_is_known_and_evaluated(torch):
    verdict = check_loss(torch.nn.CrossEntropyLoss(), large=False)
    assert verdict["right costs less"].state == verdict["gradient"].state == "passed"
    assert verdict["jit = eager"].message == "no JAX program"
    assert verdict["examples apart"].message == "one value for the batch"


def test_a_mask_by_an_ignored_id(torch):
    verdict = check_loss(
        torch.nn.CrossEntropyLoss(ignore_index=255),
        ignored=255,
        only=("masked = removed", "all masked"),
    )
    assert verdict["masked = removed"].state == "passed"
    assert verdict["all masked"].state == "failed"  # 0 / 0, as PyTorch documents


def test_a_broken_function_fails(torch):
    def focal(x, y, gamma=2.0):
        logp = torch.log_softmax(x.float(), 1).gather(1, y[:, None].long())
        return -((1 - logp.exp()) ** gamma * logp).mean(dim=(1, 2, 3))

    verdict = check_loss(from_torch(focal), only=("gamma 0 and .5", "saturated logits"))
    assert verdict["saturated logits"].state == "passed"
    assert "gamma=0.5" in verdict["gamma 0 and .5"].message
    dead = check_loss(from_torch(lambda x, y: x.detach().mean()), only=("gradient not dead",))
    assert "nothing differentiable" in dead.findings[0].message


def test_probabilities(torch):
    def likelihood(p, y):
        return -torch.log(p.gather(1, y[:, None])).mean()

    verdict = check_loss(from_torch(likelihood), probabilities=True, only=("saturated logits",))
    assert not verdict
    value = check_loss(from_torch(likelihood), probabilities=True, only=("right costs less",))
    assert np.all([f.state == "passed" for f in value.findings])
