import io
import struct

import numpy as np
import pytest
from matplotlib.image import imread
from tensorboardX.proto.event_pb2 import Event

from lossbench.training.display import Slice
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
