import jax
import jax.numpy as jnp
import pytest

from lossbench.testing import check_loss, programs
from lossbench.testing.discovery import subject_of
from lossbench.testing.suite import run_check, with_limits
from tests.testing.broken import BROKEN, broken_in, failure_of, passes, sound, sound_dice


@pytest.mark.parametrize("name", broken_in(programs))
def test_a_broken_loss_fails_the_check_that_names_its_bug(name):
    assert failure_of(name)


@pytest.mark.parametrize("loss", [sound, sound_dice], ids=lambda f: f.__name__)
def test_sound_losses_pass(loss):
    assert passes(loss, "pure", "jit = eager", "one trace", "no callback", "vmap", "sharded") == []


def test_primitives_of_nested_programs_are_found():
    @jax.jit
    def inner(x):
        return jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x)

    def outer(x):
        return jax.lax.scan(lambda c, _: (inner(c), None), x, length=2)[0]

    names = set(programs.primitives(jax.make_jaxpr(outer)(jnp.ones(3)).jaxpr))
    assert {"scan", "cond", "sin", "cos"} <= names


def test_memory_is_a_multiple_of_the_logits():
    finding = run_check("memory", with_limits(subject_of(sound), memory_limit=50.0))
    assert finding.state == "passed"
    assert finding.message.endswith("x the logits of 100 classes (allowed 50 x)")


def test_what_cannot_be_traced_is_said_once():
    loss, _ = BROKEN["branches"]
    verdict = check_loss(loss, only=("jit = eager", "no callback", "vmap", "sharded", "memory"))
    assert [f.name for f in verdict.failures] == ["jit = eager"]
    assert {f.message for f in verdict.findings[1:]} == {"cannot be traced, see jit = eager"}
