"""Terms that train nothing are found, and no others."""

import dataclasses
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.objective import Objective, Term
from lossbench.training import loop
from lossbench.training.dead_terms import (
    WATCHED_STEPS,
    all_alive,
    dead_terms,
    probe_row,
    probe_terms,
)
from lossbench.training.loop import fit


def published(logits, labels):
    """The cross entropy of a softmax over one channel, as it sits in published code: 0."""
    truth = (labels > 0).astype(logits.dtype)[..., None]
    return -jnp.mean(truth * jax.nn.log_softmax(logits), axis=(1, 2, 3))


def overlap(logits, labels):
    p, t = jax.nn.sigmoid(logits[..., 0]), (labels > 0).astype(logits.dtype)
    return 1 - 2 * jnp.sum(p * t, axis=(1, 2)) / (jnp.sum(p + t, axis=(1, 2)) + 1)


def climb(count):
    """Falls by one a step under descent at rate 1."""
    return -count


def late(count):
    """Without a gradient until the count has passed 1.5, which it does in the second step."""
    return jax.nn.relu(count - 1.5)


class OneChannel(nn.Module):
    """One logit a pixel, and a count of the steps that plain descent counts up."""

    @nn.compact
    def __call__(self, image):
        count = self.param("count", nn.initializers.zeros, ())
        counts = jnp.broadcast_to(count, image.shape[:1])
        return {"logits": nn.Dense(1)(image), "count": counts}


TERMS = {
    "climb": Term(climb),
    "overlap": Term(overlap),
    "published": Term(published),
    # Weights have no say: this one would be added later.
    "late": Term(late, weight=0.0),
}


def build_one(build, small, terms=TERMS, **options):
    return build(
        small,
        model=OneChannel(),
        objective=Objective(terms),
        **{"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0, "schedule": "constant"},
        **{"steps": 7, "eval_every": 3, "log_every": 1, **options},
    )


def fitted(program, dataset, folder):
    return fit(program, dataset, seed=0, folder=folder, metric="dice", label="test")


@pytest.fixture(scope="module")
def program(build, small):
    return build_one(build, small)


@pytest.mark.parametrize("devices", [1, 4])
def test_the_trainer_reports_a_dead_term_and_no_other(build, small, tmp_path, capsys, devices):
    program = build_one(build, small, batch_size=4, devices=devices)
    rows = fitted(program, small, tmp_path).history["probes"]
    assert [row["step"] for row in rows] == list(range(1, WATCHED_STEPS + 1))
    gradients = {name: [row["terms"][name]["gradient"] for row in rows] for name in TERMS}
    assert gradients["published"] == [0.0] * 5
    assert gradients["late"][0] == 0  # in the first step only
    assert all(gradients["late"][1:])
    assert all(gradients["overlap"])
    # One count an example, each a quarter of the mean.
    assert gradients["climb"] == [0.25] * 5
    (text,) = dead_terms(rows)
    assert text == (
        "term 'published': its gradient was exactly zero over the first 5 steps: it trains nothing "
        "(likely because the output it reads has one channel, and a softmax over one is 1 at every "
        "logit)"
    )
    assert capsys.readouterr().err.count(f"test: warning: {text}\n") == 1


def test_looking_changes_no_bit_of_the_training(program, small, tmp_path, monkeypatch, same):
    looked_at = fitted(program, small, tmp_path / "with")
    monkeypatch.setattr(loop, "WATCHED_STEPS", 0)
    left_alone = fitted(program, small, tmp_path / "without")
    assert left_alone.history["probes"] == []
    assert same((looked_at.last, looked_at.best), (left_alone.last, left_alone.best))
    for part in ("train", "validation"):
        assert same(looked_at.history[part], left_alone.history[part])


@pytest.mark.parametrize("dies_in", [1, 4, 5, 6])
def test_a_stopped_run_knows_its_first_steps(program, small, tmp_path, same, dies_in):
    """A checkpoint is after step 3, between the first look and the last."""
    calls = itertools.count(1)

    def dying(*arguments):
        if next(calls) == dies_in:
            raise KeyboardInterrupt
        return program.train(*arguments)

    with pytest.raises(KeyboardInterrupt):
        fitted(dataclasses.replace(program, train=dying), small, tmp_path / "stopped")
    again = fitted(program, small, tmp_path / "stopped").history["probes"]
    assert same(again, fitted(program, small, tmp_path / "whole").history["probes"])
    assert len(dead_terms(again)) == 1


def test_nobody_looks_on_once_every_term_has_had_a_gradient(build, small, tmp_path):
    terms = {"climb": Term(climb), "overlap": Term(overlap)}
    rows = fitted(build_one(build, small, terms), small, tmp_path).history["probes"]
    assert [row["step"] for row in rows] == [1]
    assert dead_terms(rows) == []


def test_a_single_term_is_answered_for_by_the_step_itself(build, small, tmp_path, capsys):
    alive = build_one(build, small, {"overlap": Term(overlap)})
    trained = fitted(alive, small, tmp_path / "alive")
    rows, logged = trained.history["probes"], trained.history["train"]
    assert rows == [{"step": 1, "terms": {"overlap": {"gradient": logged[0]["gradient_norm"]}}}]
    assert "warning" not in capsys.readouterr().err
    dead = build_one(build, small, {"published": Term(published)}, steps=3)
    rows = fitted(dead, small, tmp_path / "dead").history["probes"]
    assert len(rows) == 3
    assert "exactly zero over the first 3 steps" in capsys.readouterr().err


LABELS = jnp.zeros((2, 3, 3), jnp.int32).at[:, 1].set(1)
LOGITS = jnp.linspace(-1, 1, 36).reshape(2, 3, 3, 2)


def square(logits):
    return jnp.mean(logits**2, axis=(1, 2, 3))


def look(terms, outputs, **batch):
    objective = Objective(terms)
    batch = {"labels": LABELS, **batch}
    return probe_row(probe_terms(outputs, batch, jnp.array(0), objective=objective), step=1)


def text_of(terms, outputs, **batch):
    (text,) = dead_terms([look(terms, outputs, **batch)])
    return text


def test_a_probe_is_the_gradient_at_the_outputs():
    row = look({"square": Term(square, weight=7.0)}, {"logits": LOGITS})
    probe = row["terms"]["square"]
    # d/dx of the mean over 36 of x^2; the largest x is 1.
    assert probe["gradient"] == pytest.approx(2 / 36)
    assert (probe["reach"], probe["channels"], probe["counted"]) == (1.0, 2.0, 1.0)
    assert all_alive([row])
    assert not all_alive([])


def test_a_tiny_gradient_is_a_gradient():
    """Its square is 0 in float32."""
    row = look({"tiny": Term(lambda logits: 1e-30 * square(logits))}, {"logits": LOGITS})
    assert dead_terms([row]) == []
    assert row["terms"]["tiny"]["gradient"] == pytest.approx(1e-30 / 18)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_outputs_of_several_kinds_are_looked_at(dtype):
    outputs = {"logits": LOGITS.astype(dtype), "ids": jnp.zeros((2, 3, 3), jnp.int32)}
    row = look({"dice": Term(losses.dice), "ce": Term(losses.cross_entropy)}, outputs)
    assert dead_terms([row]) == []


def test_padding_tells_nothing():
    padding, terms = {"weights": jnp.zeros(2)}, {"square": Term(square)}
    outputs = {"logits": LOGITS}
    padded = look(terms, outputs, **padding)
    assert np.isnan(padded["terms"]["square"]["gradient"])
    assert dead_terms([padded, padded]) == []
    assert not all_alive([padded])
    assert all_alive([padded, look(terms, outputs, weights=jnp.array([1.0, 0.0]))])
    dead = {"flat": Term(lambda logits: 0 * square(logits))}
    rows = [look(dead, outputs, **padding), look(dead, outputs, weights=jnp.array([0.0, 1.0]))]
    assert "over the first 2 steps" in dead_terms(rows)[0]


def test_one_step_with_a_gradient_is_enough():
    rows = [look({"x": Term(square)}, {"logits": scale * LOGITS}) for scale in (0, 0, 1, 0)]
    assert dead_terms(rows) == []
    assert len(dead_terms(rows[:2])) == 1


def test_a_likely_reason_is_named():
    ce = {"ce": Term(losses.cross_entropy)}
    masked = text_of(ce, {"logits": LOGITS}, where=jnp.zeros((2, 3, 3), bool))
    assert "likely because its `where` counts no pixel" in masked
    right = jnp.where(jax.nn.one_hot(LABELS, 2) > 0, 200.0, -200.0)
    assert "activations are flat where logits are as large as 200" in text_of(ce, {"logits": right})
    unread = text_of({"prior": Term(lambda labels: jnp.mean(labels, (1, 2)))}, {"logits": LOGITS})
    assert "it reads no output of the model" in unread
    options = {"absent": "skip", "include_background": False}
    absent = {"dice": Term(losses.dice, options=options)}
    empty = text_of(absent, {"logits": LOGITS}, labels=0 * LABELS)
    assert "no pixel was labeled other than class 0" in empty
    unknown = text_of({"flat": Term(lambda logits: 0 * square(logits))}, {"logits": LOGITS})
    assert unknown.endswith("over the first step: it trains nothing")
