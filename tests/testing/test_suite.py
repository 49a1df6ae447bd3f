import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.testing import CHECKS, check_loss
from lossbench.testing.discovery import subject_of
from lossbench.testing.suite import run_check, with_limits
from tests.testing.broken import BROKEN, sound, sound_dice

# A gather keeps two arrays of the logits' size beside one-hot labels that nobody wrote.
MEMORY = {"memory_limit": 2.5, "memory_classes": 20}


@pytest.mark.long
@pytest.mark.parametrize("loss", [sound, sound_dice], ids=lambda f: f.__name__)
def test_plain_sound_losses_pass_everything(loss):
    verdict = check_loss(loss, large=False, **MEMORY)
    assert verdict.passed, verdict
    left = [f.name for f in verdict.findings if f.state == "not applicable"]
    assert left == ["gamma 0 and .5", "256^3 sums"]


def test_every_check_has_a_broken_loss_or_is_named_here():
    assert set(CHECKS) - {check for _, check in BROKEN.values()} == {"finite", "vmap", "256^3 sums"}


def test_only_and_skip_choose_and_a_failed_loss_raises_on_demand():
    loss, check = BROKEN["negated"]
    verdict = check_loss(loss, only=(check, "equal logits"), skip=("equal logits",))
    assert [f.name for f in verdict.failures] == [check]
    assert verdict["equal logits"].state == "not applicable"
    with pytest.raises(AssertionError, match="FAIL right costs less"):
        check_loss(loss, only=(check,), raise_on_failure=True)
    assert not verdict
    with pytest.raises(ValueError, match="did you mean 'vmap'"):
        check_loss(loss, only=("wmap",))


def test_a_check_that_crashes_has_failed():
    def fragile(logits, labels):
        if logits.shape[0] != 4:
            raise IndexError("four examples,\nand no other number")
        return sound(logits, labels)

    finding = run_check("examples apart", subject_of(fragile))
    assert finding == ("failed", "IndexError: four examples,", "examples apart")


def test_limits_hold_for_what_is_rebuilt():
    subject = with_limits(subject_of(sound), memory_limit=0.25)
    other = subject.rebuild(subject.form._replace(classes=2))
    assert (other.memory_limit, other.classes) == (0.25, 2)
    assert other.rebuild().memory_limit == 0.25


def spread(embeddings, center, *, power=2.0):
    return jnp.mean(jnp.abs(embeddings - center[None]) ** power, axis=-1)


def test_own_inputs_run_what_means_something_for_any_loss():
    rng = np.random.default_rng(0)
    inputs = {
        "embeddings": rng.normal(size=(8, 5)).astype(np.float32),
        "center": np.zeros(5, np.float32),
    }
    verdict = check_loss(spread, inputs=inputs)
    assert verdict.passed, verdict
    ran = {f.name for f in verdict.findings if f.state == "passed"}
    assert {"finite", "gradient", "sharded", "no callback", "vmap", "one trace"} <= ran
    assert "saturated logits" not in ran
    root = check_loss(
        lambda x, c: jnp.sqrt(jnp.sum((x - c[None]) ** 2, axis=-1)),
        inputs=(np.zeros((8, 5), np.float32), np.zeros(5, np.float32)),
        only=("finite",),
    )
    assert "NaN" in root["finite"].message
    with pytest.raises(ValueError, match="nothing could be differentiated"):
        check_loss(spread, inputs=(np.arange(3), np.arange(3)))


def test_inputs_of_the_suite_need_no_strict_jax_settings():
    assert jax.config.jax_numpy_rank_promotion == "raise"  # and every test here runs under it
