import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.training.evaluate import evaluate
from lossbench.training.state import stream_key

SCALE = np.array([0.0, 1.5, 1.6])  # logits are image times this, minus the next
OFFSET = np.array([0.0, -1.0, -1.4])


class Fixed(nn.Module):
    """A linear model whose parameters start where they are told to."""

    @nn.compact
    def __call__(self, image):
        scale = self.param("scale", lambda _: jnp.float32(SCALE))
        return {"logits": image * scale[None, None, None] + jnp.float32(OFFSET)[None, None, None]}


@pytest.fixture(scope="module")
def program(build, small):
    return build(small, model=Fixed(), batch_size=2, ema_decay=0.5)


@pytest.fixture(scope="module")
def state(program, small):
    batch = {k: np.stack([v, v]) for k, v in small.train[0].items()}
    return program.init(stream_key(0, "init"), program.place(batch))


def predicted(image):
    return np.argmax(image * SCALE + OFFSET, axis=-1)


def expected(source):
    """Dice and IoU per case and class and the mean cross entropy, in NumPy and float64."""
    dice, iou, losses = [], [], []
    for i in range(len(source)):
        example = source[i]
        labels, guess = example["labels"], predicted(example["image"])
        both = np.array([((labels == c) & (guess == c)).sum() for c in range(3)])
        sizes = np.array([(labels == c).sum() + (guess == c).sum() for c in range(3)])
        dice.append(2 * both / sizes)
        iou.append(both / (sizes - both))
        z = example["image"].astype(np.float64) * SCALE + OFFSET
        log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
        losses.append(-np.take_along_axis(log_p, labels[..., None], -1).mean())
    return np.array(dice), np.array(iou), np.mean(losses)


@pytest.mark.parametrize("size", [0, 1, 3, 4])
def test_scores_are_those_of_the_formulas_for_any_batch(program, state, small, size):
    program = dataclasses.replace(
        program, options=dataclasses.replace(program.options, eval_batch_size=size)
    )
    found = evaluate(program, state, small.test)
    dice, iou, loss = expected(small.test)
    assert np.isfinite(dice).all()
    np.testing.assert_allclose(found.scores["dice"].per_case, dice, rtol=1e-5)
    np.testing.assert_allclose(found.scores["iou"].per_case, iou, rtol=1e-5)
    assert found.terms["loss"] == pytest.approx(loss, rel=1e-5)
    means = found.means()
    assert means["dice"] == pytest.approx(dice[:, 1:].mean(), rel=1e-5)
    assert means["iou"] == pytest.approx(iou[:, 1:].mean(), rel=1e-5)
    assert set(means) == {"loss", "dice", "iou"}


def test_each_example_is_shown_once_with_its_prediction(program, state, small):
    seen = {}

    def watch(batch, predictions):
        for i in np.flatnonzero(batch["weights"]):
            assert int(batch["case"][i]) not in seen
            seen[int(batch["case"][i])] = predictions[i]

    evaluate(program, state, small.test, watch=watch)
    assert set(seen) == {0, 1, 2}
    for case, guess in seen.items():
        assert np.array_equal(guess, predicted(small.test[case]["image"]))


def test_the_average_is_what_is_evaluated(program, state, small):
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    shifted = dataclasses.replace(state, params=zeros)
    assert evaluate(program, shifted, small.test).means() == (
        evaluate(program, state, small.test).means()
    )
    shifted = dataclasses.replace(state, average=zeros)
    assert evaluate(program, shifted, small.test).means() != (
        evaluate(program, state, small.test).means()
    )
