import dataclasses
import itertools
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.data import augmentation
from lossbench.metrics import get as get_metric
from lossbench.objective import Objective, Term
from lossbench.training import loop
from lossbench.training.checkpoint import open_checkpoints
from lossbench.training.evaluate import Evaluated
from lossbench.training.loop import Diverged, best_step, fit


class Killed(BaseException):
    """Stands for the end of the process; nothing catches it."""


def fitted(program, dataset, folder, seed=0, metric="dice"):
    augment = augmentation({"flip": True, "noise": 0.1}, 2)
    return fit(
        program,
        dataset,
        seed=seed,
        folder=folder,
        metric=metric,
        label="test",
        augment=augment,
    )


@pytest.fixture(scope="module")
def program(build, small):
    return build(
        small,
        steps=11,
        eval_every=4,
        log_every=3,
        ema_decay=0.9,
        plateau_patience=1,
        learning_rate=0.1,
        objective={"terms": {"dice": {}, "cross_entropy": {"weight": 0.5}}},
    )


@pytest.fixture(scope="module")
def uninterrupted(program, small, tmp_path_factory):
    return fitted(program, small, tmp_path_factory.mktemp("whole"))


def kill_at(monkeypatch, program, where, count):
    """A program or a patched loop that dies when it comes to `where` for the `count`th time."""
    calls = itertools.count(1)

    def dying(function):
        def call(*arguments, **options):
            if next(calls) == count:
                raise Killed
            return function(*arguments, **options)

        return call

    if where == "step":
        return dataclasses.replace(program, train=dying(program.train))
    monkeypatch.setattr(loop, where, dying(getattr(loop, where)))
    return program


STOPS = [
    *[("step", n) for n in (1, 4, 5, 6, 9, 11)],  # a checkpoint is after steps 4, 8 and 11
    *[("evaluate", n) for n in (1, 2, 3)],
    *[("_save", n) for n in (1, 2, 3)],
]


@pytest.mark.parametrize(("where", "count"), STOPS)
def test_a_stopped_run_continues_to_the_same_bits(
    program, small, uninterrupted, tmp_path, monkeypatch, same, where, count
):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        fitted(kill_at(patch, program, where, count), small, tmp_path)
    again = fitted(program, small, tmp_path)
    for part in ("last", "best", "best_step", "history", "stopped_early"):
        assert same(getattr(again, part), getattr(uninterrupted, part)), part


def test_a_run_that_is_stopped_twice_continues_to_the_same_bits(
    program, small, uninterrupted, tmp_path, monkeypatch, same
):
    for saved in ("4", "8"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            fitted(kill_at(patch, program, "evaluate", 2), small, tmp_path)
        assert (tmp_path / "checkpoints" / saved).exists()
    again = fitted(program, small, tmp_path)
    assert same(again.last, uninterrupted.last)
    assert same(again.history, uninterrupted.history)


def test_an_ended_run_does_nothing_more(program, small, uninterrupted, tmp_path, same):
    first = fitted(program, small, tmp_path)
    assert same(first.last, uninterrupted.last)

    def never(*_):
        raise AssertionError("a step was taken")

    again = fitted(dataclasses.replace(program, train=never), small, tmp_path)
    assert same((again.last, again.best), (first.last, first.best))
    assert again.best_step == first.best_step
    assert np.isnan(again.step_seconds)


def test_the_state_came_a_long_way(program, small, uninterrupted):
    start = program.init(
        loop.stream_key(0, "init"),
        program.place({k: np.stack([v, v]) for k, v in small.train[0].items()}),
    )
    assert int(uninterrupted.last.step) == 11
    for a, b in zip(
        jax.tree.leaves(uninterrupted.last.params), jax.tree.leaves(start.params), strict=True
    ):
        assert np.abs(np.asarray(a) - b).max() > 0.01


def test_the_seed_sets_the_run(program, small, uninterrupted, tmp_path, same):
    other = fitted(program, small, tmp_path / "1", seed=1)
    assert not same(other.last.params, uninterrupted.last.params)
    repeated = fitted(program, small, tmp_path / "0", seed=0)
    assert same(repeated.last, uninterrupted.last)


def test_history_has_a_row_each_log_and_each_validation(uninterrupted):
    train, validation = uninterrupted.history["train"], uninterrupted.history["validation"]
    # Every third step, and before each validation, which comes every fourth and at the end.
    assert [row["step"] for row in train] == [3, 4, 6, 8, 9, 11]
    assert [row["step"] for row in validation] == [4, 8, 11]
    for row in train:
        assert set(row["terms"]) == set(row["weights"]) == {"dice", "cross_entropy"}
        total = sum(row["weights"][t] * row["terms"][t] for t in row["terms"])
        assert row["loss"] == pytest.approx(total, rel=1e-5)
        assert row["gradient_norm"] > 0
    for row in validation:
        assert set(row) == {"step", "loss", "dice", "iou"}
        assert 0 < row["iou"] <= row["dice"] < 1


def test_a_row_is_the_mean_over_its_steps(build, small, tmp_path):
    rows = {}
    for every in (1, 4):
        program = build(small, steps=4, eval_every=4, log_every=every, learning_rate=0.1)
        rows[every] = fitted(program, small, tmp_path / str(every)).history["train"]
    assert [row["step"] for row in rows[4]] == [4]
    for name in ("loss", "gradient_norm"):
        mean = np.mean([row[name] for row in rows[1]])
        assert rows[4][0][name] == pytest.approx(mean, rel=1e-5)
    assert rows[4][0]["learning_rate"] == rows[1][-1]["learning_rate"]


def test_the_log_holds_every_term_weight_and_metric(program, small, tmp_path):
    fitted(program, small, tmp_path)
    (file,) = (tmp_path / "tensorboard").iterdir()
    written = file.read_bytes()
    for tag in (
        *("train/loss", "train/gradient_norm", "train/learning_rate"),
        *("train/terms/dice", "train/terms/cross_entropy"),
        *("train/weights/dice", "train/weights/cross_entropy"),
        *("validation/loss", "validation/dice", "validation/iou"),
    ):
        assert tag.encode() in written, tag
    assert written.count(b"\x89PNG") == 3


def metric_by_step(monkeypatch, values, metric="dice"):
    """Validations that come to known values, whatever the model does."""
    left = iter(values)
    empty = jax.device_get(get_metric("dice").empty(cases=1, num_classes=3).compute())

    def evaluate(*_, **__):
        scores = {metric: empty._replace(mean=np.float32(next(left)))}
        return Evaluated(scores, {"loss": 1.0})

    monkeypatch.setattr(loop, "evaluate", evaluate)
    monkeypatch.setattr(loop.Log, "slices", lambda *_: None)


@pytest.fixture(scope="module")
def quick(build, small):
    return build(small, steps=8, eval_every=1, log_every=1, early_stopping_patience=2)


@pytest.mark.parametrize(
    ("metrics", "steps", "best"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 8, 8),
        ([0.5, 0.4, 0.4], 3, 1),
        ([0.1, 0.5, 0.4, 0.6, 0.5, 0.5], 6, 4),
        ([0.5, 0.5, 0.5], 3, 1),  # a tie is no improvement, and the earliest is kept
        ([float("nan"), 0.2, float("nan"), float("nan")], 4, 2),
        ([float("nan")] * 8, 2, 2),  # undefined is no improvement
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.5, 0.5], 8, 6),
    ],
)
def test_training_ends_when_the_metric_stalls(
    quick, small, tmp_path, monkeypatch, metrics, steps, best
):
    metric_by_step(monkeypatch, metrics)
    found = fitted(quick, small, tmp_path)
    assert int(found.last.step) == steps
    assert found.stopped_early == (steps < 8)
    assert found.best_step == best
    assert int(found.best.step) == best
    with open_checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert int(checkpoints.load(best, found.last).state.step) == best
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {str(steps), str(best)}


@pytest.mark.parametrize(
    ("distances", "steps", "best"),
    [
        ([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 8, 8),
        ([4.0, 5.0, 6.0], 3, 1),
        ([float("nan"), 5.0, 3.0, 3.0, 4.0], 5, 3),
    ],
)
def test_of_a_distance_the_lowest_is_the_best_checkpoint(
    quick, small, tmp_path, monkeypatch, distances, steps, best
):
    metric_by_step(monkeypatch, distances, "hd95")
    found = fitted(quick, small, tmp_path, metric="hd95")
    assert int(found.last.step) == steps
    assert found.best_step == int(found.best.step) == best
    again = fitted(quick, small, tmp_path, metric="hd95")
    assert int(again.best.step) == best
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {str(steps), str(best)}


def test_a_metric_that_is_never_defined_makes_the_last_the_best(
    build, small, tmp_path, monkeypatch
):
    program = build(small, steps=3, eval_every=1)
    metric_by_step(monkeypatch, [float("nan")] * 3)
    found = fitted(program, small, tmp_path)
    assert found.best_step == int(found.best.step) == 3
    assert np.isnan(found.history["validation"][0]["dice"])
    again = fitted(program, small, tmp_path)
    assert again.best_step == 3
    assert np.isnan([row["dice"] for row in again.history["validation"]]).all()


@pytest.mark.parametrize(
    ("values", "best"),
    [([0.1, 0.3, 0.2], 2), ([0.3, 0.3], 1), ([float("nan"), 0.0], 2), ([float("nan")] * 2, 2)],
)
def test_best_step(values, best):
    rows = [{"step": n, "dice": v, "hd95": 9 - v} for n, v in enumerate(values, start=1)]
    history = {"train": [], "validation": rows}
    assert best_step(history, "dice") == best_step(history, "hd95") == best


@pytest.mark.parametrize("metric", ["dice", "hd95"])
def test_the_plateau_is_told_each_validation(build, small, tmp_path, monkeypatch, metric):
    program = build(
        small, steps=5, eval_every=1, log_every=1, schedule="constant", plateau_patience=2
    )
    worsening = {"dice": [0.5, 0.5, 0.4, 0.4, 0.5], "hd95": [5.0, 5.0, 6.0, 6.0, 5.0]}
    metric_by_step(monkeypatch, worsening[metric], metric)
    found = fitted(program, small, tmp_path, metric=metric)
    rates = [row["learning_rate"] / 1e-3 for row in found.history["train"]]
    # The first sets the mark, the second and third stall: half from the fourth step on.
    assert rates == pytest.approx([1, 1, 1, 0.5, 0.5])


@jax.custom_jvp
def steep(x):
    """The identity, with an infinite slope from 5 on."""
    return x


@steep.defjvp
def _steep(primals, tangents):
    (x,), (dx,) = primals, tangents
    return x, dx * jnp.where(x >= 5, jnp.inf, 1.0)


class Counting(nn.Module):
    """Logits that carry the number of steps so far, which plain descent counts up."""

    @nn.compact
    def __call__(self, image):
        count = self.param("count", nn.initializers.zeros, ())
        counts = jnp.broadcast_to(count, image.shape[:1])
        return {"count": counts, "logits": jnp.zeros((*image.shape[:-1], 3))}


def climbing(count):
    """Falls by one a step under descent at rate 1."""
    return -count


def until_four(count):
    return jnp.where(count < 4, 0.0, jnp.nan) + 0.0 * count


def steep_at_five(count):
    return -steep(count)


def diverging(build, small, tmp_path, terms, **options):
    program = build(
        small,
        model=Counting(),
        objective=Objective(terms),
        optimizer="sgd",
        momentum=0.0,
        learning_rate=1.0,
        schedule="constant",
        steps=20,
        **options,
    )
    with pytest.raises(Diverged) as raised:
        fitted(program, small, tmp_path)
    return raised.value


@pytest.mark.parametrize("log_every", [1, 3, 20])
def test_the_first_step_that_is_not_finite_is_named_with_its_term(
    build, small, tmp_path, log_every
):
    terms = {"fine": Term(climbing), "bad": Term(until_four)}
    error = diverging(build, small, tmp_path, terms, log_every=log_every, eval_every=10)
    assert (error.step, error.term) == (4, "bad")
    assert "'bad' is nan at step 4" in str(error)


def test_a_gradient_that_is_not_finite_is_named_so(build, small, tmp_path):
    error = diverging(build, small, tmp_path, {"only": Term(steep_at_five)}, log_every=4)
    assert (error.step, error.term) == (5, "gradient")
    assert "the gradient is" in str(error)


def test_a_weight_that_is_not_finite_is_blamed_on_its_term(build, small, tmp_path):
    terms = {
        "fine": Term(climbing),
        "heavy": Term(lambda count: 1 + 0 * count, lambda step: 1 / (2 - step.astype(jnp.float32))),
    }
    error = diverging(build, small, tmp_path, terms, log_every=1)
    assert (error.step, error.term) == (2, "heavy")


def test_a_run_that_diverged_diverges_again_from_its_checkpoint(build, small, tmp_path):
    terms = {"fine": Term(climbing), "bad": Term(until_four)}
    first = diverging(build, small, tmp_path / "a", terms, eval_every=2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second = diverging(build, small, tmp_path / "b", terms, eval_every=2)
    assert (first.step, first.term) == (second.step, second.term) == (4, "bad")
