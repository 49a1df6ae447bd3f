import jax.numpy as jnp
import pytest

from lossbench.testing import masks
from lossbench.testing.discovery import subject_of
from tests.testing.broken import (
    broken_in,
    clean,
    failure_of,
    mean_of_all,
    passes,
    sound,
    sound_dice,
    surprise,
)


@pytest.mark.parametrize("name", broken_in(masks))
def test_a_broken_loss_fails_the_check_that_names_its_bug(name):
    assert failure_of(name)


@pytest.mark.parametrize("loss", [sound, sound_dice], ids=lambda f: f.__name__)
def test_sound_losses_pass(loss):
    checks = ("mask leak", "NaN under mask", "masked = removed", "all masked", "padded batch")
    assert passes(loss, *checks, "examples apart") == []


def test_a_scalar_may_be_a_mean_over_pixels_or_over_examples():
    def of_examples(logits, labels, *, where=None):
        return jnp.mean(sound(logits, labels, where=where))

    def of_pixels(logits, labels, *, where=None):
        logits, labels = clean(logits, labels, where)
        where = jnp.ones(labels.shape, bool) if where is None else where
        return jnp.sum(surprise(logits, labels) * where) / jnp.maximum(jnp.sum(where), 1)

    for loss in (of_examples, of_pixels):
        assert passes(loss, "all masked", "padded batch", "masked = removed") == []


def test_a_loss_that_masks_by_an_ignored_id_is_checked_too():
    def ignoring(logits, labels):
        return sound(logits, labels, where=labels != 255)

    def forgetful(logits, labels):
        return mean_of_all(logits, labels, where=labels != 255)

    for loss, state in ((ignoring, "passed"), (forgetful, "failed")):
        assert masks.masked_is_removed(subject_of(loss, ignored=255)).state == state
