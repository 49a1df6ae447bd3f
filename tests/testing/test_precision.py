import jax.numpy as jnp
import pytest

from lossbench.testing import precision
from lossbench.testing.discovery import subject_of
from tests.testing.broken import LARGE, broken_in, failure_of, passes, sound, sound_dice, surprise


@pytest.mark.parametrize("name", broken_in(precision))
def test_a_broken_loss_fails_the_check_that_names_its_bug(name):
    assert failure_of(name)


@pytest.mark.long
@pytest.mark.parametrize("loss", [sound, sound_dice], ids=lambda f: f.__name__)
def test_sound_losses_pass(loss):
    assert passes(loss, "float16", "bfloat16", "2^18 pixels", "256^3 sums") == []


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE)
def test_running_sums_lose_what_256_cubed_voxels_cost(name):
    finding = precision.large_sums(subject_of(LARGE[name]))
    assert finding.state == "failed", finding


def test_a_sum_over_pixels_grows_with_them_and_is_no_error():
    def total(logits, labels):
        return jnp.sum(surprise(logits, labels), axis=(1, 2))

    finding = precision.sums(subject_of(total))
    assert finding.state == "passed", finding


def test_special_pixels_at_the_border_are_no_error():
    def edges(logits, labels):
        costs = surprise(logits, labels)
        return jnp.mean(costs.at[:, 0].mul(3).at[:, :, -1].mul(2), axis=(1, 2))

    assert precision.sums(subject_of(edges)).state == "passed"


def test_a_cost_that_no_tiling_keeps_is_not_judged():
    def root(logits, labels):
        return jnp.sqrt(jnp.sum(surprise(logits, labels), axis=(1, 2)))

    assert precision.sums(subject_of(root)).state == "not applicable"
