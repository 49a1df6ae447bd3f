import jax.numpy as jnp
import pytest

from lossbench.testing import labels
from lossbench.testing.discovery import subject_of
from lossbench.testing.suite import with_limits
from tests.testing.broken import broken_in, failure_of, passes, sound, sound_dice, surprise


@pytest.mark.parametrize("name", broken_in(labels))
def test_a_broken_loss_fails_the_check_that_names_its_bug(name):
    assert failure_of(name)


@pytest.mark.parametrize("loss", [sound, sound_dice], ids=lambda f: f.__name__)
def test_sound_losses_pass(loss):
    degenerate = ("empty mask", "full mask", "one-pixel mask", "absent class")
    assert passes(loss, "right costs less", *degenerate, "class permutation", "label dtype") == []


def test_a_special_background_may_be_allowed():
    def foreground(logits, labels):
        return jnp.mean(surprise(logits, labels) * (1 + (labels > 0)), axis=(1, 2))

    subject = subject_of(foreground)
    finding = labels.class_permutation(subject)
    assert finding.state == "failed"
    assert "background=True" in finding.message
    allowed = with_limits(subject, special_background=True)
    assert labels.class_permutation(allowed).state == "passed"
