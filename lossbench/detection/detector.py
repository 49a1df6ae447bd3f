"""A detector ready for use: raw values in, scores and decisions out; nothing in it changes."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Real

from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed, Variables
from lossbench.detection.classical import Classical, arrays_of, channels_of, kind_of
from lossbench.detection.description import assembled, is_pixelwise, parts_of
from lossbench.losses import learned_radius
from lossbench.metrics import Threshold
from lossbench.training.step import predicted

# Pixels that are scored at once: what a network has between takes some 100 MB then.
BLOCK = 2**16
# Fewer pixels are filled up to a power of two, at least this one: so few programs are compiled.
LEAST = 256
# Wavelengths of one sensor may differ by this between files, in nanometers.
SAME_WAVELENGTH = 1.0
# Of the sphere, what scores and threshold need; the rest is the training's.
SPHERE = ("center", "radius", "steps")


@dataclasses.dataclass(frozen=True)
class Detector:
    """A trained model with its threshold.

    Attributes:
        model: gives "scores", or "logits", of which they are made.
        variables: its arrays.
        threshold: a score of at least its value is anomalous.
        shape: of an example that it was trained on, `*space channels`.
        wavelengths: of the channels in nanometers, where they are known.
        name: of its network in a configuration, where it is one of the user's own.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lossbench.anomaly.rx import fit_rx
        >>> from lossbench.metrics import fit_nu
        >>> pixels = jax.random.normal(jax.random.key(0), (400, 5))
        >>> fitted = fit_rx(pixels)
        >>> threshold = fit_nu(fitted.scores(pixels)[None], nu=0.05, split="train")
        >>> detector = classical_detector(fitted, threshold)
        >>> scene = np.zeros((3, 4, 5), np.uint16)
        >>> scene[1, 2] = 9
        >>> detector.scores(scene).shape, np.argwhere(detector.decide(scene)).tolist()
        ((3, 4), [[1, 2]])
    """

    model: Any
    variables: Variables
    threshold: Threshold
    shape: tuple[int, ...]
    wavelengths: tuple[float, ...] | None = None
    name: str | None = None

    @property
    def kind(self) -> str:
        """The kind: "svdd", "network", or the name of a classical detector."""
        return parts_of(self.model).kind

    @property
    def channels(self) -> int:
        """How many channels an image has."""
        return self.shape[-1]

    @property
    def pixelwise(self) -> bool:
        """Whether each pixel is scored by itself, whatever is around it."""
        return is_pixelwise(self.model)

    def scores(
        self,
        image: Real[np.ndarray, "*space channels"],
        *,
        wavelengths: Sequence[float] | None = None,
        block: int = BLOCK,
    ) -> Float[np.ndarray, "*space"]:
        """Raw scores of one image, of any size if pixels are scored by themselves.

        Args:
            image: floats or integers, as they were in training; preprocessing is inside.
            wavelengths: of its channels in nanometers, to be compared with those of the training.
            block: pixels scored at once; it changes nothing but memory and, within rounding, the
                last digit.

        Returns:
            Scores, higher is more anomalous; one number for a network that judges an image as a
            whole. A pixel with a NaN has the score NaN.

        Raises:
            ValueError: for a shape, a dtype or wavelengths that are not those of the training.
        """
        image = np.asarray(image)
        self.check(image.shape, image.dtype, wavelengths)
        if not self.pixelwise:
            # A copy on the device would not see what becomes of the user's array.
            found = compiled(self.model)(self.variables, _floats(image)[None])
            return np.asarray(found)[0]
        rows = image.reshape(-1, image.shape[-1])
        scores = np.empty(len(rows), np.float32)
        score = compiled(self.model)
        for start in range(0, len(rows), block):
            part = _floats(rows[start : start + block])
            size = block if len(rows) > block else _filled(len(part), block)
            filled = part
            if size > len(part):
                filled = np.pad(part, ((0, size - len(part)), (0, 0)), mode="edge")
            found = np.asarray(score(self.variables, filled))
            scores[start : start + len(part)] = found[: len(part)]
        return scores.reshape(image.shape[:-1])

    def decide(
        self,
        image: Real[np.ndarray, "*space channels"],
        *,
        wavelengths: Sequence[float] | None = None,
    ) -> Bool[np.ndarray, "*space"]:
        """Which pixels are anomalous; not those with a NaN. Arguments as of `scores`."""
        return self.flagged(self.scores(image, wavelengths=wavelengths))

    def flagged(self, scores: Float[np.ndarray, "*space"]) -> Bool[np.ndarray, "*space"]:
        """Which of some scores are anomalous: `scores >= threshold`."""
        return np.asarray(scores >= np.float32(self.threshold.value))

    def check(
        self, shape: tuple[int, ...], dtype: Any, wavelengths: Sequence[float] | None = None
    ) -> None:
        """Raises a ValueError for an image that is not like those of the training."""
        if np.dtype(dtype).kind not in "iuf":
            raise ValueError(f"image: expected floats or integers, got {dtype}")
        if len(shape) < 1 or shape[-1] != self.channels:
            raise ValueError(
                f"image: expected {self.channels} channels on the last axis, as in training, got "
                f"shape {tuple(shape)}"
            )
        if getattr(parts_of(self.model).network, "architecture", None) == "lenet":
            if tuple(shape) != self.shape:
                raise ValueError(
                    "image: the network judges whole images of the size it was trained on, "
                    f"{self.shape}, got shape {tuple(shape)}"
                )
        elif not self.pixelwise and len(shape) != len(self.shape):
            raise ValueError(f"image: expected axes as in {self.shape}, got shape {tuple(shape)}")
        if self.wavelengths is not None and wavelengths is not None:
            _check_wavelengths(self.wavelengths, wavelengths)


def trained_detector(
    model: Any,
    variables: Variables,
    *,
    shape: tuple[int, ...],
    wavelengths: Sequence[float] | None = None,
    threshold: Threshold | None = None,
    name: str | None = None,
) -> Detector:
    """The detector that a training came to.

    Args:
        model: a `DeepSvdd`, or a network that gives scores or logits; each may have preprocessing.
        variables: after the training.
        shape: of an example that it was trained on, `*space channels`.
        wavelengths: of the channels.
        threshold: None takes the sphere's squared radius, above which a score is anomalous; of
            logits 0.
        name: of the network in a configuration, for one of the user's own.

    Raises:
        ValueError: for a network without scores, of whose threshold nothing is known.
    """
    parts = parts_of(model)
    variables = dict(jax.device_get(dict(variables)))
    if parts.svdd is not None:
        variables["svdd"] = {key: variables["svdd"][key] for key in SPHERE}
    model = assembled(parts)
    if threshold is None:
        threshold = _own_threshold(model, variables, shape)
    given = None if wavelengths is None else tuple(float(nm) for nm in wavelengths)
    return Detector(model, variables, threshold, tuple(map(int, shape)), given, name)


def classical_detector(
    fitted: Any,
    threshold: Threshold,
    *,
    pipeline: Pipeline | None = None,
    arrays: Mapping[str, Any] | None = None,
    channels: int | None = None,
    wavelengths: Sequence[float] | None = None,
) -> Detector:
    """A fitted `Rx`, `Lad`, `PcaReconstruction` or `SpectralAngleMapper` as a detector.

    Args:
        fitted: what was fitted.
        threshold: of its scores.
        pipeline: preprocessing before it.
        arrays: what the pipeline was fitted to.
        channels: how many come in; to be given with a pipeline.
        wavelengths: of the channels that come in.

    Raises:
        ValueError: for something else, or a pipeline whose channels are not given or do not fit.
    """
    kind, params = kind_of(fitted), arrays_of(fitted)
    model: Any = Classical(kind)
    if pipeline is None:
        channels = channels_of(fitted)
    elif channels is None:
        raise ValueError("channels: say how many come into the pipeline")
    else:
        if pipeline.channels(channels) != channels_of(fitted):
            raise ValueError(
                f"pipeline: it gives {pipeline.channels(channels)} channels, and the detector was "
                f"fitted to {channels_of(fitted)}"
            )
        model = Preprocessed(pipeline, model)
        params = {**params, "preprocessing": dict(arrays or {})}
    variables = jax.device_get({"params": params})
    given = None if wavelengths is None else tuple(float(nm) for nm in wavelengths)
    return Detector(model, variables, threshold, (channels,), given)


def outputs_to_scores(outputs: Mapping[str, Any]) -> jax.Array:
    """The scores that a model's outputs have, or that its logits stand for.

    Raises:
        ValueError: if there are none, as of three classes.
    """
    scores = outputs["scores"] if "scores" in outputs else predicted(outputs).scores
    if scores is None:
        raise ValueError(
            "the model tells more than two classes apart, so that its logits are no scores of what "
            f"is anomalous; its outputs are: {', '.join(sorted(outputs))}"
        )
    return scores


# Compiled once for a model, whose fields say all that the program depends on.
@functools.cache
def compiled(model: Any) -> Callable[[Variables, Any], jax.Array]:
    """The scores of a batch, compiled: variables, image -> scores."""
    return jax.jit(lambda variables, image: outputs_to_scores(model.apply(variables, image)))


def _own_threshold(model: Any, variables: Variables, shape: tuple[int, ...]) -> Threshold:
    """What the model itself calls anomalous: a score above this."""
    if isinstance(model, DeepSvdd):
        if model.options.radius == "learned":
            how, radius = "fixed", learned_radius(variables["params"]["svdd"]["radius"])
        else:
            how, radius = "nu", variables["svdd"]["radius"]
        value = np.float32(radius) * np.float32(radius)
    else:
        image = jax.ShapeDtypeStruct((1, *shape), np.float32)
        outputs = jax.eval_shape(model.apply, variables, image)
        jax.eval_shape(outputs_to_scores, outputs)
        if "scores" in outputs and "logits" not in outputs:
            raise ValueError("threshold: the model gives scores, but says of none that it is one")
        how, value = "fixed", np.float32(0)
    unknown = np.float32(np.nan)
    above = np.nextafter(np.float32(value), np.float32(np.inf))
    # Smaller floats count as 0 on some devices.
    above = np.maximum(above, np.finfo(np.float32).tiny) if value >= 0 else above
    return Threshold(above, unknown, unknown, how=how, split="" if how == "fixed" else "train")


def _floats(image: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        return image.astype(np.float32)


def _filled(n: int, most: int) -> int:
    """The size that so many pixels are filled up to."""
    return min(most, max(LEAST, 1 << max(n - 1, 0).bit_length()))


def _check_wavelengths(trained: Sequence[float], given: Sequence[float]) -> None:
    if len(given) != len(trained):
        raise ValueError(f"wavelengths: expected {len(trained)}, one a channel, got {len(given)}")
    apart = np.abs(np.subtract(given, trained))
    if not apart.max(initial=0) <= SAME_WAVELENGTH:
        band = int(apart.argmax())
        raise ValueError(
            f"wavelengths: band {band} is at {given[band]:g} nm, but was at {trained[band]:g} nm "
            f"in training (at most {SAME_WAVELENGTH:g} nm apart are taken for the same)"
        )
