"""Deep SVDD in the manner of scikit-learn and PyOD: `fit`, `decision_function`, `predict`."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench import _checks
from lossbench._names import unknown
from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from lossbench.anomaly.preprocessing import DEAD
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.detection.detector import Detector, trained_detector
from lossbench.detection.fitting import MONITORS, train_svdd
from lossbench.detection.samples import Rows, Samples, normal_of, samples_of, smallest_deviation
from lossbench.metrics import fit_nu
from lossbench.models import SVDDEncoder
from lossbench.training.options import TrainOptions
from lossbench.training.pretraining import Pretrained

LOSSES = {"one_class": "svdd_one_class", "soft_boundary": "svdd_soft_boundary"}


class NotFittedError(ValueError, AttributeError):
    """An estimator was asked before it was fitted."""


class SVDD:
    """Deep SVDD for tables and cubes: rows, or pixels, that lie far from the normal ones.

    A network maps each row, or each pixel's spectrum, near the center of a sphere; the squared
    distance to it is the score. Everything is as in a configuration of the bench, with a threshold.

    Labels and scores are PyOD's: `predict` gives 1 for anomalous and 0 for normal, and a higher
    `decision_function` is more anomalous. Those of scikit-learn's own outlier detectors are -1 and
    1, and lower for anomalous: `np.where(model.predict(X), -1, 1)` and `score_samples`.

    Args:
        contamination: share of the training data that is expected to be anomalous, 0 to 0.5: so
            many of their scores are at or above the threshold.
        objective: "one_class", the mean distance; or "soft_boundary", a sphere of which a share
            `nu` is outside.
        nu: that share, which is also the one outside of `radius_`; None is `contamination`, 0.01
            where that is 0.
        features: widths of the network's layers, the last one the embedding's.
        normalization: before each activation: "none", "batch_no_affine" or "layer_no_affine".
        steps: of training. Few are enough, as the network only has to learn what is the same in
            most rows; in the long run it draws whatever it is trained on to the center, anomalous
            rows too.
        batch_size: rows of a step; all where there are fewer.
        learning_rate: of Adam at first; it falls to 0 along a cosine.
        weight_decay: the paper's lambda; decoupled, of weights alone.
        preprocess: fitted steps before the network: a name, names, or options by name, as
            `{"unit_norm": {}, "pca": {"n_components": 5}}`; None for no steps. The columns of a
            table may have any units: its "z_score" has a floor below the deviations of all of them,
            if none is given.
        wavelengths: of the bands in nanometers, which a "bandpass" needs.
        pretrain_steps: of an autoencoder before, which the network begins as.
        center: "fixed", or "ema", which follows the network and admits its collapse.
        monitor: what a collapse does: "stop" raises, "warn" warns, "off" goes unseen.
        random_state: an integer, with which everything is repeated; None draws one; or one of
            NumPy's generators, which draws one.

    Attributes:
        detector_: the fitted `Detector`, which `lossbench.detection.save` takes.
        decision_scores_: of the training data, `*space` of X; NaN where not counted.
        labels_: 1 where they reach the threshold.
        threshold_: a score at or above it is anomalous.
        center_: of the sphere.
        radius_: of the sphere.
        loss_curve_: the loss of each step.
        n_features_in_: columns or bands.
        feature_names_in_: of a data frame's columns.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(300, 4))
        >>> x[:6] += 6
        >>> model = SVDD(contamination=0.02, steps=100).fit(x)
        >>> int(model.labels_.sum()), model.predict(np.full((1, 4), 9.0))
        (6, array([1]))

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018.
    """

    def __init__(
        self,
        contamination: float = 0.1,
        *,
        objective: str = "one_class",
        nu: float | None = None,
        features: Sequence[int] = (256, 64),
        normalization: str = "none",
        steps: int = 50,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 5e-7,
        preprocess: str | Sequence[str] | Mapping[str, Any] | None = "z_score",
        wavelengths: Sequence[float] | None = None,
        pretrain_steps: int = 0,
        center: str = "fixed",
        monitor: str = "stop",
        random_state: Any = 0,
    ) -> None:
        self.contamination = contamination
        self.objective = objective
        self.nu = nu
        self.features = features
        self.normalization = normalization
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.preprocess = preprocess
        self.wavelengths = wavelengths
        self.pretrain_steps = pretrain_steps
        self.center = center
        self.monitor = monitor
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, where: Any = None) -> SVDD:
        """Trains on a table or on the pixels of cubes.

        Args:
            X: a table `rows features`, an array or a data frame; or a cube `height width bands`, or
                cubes `n height width bands`, of which each pixel is a row. Any numbers.
            y: `*space` of X, 1 for anomalous and 0 for normal, where that is known: rows with 1 are
                left out of training and of the threshold. None trains on all.
            where: `*space` of X, bool, true = counted.

        Returns:
            The estimator.

        Raises:
            ValueError: for an option or data that do not fit.
            RuntimeError: if the network collapsed, or the loss became infinite.
        """
        samples = samples_of(X, where)
        trained = samples.values[normal_of(y, samples)]
        self._check(trained)
        seed = _seed(self.random_state)
        options = TrainOptions.from_config(
            {
                "steps": int(self.steps),
                "batch_size": 1,  # one example, of many rows
                "learning_rate": float(self.learning_rate),
                "weight_decay": float(self.weight_decay),
                "devices": 1,
            }
        )
        model = self._model(samples)
        variables, self.loss_curve_ = train_svdd(
            model,
            LOSSES[self.objective],
            options,
            Rows(trained, min(self.batch_size, len(trained))),
            seed=seed,
            monitor=self.monitor,
        )
        detector = trained_detector(model, variables, shape=trained.shape[-1:])
        scores = detector.scores(trained)
        if not np.isfinite(scores).all():
            raise RuntimeError("the scores of the training data are not all finite")
        threshold = fit_nu(jnp.asarray(scores)[None], nu=self.contamination, split="train")
        threshold = jax.tree.map(np.asarray, threshold)
        self.detector_: Detector = dataclasses.replace(
            detector, threshold=threshold, wavelengths=_wavelengths(self.wavelengths)
        )
        self.threshold_ = float(threshold.value)
        self.center_ = np.asarray(variables["svdd"]["center"])
        self.radius_ = float(variables["svdd"]["radius"])
        self.n_features_in_ = samples.values.shape[-1]
        self.__dict__.pop("feature_names_in_", None)
        if samples.names is not None:
            self.feature_names_in_ = np.array(samples.names, object)
        self.decision_scores_ = self._scores(samples)
        self.labels_ = self.detector_.flagged(self.decision_scores_).astype(int)
        return self

    def decision_function(self, X: Any, *, where: Any = None) -> np.ndarray:
        """Scores `*space` of X: squared distances to the center, higher is more anomalous.

        Args:
            X: as of `fit`, with the same features.
            where: true = counted; a score that is not is NaN.

        Raises:
            NotFittedError: before `fit`.
            ValueError: for data that do not fit.
        """
        self._fitted()
        samples = samples_of(X, where)
        if samples.values.shape[-1] != self.n_features_in_:
            raise ValueError(
                f"X has {samples.values.shape[-1]} features, but SVDD was fitted to "
                f"{self.n_features_in_}"
            )
        names = getattr(self, "feature_names_in_", None)
        if names is not None and samples.names is not None and samples.names != tuple(names):
            raise ValueError(
                f"X: the columns are {', '.join(samples.names)}; in fit they were "
                f"{', '.join(names)}"
            )
        return self._scores(samples)

    def predict(self, X: Any, *, where: Any = None) -> np.ndarray:
        """1 where the score reaches the threshold, else 0; arguments as of `decision_function`."""
        return self._fitted().flagged(self.decision_function(X, where=where)).astype(int)

    def fit_predict(self, X: Any, y: Any = None, *, where: Any = None) -> np.ndarray:
        """The labels of the data that it is fitted to; arguments as of `fit`."""
        return self.fit(X, y, where=where).labels_

    def score_samples(self, X: Any, *, where: Any = None) -> np.ndarray:
        """Scores as scikit-learn has them, lower is more anomalous: `-decision_function`."""
        return -self.decision_function(X, where=where)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options, as scikit-learn asks for them; there is nothing deep in them."""
        return {name: getattr(self, name) for name in _names()}

    def set_params(self, **params: Any) -> SVDD:
        """Sets options.

        Raises:
            ValueError: for one that there is not.
        """
        for name in params:
            if name not in _names():
                raise unknown("option of SVDD", name, _names())
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(SVDD).parameters
        changed = {n: v for n, v in self.get_params().items() if v is not defaults[n].default}
        return f"SVDD({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "detector_")

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks.
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="outlier_detector",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )

    def _check(self, trained: np.ndarray) -> None:
        """Raises a ValueError for an option or data that nothing can be trained with."""
        _checks.choice("objective", self.objective, tuple(LOSSES))
        _checks.choice("monitor", self.monitor, MONITORS)
        share = self.contamination
        if not isinstance(share, int | float) or not 0 <= share <= 0.5:
            raise ValueError(f"contamination: expected 0 to 0.5, got {share!r}")
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
        if len(trained) < 2:
            raise ValueError(
                f"X: expected at least 2 rows or pixels to train on, got {len(trained)}"
            )
        if (trained == trained[:1]).all():
            raise ValueError("X: all that is trained on is the same; there is nothing to learn")

    def _model(self, samples: Samples) -> DeepSvdd:
        normalization: Any = self.normalization
        encoder: Any = SVDDEncoder(features=tuple(self.features), normalization=normalization)
        nu = self.nu if self.nu is not None else (self.contamination or 0.01)
        sphere = SvddOptions.from_config(
            {
                "nu": float(nu),
                "center": self.center,
                "monitor": "stop" if self.monitor == "stop" else "warn",
                "pretrain_steps": int(self.pretrain_steps),
                "recent": max(8192, math.ceil(1 / float(nu))) if nu > 0 else 8192,
            }
        )
        if sphere.pretrain_steps:
            encoder = Pretrained(encoder, sphere)
        steps, wavelengths = _steps(self.preprocess, samples), _wavelengths(self.wavelengths)
        features = samples.values.shape[-1]
        if wavelengths is not None and len(wavelengths) != features:
            raise ValueError(
                f"wavelengths: expected {features}, one a band, got {len(wavelengths)}"
            )
        if steps:
            pipeline = Pipeline.from_config(steps, wavelengths=wavelengths)
            pipeline.channels(features)
            encoder = Preprocessed(pipeline, encoder)
        return DeepSvdd(encoder, sphere, warmup_steps=int(sphere.warmup * self.steps))

    def _scores(self, samples: Samples) -> np.ndarray:
        scores = self.detector_.scores(samples.values)
        return np.where(samples.counted, scores, np.float32(np.nan))

    def _fitted(self) -> Detector:
        if not hasattr(self, "detector_"):
            raise NotFittedError("this SVDD is not fitted yet; call fit first")
        return self.detector_


def _names() -> list[str]:
    return [name for name in inspect.signature(SVDD.__init__).parameters if name != "self"]


def _seed(state: Any) -> int:
    """A seed below 2^31."""
    if state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(state, np.random.Generator):
        return int(state.integers(2**31))
    if isinstance(state, np.random.RandomState):
        return int(state.randint(2**31 - 1))
    if isinstance(state, int | np.integer) and not isinstance(state, bool) and 0 <= state < 2**31:
        return int(state)
    raise ValueError(
        "random_state: expected an integer from 0 to 2**31 - 1, None or one of NumPy's generators, "
        f"got {state!r}"
    )


def _steps(given: Any, samples: Samples) -> dict[str, Any]:
    """The configuration of the preprocessing."""
    if given is None:
        return {}
    names = [given] if isinstance(given, str) else given
    steps = dict(names) if isinstance(names, Mapping) else {name: {} for name in names}
    first = next(iter(steps), None)
    if first == "z_score" and not steps[first] and samples.values.ndim == 2:
        floor = smallest_deviation(samples)
        steps[first] = {"floor": min(DEAD, floor)} if floor > 0 else {}
    return steps


def _wavelengths(given: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if given is None else tuple(float(nm) for nm in given)
