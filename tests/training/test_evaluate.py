import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import metrics
from lossbench.data.patches import TileSource, Volume
from lossbench.training.evaluate import check_pieces, evaluate
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

    def watch(batch, found):
        for i in np.flatnonzero(batch["weights"]):
            assert int(batch["case"][i]) not in seen
            seen[int(batch["case"][i])] = found.labels[i]

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


def test_a_distance_is_measured_with_the_spacing_of_the_data(build, small):
    spaced = dataclasses.replace(small, spacing=(0.5, 2.0))
    streams = {"hd95": {"empty": "worst"}, "nsd": {"tolerance": 2}, "dice": {}}
    program = build(spaced, model=Fixed(), batch_size=2, metrics=streams)
    batch = {k: np.stack([v, v]) for k, v in small.train[0].items()}
    state = program.init(stream_key(0, "init"), program.place(batch))
    found = evaluate(program, state, small.test)
    examples = [small.test[i] for i in range(len(small.test))]
    labels, guess = (
        np.stack(x)
        for x in zip(*((e["labels"], predicted(e["image"])) for e in examples), strict=True)
    )
    options = {"spacing": (0.5, 2.0)}
    for c in (1, 2):
        masks = jnp.asarray(guess == c), jnp.asarray(labels == c)
        hd95, nsd = metrics.hd95(*masks, **options), metrics.nsd(*masks, **options, tolerance=2)
        np.testing.assert_array_equal(found.scores["hd95"].per_case[:, c], hd95.values)
        np.testing.assert_array_equal(found.scores["nsd"].per_case[:, c], nsd.values)
    assert found.means()["hd95"] == pytest.approx(found.scores["hd95"].per_case[:, 1:].mean())


def test_a_metric_of_whole_cases_refuses_their_pieces(build, small):
    volume = Volume(np.zeros((32, 16, 1), np.float32), np.zeros((32, 16), np.int32))
    shape = volume.labels.shape
    tiles = TileSource(("a", "b"), lambda i: volume, [shape, shape], (16, 16))
    whole = TileSource(("a",), lambda i: volume, [shape], (40, 16))
    streams = {name: metrics.get(name) for name in metrics.STATES}
    for name, stream in streams.items():
        if name not in ("hd95", "assd", "nsd", "cl_dice"):
            check_pieces({name: stream}, tiles)
            continue
        message = f"{name!r} needs each case in one piece, but the 2 cases come in 4 patches; .*"
        remedy = rf"leave data\.tile out \(decathlon: .* data\.patch .*, or leave {name!r} out"
        with pytest.raises(ValueError, match=message + remedy):
            check_pieces({name: stream}, tiles)
    check_pieces(streams, whole)
    program = build(small, model=Fixed(), metrics=("hd95",))
    with pytest.raises(ValueError, match="'hd95' needs each case in one piece"):
        evaluate(program, None, tiles)
