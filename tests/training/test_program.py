import jax
import numpy as np
import pytest

from lossbench.training.options import TrainOptions
from lossbench.training.program import data_mesh
from lossbench.training.state import stream_key


def batch_of(source, start, size):
    examples = [source[(start + i) % len(source)] for i in range(size)]
    return {k: np.stack([e[k] for e in examples]) for k in examples[0]}


@pytest.fixture(scope="module")
def on(build, small):
    """Programs that differ in the size of the mesh alone."""
    return {
        devices: build(
            small,
            batch_size=4,
            devices=devices,
            ema_decay=0.5,
            plateau_patience=1,
            learning_rate=0.05,
            objective={"terms": {"dice": {"pool": "batch"}, "cross_entropy": {}}},
        )
        for devices in (1, 4)
    }


def trained(program, small):
    state = program.init(stream_key(0, "init"), program.place(batch_of(small.train, 0, 4)))
    for step in range(3):
        state, log = program.train(state, program.place(batch_of(small.train, step, 4)))
        state = program.after_validation(state, np.float32(0.5))
    return state, log


def test_one_device_and_four_train_the_same(on, small):
    (one, log), (four, other) = (trained(on[n], small) for n in (1, 4))
    start = on[1].init(stream_key(0, "init"), on[1].place(batch_of(small.train, 0, 4)))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert float(log.objective.total) == pytest.approx(float(other.objective.total), abs=1e-5)
    moved = [
        np.abs(np.asarray(a) - b).max()
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(start.params), strict=True)
    ]
    assert min(moved) > 1e-2
    assert float(one.plateau.scale) < 1


def test_examples_are_spread_and_the_state_is_on_every_device(on, small):
    state, log = trained(on[4], small)
    batch = on[4].place(batch_of(small.train, 0, 4))
    assert {s.data.shape[0] for s in batch["image"].addressable_shards} == {1}
    assert len(batch["image"].sharding.device_set) == 4
    for leaf in jax.tree.leaves((state, log)):
        assert leaf.sharding.is_fully_replicated
        assert len(leaf.sharding.device_set) == 4


def test_evaluation_does_not_depend_on_the_mesh(on, small):
    results = {}
    for devices, program in on.items():
        state, _ = trained(program, small)
        batch = batch_of(small.test, 0, 4) | {"weights": np.float32([1, 1, 1, 0])}
        evaluation, predictions = program.evaluate(
            program.empty(), state.evaluated, program.place(batch), state.step
        )
        results[devices] = jax.device_get((evaluation.metrics, predictions))
    one, four = (jax.tree.leaves(results[n]) for n in (1, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, four, strict=True))
    assert one[0].any()


@pytest.mark.parametrize(
    ("batch", "evaluation", "size"), [(8, 0, 4), (6, 0, 3), (5, 0, 1), (8, 2, 2), (8, 3, 1)]
)
def test_the_mesh_takes_as_many_devices_as_divide_every_batch(batch, evaluation, size):
    mesh = data_mesh(TrainOptions(batch_size=batch, eval_batch_size=evaluation))
    assert mesh.shape == {"data": size}


@pytest.mark.parametrize(("batch", "evaluation", "devices"), [(8, 0, 8), (6, 0, 4), (8, 3, 2)])
def test_a_mesh_that_cannot_be_is_refused(batch, evaluation, devices):
    options = TrainOptions(batch_size=batch, eval_batch_size=evaluation, devices=devices)
    with pytest.raises(ValueError, match=r"train.devices: .* divide the batch"):
        data_mesh(options)


def test_the_cost_of_compiling_is_told(on, small):
    program = on[1]
    state = program.init(stream_key(0, "init"), program.place(batch_of(small.train, 0, 4)))
    arguments = sum(x.nbytes for x in jax.tree.leaves((state, batch_of(small.train, 0, 4))))
    assert program.compile_seconds > 0
    assert program.peak_bytes >= arguments
