"""Logs for TensorBoard and MLflow; the only module that knows tensorboardX and mlflow."""

import hashlib
import math
import os
import re
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from tensorboardX import SummaryWriter

from lossbench._colors import CLASS_COLORS, FALSE_ALARM, FOUND, MISSED, NO_SCORE
from lossbench.training.display import Slice
from lossbench.training.heat import common_limits, heat

# Background is black.
_COLORS = np.array(
    [(0, 0, 0), *(tuple(bytes.fromhex(color[1:])) for color in CLASS_COLORS)], np.uint8
)


class Log:
    """Scalars and images of one run, for TensorBoard. A resumed run drops what it will redo.

    Args:
        folder: of TensorBoard's files.
        resumed_at: steps done before.
        mlflow: numbers go there, too.
    """

    def __init__(self, folder: Path, *, resumed_at: int, mlflow: "MlflowRun | None" = None) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=resumed_at + 1, flush_secs=30)
        self._mlflow = mlflow

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._writer.close()
        if self._mlflow:
            self._mlflow.end(failed=error is not None)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Writes `group/name` for each value that is defined; TensorBoard has no gaps for NaN."""
        defined = {f"{group}/{k}": v for k, v in values.items() if not math.isnan(v)}
        for name, value in defined.items():
            self._writer.add_scalar(name, value, step)
        if self._mlflow:
            self._mlflow.scalars(defined, step)

    def slices(self, slices: list[Slice], step: int) -> None:
        """Writes one picture: a row an example, its image, its truth, its prediction.

        Where there are scores, the prediction is drawn as what it finds, misses and falsely flags
        over the image, and the scores come last, all on one scale; its ends are written beside it.
        """
        if not slices:
            return
        maps = [s.scores for s in slices if s.scores is not None]
        limits = common_limits(maps)
        rows = []
        for s in slices:
            image = s.image if s.image.ndim == 3 else np.repeat(s.image[..., None], 3, axis=-1)
            columns = [(255 * image).astype(np.uint8), _COLORS[s.labels % len(_COLORS)]]
            if maps:
                none = np.full(s.labels.shape, np.nan)
                scores = none if s.scores is None else s.scores
                columns += [_decision(image, s), heat(scores, limits)]
            else:
                columns.append(_COLORS[s.prediction % len(_COLORS)])
            rows.append(np.concatenate(columns, axis=1))
        widest = max(row.shape[1] for row in rows)
        rows = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows]
        picture = np.concatenate(rows, axis=0)
        name = "image, truth, decision, scores" if maps else "image, truth, prediction"
        self._writer.add_image(f"validation/{name}", picture, step, dataformats="HWC")
        for end, value in zip(("lowest", "highest"), limits if maps else (), strict=False):
            self._writer.add_scalar(f"heat_map/{end}", value, step)


def _decision(image: np.ndarray, s: Slice) -> np.ndarray:
    """What is found, missed and falsely flagged, over the image in grey."""
    grey = 0.15 + 0.6 * image.mean(axis=-1, keepdims=True)
    pixels = np.repeat((255 * grey).astype(np.uint8), 3, axis=-1)
    true, flagged = s.labels > 0, s.prediction > 0
    for mask, color in (
        (true & flagged, FOUND),
        (~true & flagged, FALSE_ALARM),
        (true & ~flagged, MISSED),
        (np.zeros_like(true) if s.where is None else ~s.where, NO_SCORE),
    ):
        pixels[mask] = tuple(bytes.fromhex(color[1:]))
    return pixels


class MlflowRun:
    """The numbers of one run in MLflow. A resumed run goes on in the run that it has there.

    Args:
        uri: a tracking URI, or a folder.
        experiment: its name; made if it is not there.
        name: of the run.
        folder: of the run; the run in MLflow carries it as a tag, by which it is found again.
        parameters: logged once.

    Raises:
        ImportError: if mlflow is not installed.
        ValueError: if MLflow cannot use the place.
    """

    def __init__(
        self, uri: str, experiment: str, *, name: str, folder: Path, parameters: Mapping[str, Any]
    ) -> None:
        # MLflow refuses new folders in favor of databases, which its skinny package cannot open,
        # and reports usage to its makers; both unless told otherwise before it is imported.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.entities import Metric, Param, RunStatus
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise ImportError(
                "train.mlflow needs MLflow: pip install 'lossbench[mlflow]'"
            ) from error
        self._metric, self._status = Metric, RunStatus
        remote = "://" in uri or uri.partition(":")[0] in ("file", "databricks")
        place = uri if remote else Path(uri).expanduser().resolve().as_uri()
        # A path may hold any letter; a digest can stand in MLflow's queries.
        tag = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        try:
            self._client = MlflowClient(tracking_uri=place)
            found = self._client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else self._client.create_experiment(experiment)
            runs = self._client.search_runs([number], f"tags.`lossbench.run` = '{tag}'")
            if runs:
                self._run = runs[0].info.run_id
                self._client.update_run(self._run, status=RunStatus.to_string(RunStatus.RUNNING))
            else:
                tags = {"lossbench.run": tag, "lossbench.folder": str(folder.resolve())}
                self._run = self._client.create_run(number, tags=tags, run_name=name).info.run_id
                params = [Param(key, str(value)) for key, value in parameters.items()]
                self._client.log_batch(self._run, params=params)
        except (MlflowException, OSError) as error:
            raise ValueError(f"train.mlflow: {uri!r} cannot be used: {error}") from error
        self._logged: dict[str, int] = {}
        self._names: dict[str, str] = {}

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes those that are not there yet: a resumed run redoes steps, and MLflow keeps all."""
        now = int(1000 * time.time())
        new = []
        for given, value in values.items():
            name = self._name(given)
            if name not in self._logged:
                history = self._client.get_metric_history(self._run, name)
                self._logged[name] = max((metric.step for metric in history), default=-1)
            if step > self._logged[name]:
                self._logged[name] = step
                new.append(self._metric(name, value, now, step))
        self._client.log_batch(self._run, metrics=new)

    def _name(self, given: str) -> str:
        """A name that MLflow takes: `group/name` with few letters, short, and no other's."""
        if given not in self._names:
            *groups, own = given.split("/", 2)
            group = "/".join(groups)
            plain = re.sub(r"[^\w\-. ]", "-", own)[:150].strip(". ") or "-"
            others, name, number = set(self._names.values()), f"{group}/{plain}", 2
            while name in others:
                name, number = f"{group}/{plain}-{number}", number + 1
            self._names[given] = name
        return self._names[given]

    def end(self, *, failed: bool) -> None:
        """Says that the run is over, or that it broke off."""
        status = self._status.FAILED if failed else self._status.FINISHED
        self._client.set_terminated(self._run, self._status.to_string(status))
