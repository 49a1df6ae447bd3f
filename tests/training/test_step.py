import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import Collection, Dice
from lossbench.models import UNet
from lossbench.objective import Objective
from lossbench.training.optimizers import learning_rate
from lossbench.training.options import TrainOptions
from lossbench.training.state import stream_key
from lossbench.training.step import Evaluation, evaluation_step, namespace, predict

SGD = {"optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "learning_rate": 0.5}


def batch_of(source, indices, **more):
    examples = [source[i] for i in indices]
    return {k: np.stack([e[k] for e in examples]) for k in examples[0]} | more


def started(program, batch, seed=0):
    return program.init(stream_key(seed, "init"), program.place(batch))


@pytest.fixture(scope="module")
def sgd(build, small):
    return build(small, ema_decay=0.9, plateau_patience=1, **SGD)


def softmax_regression(params, batch):
    """Cross entropy of one 1x1 convolution and its gradient, in float64."""
    kernel, bias = (np.asarray(params["Dense_0"][k], np.float64) for k in ("kernel", "bias"))
    x = batch["image"].reshape(-1, batch["image"].shape[-1]).astype(np.float64)
    z = x @ kernel + bias
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    y = np.eye(z.shape[1])[batch["labels"].reshape(-1)]
    loss = -np.log((p * y).sum(1)).mean()
    return loss, {"kernel": x.T @ (p - y) / len(x), "bias": (p - y).mean(0)}


def test_a_step_is_the_gradient_step_of_the_formula(sgd, small):
    batch = batch_of(small.train, (0, 1))
    state = started(sgd, batch)
    before = jax.device_get(state.params)
    state, log = sgd.train(state, sgd.place(batch))
    loss, gradient = softmax_regression(before, batch)
    for name, g in gradient.items():
        expected = before["Dense_0"][name] - 0.5 * g
        np.testing.assert_allclose(state.params["Dense_0"][name], expected, atol=1e-6)
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    np.testing.assert_allclose(log.gradient_norm, norm, rtol=1e-5)
    np.testing.assert_allclose(log.objective.total, loss, rtol=1e-5)
    assert float(log.learning_rate) == 0.5
    assert int(state.step) == 1


def test_the_logged_norm_is_that_before_clipping(build, small):
    program = build(small, clip_norm=1e-3, **SGD)
    batch = batch_of(small.train, (0, 1))
    state = started(program, batch)
    before = jax.device_get(state.params)
    state, log = program.train(state, program.place(batch))
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: np.asarray(a) - b, state.params, before))
    _, gradient = softmax_regression(before, batch)
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    np.testing.assert_allclose(log.gradient_norm, norm, rtol=1e-5)
    assert norm > 2e-3
    length = np.sqrt(sum((m**2).sum() for m in moved))
    np.testing.assert_allclose(length, 0.5 * 1e-3, rtol=1e-3)


def test_the_state_is_donated(sgd, small):
    batch = batch_of(small.train, (0, 1))
    state = started(sgd, batch)
    sgd.train(state, sgd.place(batch))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.average)))


def test_the_average_follows_its_formula(sgd, small):
    state = started(sgd, batch_of(small.train, (0, 1)))
    mean = jax.tree.map(np.float64, jax.device_get(state.params))
    for step in range(4):
        state, _ = sgd.train(state, sgd.place(batch_of(small.train, (step, step + 1))))
        decay = min(0.9, (1 + step) / (10 + step))
        params = jax.device_get(state.params)
        mean = jax.tree.map(lambda m, p, d=decay: d * m + (1 - d) * p, mean, params)
        for a, b in zip(jax.tree.leaves(state.average), jax.tree.leaves(mean), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert state.evaluated["params"] is state.average


def test_the_plateau_scales_updates_and_the_logged_rate(sgd, small):
    batch = batch_of(small.train, (0, 1))

    def moved(metrics):
        state = started(sgd, batch)
        before = jax.device_get(state.params["Dense_0"]["kernel"])
        for metric in metrics:
            state = sgd.after_validation(state, jnp.float32(metric))
        state, log = sgd.train(state, sgd.place(batch))
        return np.asarray(state.params["Dense_0"]["kernel"]) - before, float(log.learning_rate)

    whole, rate = moved([0.5])  # better than nothing
    half, halved = moved([0.5, 0.5])  # stalls for a patience of one
    assert (rate, halved) == (0.5, 0.25)
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(half, whole / 2, atol=1e-7)


def test_a_model_is_traced_for_one_step_and_never_again(build, small, Pixelwise):
    traced = []

    class Counted(Pixelwise):
        @nn.compact
        def __call__(self, image):
            traced.append(image.shape)
            return {"logits": nn.Dense(self.num_classes)(image)}

    program = build(small, model=Counted())
    assert traced
    traced.clear()
    state = started(program, batch_of(small.train, (0, 1)), seed=0)
    for step in range(3):
        state, _ = program.train(state, program.place(batch_of(small.train, (step, step + 1))))
    state = started(program, batch_of(small.train, (0, 1)), seed=1)
    assert traced == []
    evaluation = program.empty()
    for _ in range(3):
        batch = batch_of(small.test, (0, 1), weights=np.ones(2, np.float32))
        evaluation, _ = program.evaluate(
            evaluation, state.evaluated, program.place(batch), state.step
        )
    assert len(traced) == 1


def test_the_scheduled_weight_is_logged_by_step(build, small):
    weight = {"schedule": "linear_schedule", "init_value": 1.0, "end_value": 3.0}
    weight["transition_steps"] = 2
    program = build(small, objective={"terms": {"dice": {"weight": weight}}})
    state = started(program, batch_of(small.train, (0, 1)))
    seen = []
    for _ in range(3):
        state, log = program.train(state, program.place(batch_of(small.train, (0, 1))))
        seen.append(float(log.objective.weights["dice"]))
        total = float(log.objective.weights["dice"] * log.objective.terms["dice"])
        assert float(log.objective.total) == pytest.approx(total)
    assert seen == [1, 2, 3]


def test_namespace_adds_coarse_labels_for_coarse_logits():
    labels, where = np.arange(2 * 8 * 6).reshape(2, 8, 6), np.arange(2 * 8 * 6).reshape(2, 8, 6) > 9
    outputs = {
        "logits": jnp.zeros((2, 8, 6, 3)),
        "logits_2": jnp.zeros((2, 4, 3, 3)),
        "logits_aux": jnp.zeros((2, 8, 6, 3)),
    }
    names = namespace({"labels": jnp.asarray(labels), "where": jnp.asarray(where)}, outputs)
    assert set(names) == {"labels", "where", *outputs, "labels_2", "where_2"}
    for b, i, j in np.ndindex(2, 4, 3):
        assert names["labels_2"][b, i, j] == labels[b, 2 * i, 2 * j]
        assert names["where_2"][b, i, j] == where[b, 2 * i, 2 * j]
    assert "where_2" not in namespace({"labels": jnp.asarray(labels)}, outputs)


def test_deep_supervision_trains_every_head(build, small):
    coarse = {name: f"{name}_2" for name in ("logits", "labels", "where")}
    program = build(
        small,
        model=UNet(num_classes=3, dims=2, features=(2, 4), deep_supervision=True),
        objective={
            "terms": {
                "fine": {"loss": "cross_entropy"},
                "coarse": {"loss": "cross_entropy", "weight": 0.5, "inputs": coarse},
            }
        },
        learning_rate=0.02,
        schedule="constant",
    )
    batch = batch_of(small.train, (0, 1))
    state = started(program, batch)
    before = jax.device_get(state.params)
    logs = []
    for _ in range(12):
        state, log = program.train(state, program.place(batch))
        logs.append(jax.device_get(log.objective))
    for name in ("fine", "coarse"):
        assert logs[-1].terms[name] < 0.9 * logs[0].terms[name]
    assert logs[0].total == pytest.approx(logs[0].terms["fine"] + 0.5 * logs[0].terms["coarse"])
    for path, leaf in jax.tree.leaves_with_path(state.params):
        old = functools.reduce(lambda tree, key: tree[key.key], path, before)
        assert not np.array_equal(leaf, old), path


def evaluated(Pixelwise, batch, params):
    terms = {"dice": {}, "cross_entropy": {"weight": 0.5}}
    pooled = {"pooled": {"loss": "dice", "pool": "batch"}}
    objective = Objective.from_config({"terms": terms | pooled})
    evaluation = Evaluation(
        Collection.of(dice=Dice.empty(cases=3, num_classes=3)),
        {name: jnp.zeros(()) for name in (*objective.terms, "loss")},
        jnp.zeros(()),
    )
    step = jax.jit(functools.partial(evaluation_step, model=Pixelwise(), objective=objective))
    evaluation, predictions = step(evaluation, {"params": params}, batch, jnp.int32(0))
    return jax.device_get(evaluation), np.asarray(predictions.labels)


def test_padding_of_a_batch_has_no_influence(Pixelwise, small):
    batch = batch_of(small.test, (0, 2), weights=np.ones(2, np.float32))
    params = Pixelwise().init(jax.random.key(3), batch["image"])["params"]
    rng = np.random.default_rng(0)
    filler = {
        "image": np.full_like(batch["image"][:1], np.nan),
        "labels": rng.integers(0, 3, batch["labels"][:1].shape, np.int32),
        "where": np.ones_like(batch["where"][:1]),
        "case": np.ones(1, np.int32),
        "weights": np.zeros(1, np.float32),
    }
    padded = {k: np.concatenate([batch[k], filler[k], filler[k]]) for k in batch}
    plain, predictions = evaluated(Pixelwise, batch, params)
    full, more = evaluated(Pixelwise, padded, params)
    assert np.array_equal(predictions, more[:2])
    assert full.examples == plain.examples == 2
    for name, term in plain.terms.items():
        np.testing.assert_allclose(full.terms[name], term, rtol=1e-6)
        assert term > 0
    for a, b in zip(jax.tree.leaves(plain.metrics), jax.tree.leaves(full.metrics), strict=True):
        assert np.array_equal(a, b)
    assert not plain.metrics.states()["dice"].seen[1]


def test_predictions_of_several_classes_and_of_one():
    logits = jnp.array([[[0.1, 2.0, 1.0], [3.0, -1.0, 0.0]]])
    assert predict(logits).tolist() == [[1, 0]]
    assert predict(jnp.array([[[0.3], [-0.3], [0.0]]])).tolist() == [[1, 0, 0]]


def test_one_class_trains_with_a_sigmoid(build, Pixelwise):
    from lossbench.data import shapes

    discs = shapes(size=(16, 16), classes=1, foreground=0.3, train=4, validation=2, test=2)
    program = build(
        discs,
        model=Pixelwise(num_classes=1),
        objective={"terms": {"binary_cross_entropy": {}}},
        learning_rate=0.1,
        schedule="constant",
    )
    batch = batch_of(discs.train, (0, 1))
    state = started(program, batch)
    losses = []
    for _ in range(30):
        state, log = program.train(state, program.place(batch))
        losses.append(float(log.objective.total))
    assert losses[-1] < losses[0]
    weighted = program.place(batch | {"weights": np.ones(2, np.float32)})
    _, found = program.evaluate(program.empty(), state.evaluated, weighted, state.step)
    predictions = np.asarray(found.labels)
    # A disc is brighter than the noise: most of its pixels are found.
    assert set(np.unique(predictions)) == {0, 1}
    assert predictions[batch["labels"] == 1].mean() > 0.5


@pytest.mark.parametrize("devices", [1, 2])
def test_debug_checks_raise_on_a_label_out_of_range(build, small, devices):
    program = build(small, debug_checks=True, devices=devices)
    batch = batch_of(small.train, (0, 1))
    state, log = program.train(started(program, batch), program.place(batch))
    assert np.isfinite(log.objective.total)
    batch["labels"][1, 3, 4] = 3
    with pytest.raises(Exception, match=r"labels: a class id is outside 0\.\.2"):
        program.train(state, program.place(batch))


class Normalized(nn.Module):
    """Keeps a running mean of its input, as batch normalization does."""

    @nn.compact
    def __call__(self, image):
        training = self.is_mutable_collection("statistics") and not self.is_initializing()
        mean = self.variable("statistics", "mean", jnp.zeros, image.shape[-1:])
        if training:
            mean.value = 0.9 * mean.value + 0.1 * image.mean((0, 1, 2))
        return {"logits": nn.Dense(3)(image - mean.value[None, None, None])}


def test_statistics_of_a_model_are_updated_in_training_only(build, small):
    program = build(small, model=Normalized())
    state = started(program, batch_of(small.train, (0, 1)))
    expected = np.zeros(1)
    for step in range(3):
        batch = batch_of(small.train, (step, step + 1))
        state, _ = program.train(state, program.place(batch))
        expected = 0.9 * expected + 0.1 * batch["image"].mean((0, 1, 2))
        mean = state.model_state["statistics"]["mean"]
        np.testing.assert_allclose(mean, expected, rtol=1e-5)
    batch = batch_of(small.test, (0, 1), weights=np.ones(2, np.float32))
    program.evaluate(program.empty(), state.evaluated, program.place(batch), state.step)
    np.testing.assert_allclose(state.model_state["statistics"]["mean"], expected, rtol=1e-5)
    assert list(state.evaluated) == ["params", "statistics"]


def test_the_rate_of_a_step_is_the_one_of_the_schedule(build, small):
    options = {"steps": 12, "warmup_steps": 3, "learning_rate": 0.2}
    program = build(small, **options)
    rate = learning_rate(dataclasses.replace(TrainOptions(), **options))
    state = started(program, batch_of(small.train, (0, 1)))
    for step in range(5):
        state, log = program.train(state, program.place(batch_of(small.train, (0, 1))))
        assert float(log.learning_rate) == pytest.approx(float(rate(step)))
