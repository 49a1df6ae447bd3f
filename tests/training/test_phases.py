"""Two phases: what is fitted in passes over the data, then gradients; on scenes of 12 x 12."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from lossbench.anomaly import DeepSvdd, Pipeline, Preprocessed, SvddOptions
from lossbench.data import scenes, wholes
from lossbench.models import SVDDEncoder
from lossbench.training.loop import fit
from lossbench.training.phases import finish, passes, prepare
from lossbench.training.rows import Collapsed
from lossbench.training.state import stream_key

OBJECTIVE = {"terms": {"svdd_soft_boundary": {}}}


def small_scenes(**options):
    return scenes(
        size=(12, 12), bands=6, targets=2, train=3, validation=1, test=1, pixels=40, **options
    )


def detector(**options):
    model = Preprocessed(
        Pipeline.from_config({"unit_norm": {}, "z_score": {}}), SVDDEncoder(features=(8, 4))
    )
    return DeepSvdd(model, SvddOptions(**{"nu": 0.1, "recent": 64, **options}), warmup_steps=2)


@pytest.fixture(scope="module")
def data():
    return small_scenes()


@pytest.fixture(scope="module")
def program(data, build):
    return build(
        data,
        model=detector(),
        objective=OBJECTIVE,
        metrics=("roc_auc", "iou"),
        steps=8,
        eval_every=4,
        log_every=2,
        batch_size=2,
        learning_rate=1e-2,
        ema_decay=0.9,
    )


def normal_pixels(data):
    whole = list(wholes(data.train))
    return np.concatenate([e["image"][e["where"]] for e in whole]).astype(np.float64), whole


def begun(program, data):
    first = program.place({k: v[None].repeat(2, 0) for k, v in data.train[0].items()})
    return program.init(stream_key(0, "init"), first)


def test_statistics_are_those_of_all_normal_pixels_and_none_other(program, data):
    state = prepare(program, begun(program, data), data.train)
    pixels, whole = normal_pixels(data)
    assert any((e["labels"][~e["where"]] != 0).any() for e in whole)
    assert not any((e["labels"][e["where"]] != 0).any() for e in whole)
    centered = pixels - pixels.mean(1, keepdims=True)
    unit = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    fitted = state.params["preprocessing"]["z_score"]
    np.testing.assert_allclose(fitted["mean"], unit.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fitted["std"], unit.std(0, ddof=1), rtol=1e-4)
    assert jax.tree.all(jax.tree.map(np.array_equal, state.params, state.average))
    # The radius leaves a share nu of them outside.
    scores = program.model.apply(state.variables, pixels[None].astype(np.float32))
    assert float((scores["scores"] > scores["threshold"]).mean()) <= 0.1 + 1e-6


def test_passes_show_each_scene_whole_and_once(program, data):
    shown = [np.asarray(batch["image"]) for batch in passes(program, data.train)()]
    assert [x.shape for x in shown] == [(2, 12, 12, 6), (1, 12, 12, 6)]
    assert len(data.train) > 3  # several examples are drawn from a scene
    whole = np.stack([example["image"] for example in wholes(data.train)])
    assert np.array_equal(np.concatenate(shown), whole)


def fitted(program, data, folder, **options):
    return fit(program, data, seed=1, folder=folder, metric="last", label="", **options)


def test_an_interrupted_run_ends_with_the_same_bits(program, data, tmp_path, same):
    whole = fitted(program, data, tmp_path / "whole")
    steps = itertools.count()

    def dying(*arguments):
        if next(steps) == 6:
            raise KeyboardInterrupt
        return program.train(*arguments)

    with pytest.raises(KeyboardInterrupt):
        fitted(dataclasses.replace(program, train=dying), data, tmp_path / "cut")
    again = fitted(program, data, tmp_path / "cut")
    assert same(whole.best, again.best)
    assert same(whole.last, again.last)
    assert whole.history["collapse"] == again.history["collapse"]
    assert [row["step"] for row in whole.history["collapse"]] == [2, 4, 6, 8]
    assert whole.best_step == 8
    # What was fitted is not trained; the center stays, the radius is that of the end.
    start = prepare(
        program, program.init(stream_key(1, "init"), first_of(program, data)), data.train
    )
    assert same(start.params["preprocessing"], whole.last.params["preprocessing"])
    assert same(start.model_state["svdd"]["center"], whole.last.model_state["svdd"]["center"])
    assert not same(start.params["dense_0"], whole.last.params["dense_0"])
    assert same(finish(program, whole.last, data.train).model_state, whole.best.model_state)


def first_of(program, data):
    return program.place({k: v[None].repeat(2, 0) for k, v in data.train[0].items()})


def test_what_is_named_is_trained_though_it_was_fitted(data, build, tmp_path, same):
    program = build(
        data,
        model=detector(),
        objective=OBJECTIVE,
        metrics=("roc_auc",),
        steps=2,
        eval_every=2,
        trainable=(("preprocessing/z_score/mean", 0),),
    )
    ended = fitted(program, data, tmp_path).last.params
    start = prepare(
        program, program.init(stream_key(1, "init"), first_of(program, data)), data.train
    )
    assert same(start.params["dense_0"], ended["dense_0"])
    before, after = (p["preprocessing"]["z_score"] for p in (start.params, ended))
    assert same(before["std"], after["std"])
    assert not same(before["mean"], after["mean"])


def test_patience_needs_something_to_be_patient_with(data, build, tmp_path):
    program = build(
        data,
        model=detector(),
        objective=OBJECTIVE,
        metrics=("roc_auc",),
        early_stopping_patience=1,
    )
    with pytest.raises(ValueError, match="select by 'loss' or by a metric"):
        fitted(program, data, tmp_path)


@pytest.mark.parametrize("monitor", ["stop", "warn"])
def test_a_collapse_ends_the_run_with_its_reason(monitor, data, build, tmp_path):
    """Biases, a moving center, a high rate: within some steps all embeddings are one point."""
    model = DeepSvdd(
        SVDDEncoder(features=(8, 4), use_bias=True),
        SvddOptions(center="ema", center_rate=0.5, monitor=monitor, recent=64),
    )
    program = build(
        data,
        model=model,
        objective={"terms": {"svdd_one_class": {}}},
        metrics=("roc_auc",),
        steps=600,
        eval_every=600,
        log_every=40,
        learning_rate=0.1,
        schedule="constant",
    )
    if monitor == "warn":
        found = fitted(program, data, tmp_path)
        assert len(found.history["collapse"]) == 15
        return
    with pytest.raises(Collapsed, match=r"step .*svdd.center='fixed'") as caught:
        fitted(program, data, tmp_path)
    assert caught.value.history["collapse"][-1]["step"] == caught.value.step <= 600
