import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench.testing.discovery import as_torch, first_line, subject_of
from tests.testing.broken import branches, sound, surprise


def test_a_loss_of_class_ids():
    subject = subject_of(sound)
    form = subject.form
    assert (form.classes, form.labels, form.where, subject.kind) == (3, "ids", "where", "example")
    assert subject.traces


def test_losses_of_optax_by_trying():
    subject = subject_of(optax.losses.dice_loss)
    assert (subject.form.labels, subject.form.where, subject.kind) == ("one_hot", None, "example")
    assert subject_of(optax.losses.sigmoid_focal_loss).kind == "pixels"


def test_a_mask_may_need_a_channel_axis():
    def masked(logits, labels, *, mask=None):
        mask = jnp.ones_like(logits) if mask is None else jnp.broadcast_to(mask, logits.shape)
        return jnp.sum(optax.losses.sigmoid_focal_loss(logits, labels) * mask, (1, 2, 3))

    assert subject_of(masked).form[3:] == ("mask", False, True, None)


def test_a_binary_loss_has_one_channel():
    def binary(logits, labels):
        assert logits.shape[-1] == 1
        return jnp.mean(optax.losses.sigmoid_binary_cross_entropy(logits, labels), (1, 2, 3))

    assert subject_of(binary).form[:2] == (1, "one_hot")


def test_the_form_that_tells_right_from_wrong_is_preferred():
    def scores(logits, labels):  # runs with ids, too, and means nothing then
        labels = labels if labels.ndim == logits.ndim else 0 * labels[..., None]
        return -jnp.mean(labels * jax.nn.log_softmax(logits), (1, 2, 3))

    assert subject_of(scores).form.labels == "one_hot"


def test_truth_first_by_name():
    def keras(y_true, y_pred):
        return sound(y_pred, y_true)

    assert subject_of(keras).form.labels == "ids"


def test_probabilities_are_made_for_losses_that_want_them():
    def of_probabilities(p, labels):
        assert p.ndim > 1
        return -jnp.mean(jnp.log(jnp.take_along_axis(p, labels[..., None], -1)), (1, 2, 3))

    subject = subject_of(of_probabilities, probabilities=True)
    case = subject.random()
    expected = jnp.mean(surprise(jnp.asarray(case.logits), jnp.asarray(case.ids)), (1, 2))
    np.testing.assert_allclose(subject.value(case), expected, rtol=1e-5)


def test_a_required_mask_and_options_of_the_number_of_classes():
    def weighted(logits, labels, *, where, weights):
        return sound(logits, labels, where=where) * jnp.sum(weights)

    subject = subject_of(weighted, options=lambda classes: {"weights": jnp.ones(classes)})
    assert subject.form.where_required
    other = subject.rebuild(subject.form._replace(classes=5))
    assert other.value(other.random()).shape == (4,)


def test_a_loss_that_cannot_be_traced_is_run_as_it_is():
    subject = subject_of(branches)
    assert not subject.traces
    assert subject.value(subject.random()).shape == (4,)


def test_users_errors():
    with pytest.raises(ValueError, match="did you mean 'where'"):
        subject_of(functools.partial(sound), options={"were": None}, where=None)
    with pytest.raises(ValueError, match="needs more than predictions and labels: distances"):
        subject_of(lambda logits, labels, distances: 0)
    with pytest.raises(ValueError, match="unknown form of labels 'ID'"):
        subject_of(sound, labels="ID")
    with pytest.raises(ValueError, match="unknown layout"):
        subject_of(sound, layout="NCHW")
    with pytest.raises(
        ValueError, match=r"(?s)runs with no.*KeyError: 'no' \(3 x ids, 3 x one_hot"
    ):
        subject_of(lambda x, y: {}["no"])
    with pytest.raises(ValueError, match="no function"):
        as_torch("dice")


def test_an_error_in_one_line():
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert len(first_line(ValueError("x" * 500))) == 160
