"""A detector as one program in StableHLO, with preprocessing and threshold inside.

What comes out needs neither lossbench nor Flax, only `jax.export` (or another reader).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export

from lossbench.detection.classical import Classical
from lossbench.detection.description import parts_of
from lossbench.detection.detector import Detector, outputs_to_scores

PLATFORMS = ("cpu", "cuda", "tpu")


def export(
    detector: Detector,
    *,
    shape: Sequence[int | str] | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> bytes:
    """The scoring function as serialized StableHLO: float32 image -> scores, decisions.

    Args:
        detector: what to export.
        shape: of the images that it will take, `*space channels`; a name stands for any size. None
            is `("height", "width", channels)`, or the shape of the training's images where those
            are judged as a whole.
        platforms: what it will run on.

    Returns:
        What `jax.export.deserialize` reads. Its `call(image)` gives float32 scores, `*space`, and
        bool decisions, `scores >= threshold`. All pixels are in memory together.

    Raises:
        ImportError: without flatbuffers; `lossbench[export]` has it.
        ValueError: for a shape that the detector does not take.

    Example:
        >>> from lossbench.anomaly.rx import fit_rx
        >>> from lossbench.detection.detector import classical_detector
        >>> from lossbench.metrics import Threshold
        >>> import numpy as np
        >>> pixels = np.random.default_rng(0).normal(size=(50, 3))
        >>> detector = classical_detector(fit_rx(pixels), Threshold.fixed(9.0))
        >>> program = jax_export.deserialize(export(detector))
        >>> scores, decisions = program.call(jnp.zeros((4, 5, 3)))
        >>> scores.shape, decisions.dtype
        ((4, 5), dtype('bool'))
    """
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "to export a detector, jax.export needs the package flatbuffers; "
            "pip install 'lossbench[export]'"
        ) from error
    if shape is None:
        shape = ("height", "width", detector.channels) if detector.pixelwise else detector.shape
    sizes = _symbolic(shape)
    # Sizes that are only named fit any that the detector takes.
    known = tuple(
        n if isinstance(n, int) else m for n, m in zip(sizes, _likely(shape), strict=True)
    )
    detector.check(known, jnp.float32)
    variables = jax.tree.map(jnp.asarray, detector.variables)
    threshold = jnp.float32(detector.threshold.value)

    def score(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = _scores(detector, variables, image)
        return scores, scores >= threshold

    exported = jax_export.export(jax.jit(score), platforms=tuple(platforms))
    try:
        program = exported(jax.ShapeDtypeStruct(sizes, jnp.float32))
    except Exception as error:
        if all(isinstance(n, int) for n in shape):
            raise
        said = str(error).strip().split("\n")[0]
        raise ValueError(
            f"shape: the model cannot be exported for any size, {tuple(shape)}; give numbers "
            f"({said})"
        ) from error
    return bytes(program.serialize())


def _scores(detector: Detector, variables: Any, image: jax.Array) -> jax.Array:
    model = detector.model
    if not detector.pixelwise:
        return outputs_to_scores(model.apply(variables, image[None]))[0]
    rows = image.reshape(-1, image.shape[-1])
    if isinstance(parts_of(model).network, Classical):
        # They go through pixels in blocks, whose number must be known; of one pixel it is.
        def one(row: jax.Array) -> jax.Array:
            return outputs_to_scores(model.apply(variables, row[None]))[0]

        return jax.vmap(one)(rows).reshape(image.shape[:-1])
    return outputs_to_scores(model.apply(variables, rows)).reshape(image.shape[:-1])


def _symbolic(shape: Sequence[int | str]) -> tuple[Any, ...]:
    if not shape or not all(isinstance(n, int | str) for n in shape):
        raise ValueError(f"shape: expected numbers and names, got {shape!r}")
    return tuple(jax_export.symbolic_shape(",".join(map(str, shape))))


def _likely(shape: Sequence[int | str]) -> tuple[int, ...]:
    """Numbers in the place of names."""
    return tuple(n if isinstance(n, int) else 1 for n in shape)
