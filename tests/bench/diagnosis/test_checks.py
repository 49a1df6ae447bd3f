"""What a diagnosis does not take is refused with a word on what it takes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.bench.diagnosis import diagnose
from lossbench.bench.diagnosis.checks import check_labels, checked_batches, outputs_of
from lossbench.objective import Objective, Term

IMAGE = np.zeros((2, 4, 4, 1), np.float32)
LABELS = np.arange(32).reshape(2, 4, 4) % 3
BATCH = {"image": IMAGE, "labels": LABELS}
DICE = Objective({"dice": Term(losses.dice)})
OUTPUTS = {"logits": jax.ShapeDtypeStruct((2, 4, 4, 3), jnp.float32)}


class Linear:
    """Three logits a pixel; what it gives is what `wrap` makes of them."""

    def __init__(self, wrap=lambda logits: {"logits": logits}, name="params"):
        self.wrap, self.name = wrap, name

    def init(self, key, image):
        return {self.name: {"w": jnp.ones((1, 3))}}

    def apply(self, variables, image):
        return self.wrap(image @ variables[self.name]["w"])


class Norm(nn.Module):
    """A model with running statistics."""

    @nn.compact
    def __call__(self, image):
        return {"logits": nn.Dense(3)(nn.BatchNorm(use_running_average=False)(image))}


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "no batch to look at"),
        (BATCH, r"expected several, got one, a dict with 'image', 'labels'; \[batch\]"),
        (IMAGE, "batch 0: expected a dict of arrays .* got an array"),
        (7, "batches: expected dicts of arrays, got an int"),
        ([BATCH, (IMAGE, LABELS)], "batch 1: expected a dict of arrays .* got a tuple"),
        ([{"labels": LABELS}], "batch 0: .*\"image\", and it has only 'labels'"),
        ([{**BATCH, "case": "c"}], "'case' is a str; leave it out"),
    ],
)
def test_batches_that_are_none(batches, said):
    with pytest.raises(ValueError, match=said):
        diagnose(Linear(), DICE, batches)


def test_batches_from_a_stream_are_kept():
    assert checked_batches(iter([BATCH, BATCH])) == [BATCH, BATCH]


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (
            lambda logits: logits,
            r"expected a dict of outputs, .*got an array of shape \(2, 4, 4, 3",
        ),
        (lambda logits: (logits, {}), "got a tuple"),
        (lambda logits: {"logits": logits, "name": "unet"}, "its output 'name' is a str"),
    ],
)
def test_a_model_that_gives_something_else(wrap, said):
    with pytest.raises(ValueError, match=said):
        diagnose(Linear(wrap), DICE, [BATCH])


def test_variables_without_parameters():
    with pytest.raises(ValueError, match=r"under 'params'.*there are only 'weights'"):
        diagnose(Linear(name="weights"), DICE, [BATCH])
    with pytest.raises(ValueError, match=r"under 'params'.*there are only 'w'"):
        diagnose(Linear(), DICE, [BATCH], variables={"w": IMAGE})


def test_plain_values_are_no_objective():
    with pytest.raises(ValueError, match=r"got a dict; Objective\.from_config makes one"):
        diagnose(Linear(), {"terms": {"dice": {}}}, [BATCH])


def test_outputs_are_those_of_a_training():
    variables = Norm().init(jax.random.key(0), IMAGE)
    assert outputs_of(Norm(), variables, IMAGE)["logits"].shape == (2, 4, 4, 3)


def test_class_ids_without_a_channel_are_refused_before_anything_is_measured():
    with pytest.raises(ValueError, match=r"batch 1: 'labels' has class ids from 7 to 9, .*0 to 2"):
        diagnose(Linear(), DICE, [BATCH, {**BATCH, "labels": LABELS + 7}])
    with pytest.raises(ValueError, match="from -1 to 1"):
        check_labels(DICE, [{**BATCH, "labels": LABELS - 1}], OUTPUTS)


@pytest.mark.parametrize(
    "batch",
    [
        {"where": LABELS < 2, "labels": np.where(LABELS < 2, LABELS, 255)},
        {"weights": np.array([1.0, 0.0]), "labels": LABELS + np.array([0, 9])[:, None, None]},
        {"labels": np.full((2, 4, 4, 3), 7)},
        {"labels": np.full((2, 4, 4), 7.0)},
    ],
)
def test_what_is_not_counted_or_no_class_id_may_be_anything(batch):
    check_labels(DICE, [{**BATCH, **batch}], OUTPUTS)


def test_a_mask_and_a_loss_of_one_s_own_have_labels_of_their_own():
    wrong = [{**BATCH, "labels": LABELS + 7}]
    one = {"logits": jax.ShapeDtypeStruct((2, 4, 4, 1), jnp.float32)}
    check_labels(DICE, wrong, one)
    own = Term(lambda logits, labels: jnp.mean(logits, axis=(1, 2, 3)))
    check_labels(Objective({"own": own}), wrong, OUTPUTS)
    # The integers of Deep SAD, of a model that has logits besides.
    known = [{**BATCH, "labels": LABELS - 1}]
    check_labels(Objective({"sad": Term(losses.deep_sad)}), known, OUTPUTS)
