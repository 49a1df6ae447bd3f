import io
import re
import struct

import numpy as np
import pytest
from matplotlib.image import imread
from tensorboardX.proto.event_pb2 import Event

from lossbench._colors import FALSE_ALARM, FOUND, MISSED, NO_SCORE
from lossbench.training.display import Slice
from lossbench.training.heat import common_limits, heat
from lossbench.training.logging import Log, MlflowRun


def read(folder) -> list[Event]:
    """All events of a folder; a record is its length, a checksum, itself, a checksum."""
    events = []
    for file in sorted(folder.glob("events.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            events.append(Event.FromString(data[at + 12 : at + 12 + length]))
            at += 16 + length
    return events


def values(events, kind):
    return {
        (value.tag, event.step): getattr(value, kind)
        for event in events
        for value in event.summary.value
        if value.HasField(kind)
    }


def test_scalars_can_be_read_back(tmp_path):
    with Log(tmp_path, resumed_at=0) as log:
        log.scalars("train", {"loss": 0.5, "terms/dice": 0.25}, 3)
        log.scalars("train", {"loss": float("nan")}, 4)
    found = values(read(tmp_path), "simple_value")
    assert found["train/loss", 3] == 0.5
    assert found["train/terms/dice", 3] == 0.25
    assert len(found) == 2  # of what is undefined, nothing is written


def test_a_picture_has_a_row_an_example_of_image_truth_and_prediction(tmp_path):
    labels = np.zeros((4, 5), int)
    labels[1, 2] = 1
    shown = Slice(np.full((4, 5), 0.5), labels, np.zeros((4, 5), int), -1, 1)
    with Log(tmp_path, resumed_at=0) as log:
        log.slices([shown, shown], 7)
    ((_, step), picture), *rest = values(read(tmp_path), "image").items()
    assert (step, rest) == (7, [])
    pixels = imread(io.BytesIO(picture.encoded_image_string), format="png")
    assert pixels.shape[:2] == (2 * 4, 3 * 5)
    assert np.allclose(pixels[:, :5, :3], 0.5, atol=0.01)
    # One pixel of truth, none predicted, in each row; the background is black.
    colored = np.argwhere(pixels[..., :3].sum(-1) > 0)
    right = colored[colored[:, 1] >= 5]
    assert right.tolist() == [[1, 5 + 2], [4 + 1, 5 + 2]]


def picture_of(folder):
    ((tag, _), picture), *rest = values(read(folder), "image").items()
    assert rest == []
    pixels = imread(io.BytesIO(picture.encoded_image_string), format="png")
    return tag, np.round(255 * pixels[..., :3]).astype(int)


def test_scores_are_a_heat_map_on_one_scale_whose_ends_are_written(tmp_path):
    rng = np.random.default_rng(0)
    labels, found = np.zeros((2, 4, 5), int), np.zeros((2, 4, 5), int)
    labels[0, 1, 1:3] = found[0, 1, 2:4] = 1
    scores = rng.normal(size=(2, 4, 5)) * np.array([1, 9])[:, None, None]
    where = np.ones((4, 5), bool)
    where[3, 4], scores[:, 3, 4] = False, np.nan
    image = rng.random((4, 5, 3))
    with Log(tmp_path, resumed_at=0) as log:
        log.slices(
            [Slice(image, labels[k], found[k], -1, 0, scores[k], where) for k in range(2)], 3
        )
    tag, pixels = picture_of(tmp_path)
    assert re.split("_+", tag) == ["validation/image", "truth", "decision", "scores"]
    assert pixels.shape == (8, 20, 3)
    limits = common_limits(scores)
    for k in range(2):
        row = pixels[4 * k : 4 * k + 4]
        np.testing.assert_array_equal(row[:, :5], (255 * image).astype(np.uint8))
        np.testing.assert_array_equal(row[:, 15:], heat(scores[k], limits))
    # One missed, one found, one false alarm, in the colors of the report.
    decision = pixels[1, 11:14].tolist()
    assert decision == [list(bytes.fromhex(c[1:])) for c in (MISSED, FOUND, FALSE_ALARM)]
    assert pixels[3, 14].tolist() == list(bytes.fromhex(NO_SCORE[1:]))
    written = values(read(tmp_path), "simple_value")
    assert written["heat_map/lowest", 3] == pytest.approx(limits[0])
    assert written["heat_map/highest", 3] == pytest.approx(limits[1])


def test_pictures_of_different_sizes_and_without_scores_stand_in_one(tmp_path):
    one, other = np.zeros((4, 5)), np.zeros((2, 3))
    with Log(tmp_path, resumed_at=0) as log:
        log.slices(
            [
                Slice(one, one.astype(int), one.astype(int), -1, 0, one),
                Slice(other, other.astype(int), other.astype(int), -1, 0),
            ],
            1,
        )
    _, pixels = picture_of(tmp_path)
    assert pixels.shape == (6, 20, 3)
    assert pixels[4, 9].tolist() == list(bytes.fromhex(NO_SCORE[1:]))  # has no score


def test_nothing_to_show_is_no_picture(tmp_path):
    with Log(tmp_path, resumed_at=0) as log:
        log.slices([], 1)
    assert values(read(tmp_path), "image") == {}


@pytest.mark.parametrize("done", [0, 40])
def test_a_resumed_run_drops_what_it_does_again(tmp_path, done):
    with Log(tmp_path, resumed_at=done):
        pass
    starts = [e.step for e in read(tmp_path) if e.session_log.status == e.session_log.START]
    # TensorBoard drops earlier events at this step and after it.
    assert starts == [done + 1]


def test_the_log_is_closed_after_an_error(tmp_path):
    def broken():
        with Log(tmp_path, resumed_at=0) as log:
            log.scalars("train", {"loss": 1.0}, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert ("train/loss", 1) in values(read(tmp_path), "simple_value")


def mlflow_run(tmp_path, uri="mlruns", name="run") -> MlflowRun:
    place, folder = str(tmp_path / uri), tmp_path / name
    return MlflowRun(place, "losses", name=name, folder=folder, parameters={"steps": 3})


def mlflow_found(tmp_path):
    """What MLflow itself reads there: parameters, status and the history of each number."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    (experiment,) = [e for e in client.search_experiments() if e.name == "losses"]
    return [
        (
            run.data.params,
            run.info.status,
            {
                name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
        )
        for run in client.search_runs([experiment.experiment_id])
    ]


def test_mlflow_has_the_numbers_of_a_run_and_none_twice_when_it_is_resumed(tmp_path):
    pytest.importorskip("mlflow")
    with Log(tmp_path / "t", resumed_at=0, mlflow=mlflow_run(tmp_path)) as log:
        log.scalars("train", {"loss": 2.0, "cosines/dice and ce, weighed": float("nan")}, 1)
        log.scalars("train", {"loss": 1.0, "cosines/dice and ce, weighed": -0.5}, 2)

    def resumed():
        with Log(tmp_path / "t", resumed_at=1, mlflow=mlflow_run(tmp_path)) as log:
            log.scalars("train", {"loss": 1.0}, 2)  # done again
            log.scalars("train", {"loss": 0.5}, 3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        resumed()
    ((parameters, status, numbers),) = mlflow_found(tmp_path)
    assert parameters == {"steps": "3"}
    assert status == "FAILED"
    assert numbers["train/loss"] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    # MLflow allows no comma in a name.
    assert numbers["train/cosines/dice and ce- weighed"] == [(2, -0.5)]


def test_any_name_of_a_term_can_be_logged(tmp_path):
    pytest.importorskip("mlflow")
    names = ["a", "a/b", "/abs", "a//b", "", "l" * 300, "a$", "a%", "terms"]
    with Log(tmp_path / "t", resumed_at=0, mlflow=mlflow_run(tmp_path, name="it's")) as log:
        log.scalars("train", {f"terms/{name}": float(i) for i, name in enumerate(names)}, 1)
    ((_, _, numbers),) = mlflow_found(tmp_path)
    assert sorted(value for ((_, value),) in numbers.values()) == list(range(len(names)))
    assert "train/terms/a" in numbers


def test_each_run_has_its_own_in_mlflow(tmp_path):
    pytest.importorskip("mlflow")
    for name in ("one", "other"):
        with Log(tmp_path / name, resumed_at=0, mlflow=mlflow_run(tmp_path, name=name)) as log:
            log.scalars("train", {"loss": 2.0}, 1)
    found = mlflow_found(tmp_path)
    assert [status for _, status, _ in found] == ["FINISHED", "FINISHED"]


def test_a_place_that_mlflow_cannot_use_is_named(tmp_path):
    pytest.importorskip("mlflow")
    (tmp_path / "file").write_text("")
    for place in ("nowhere://x", str(tmp_path / "file")):
        with pytest.raises(ValueError, match=r"train.mlflow: '.*' cannot be used"):
            MlflowRun(place, "losses", name="a", folder=tmp_path, parameters={})
