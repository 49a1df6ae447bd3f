import pytest

from lossbench.testing import numbers
from lossbench.testing.discovery import subject_of
from tests.testing.broken import broken_in, failure_of, passes, sound, sound_dice


@pytest.mark.parametrize("name", broken_in(numbers))
def test_a_broken_loss_fails_the_check_that_names_its_bug(name):
    assert failure_of(name)


@pytest.mark.parametrize("loss", [sound, sound_dice], ids=lambda f: f.__name__)
def test_sound_losses_pass(loss):
    checks = ("saturated logits", "equal logits", "gradient", "gradient dtype", "gradient not dead")
    assert passes(loss, *checks, "second derivative") == []


def test_every_gamma_of_a_loss_is_tried():
    def two(logits, labels, *, gamma_pos=1.0, gamma_neg=1.0):
        if isinstance(gamma_pos, float) and gamma_pos == 0:
            raise ValueError("gamma_pos must be positive")
        return sound(logits, labels) * (1 + gamma_pos + gamma_neg)

    message = numbers.small_gamma(subject_of(two)).message
    assert message.endswith("gamma_pos=0.5, gamma_neg=0, gamma_neg=0.5")
