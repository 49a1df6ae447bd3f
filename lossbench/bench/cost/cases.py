"""What is measured: a loss, or several as one objective, on logits and class ids of one shape."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from lossbench import losses
from lossbench.objective import Objective, Term

# Few classes and many in 3D, a stack of images, and so many classes that memory decides.
SHAPES = ("2x96^3x3", "1x128^3x14", "8x512^2x2", "1x64^3x100")
# Terms that are trained together so often that peers have the pair as one loss.
PAIRS = ("dice+cross_entropy", "dice+focal")
# Dice on several outputs at once: logits at full size, at half and at a quarter.
SUPERVISED = "deep_supervision"
LEVELS = {SUPERVISED: 3}
# Families whose cost depends on what objects look like; noise would flatter or harm them.
OF_OBJECTS = {"distance", "topology", "instance"}
# Names of what stands where logits do, and numbers that a loss cannot do without.
OUTPUTS = ("logits", "embeddings", "reconstructed", "colors")
NUMBERS = {"nu": 0.1}
# Of images of three channels, which few shapes are: measured if it is asked for.
OF_COLORS = "foreground_contrast"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The arrays of one case, in numpy and channels last.

    Attributes:
        logits: one array, or one a level, the finest first.
        labels: class ids at full size, int32.
    """

    logits: tuple[np.ndarray, ...]
    labels: np.ndarray

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.logits[0].shape[-1]

    @property
    def logits_bytes(self) -> int:
        """The size of all logits."""
        return sum(level.nbytes for level in self.logits)

    @property
    def least_bytes(self) -> int:
        """What no program can avoid to move: logits in, their gradient out, class ids in."""
        return 2 * self.logits_bytes + self.labels.nbytes


def parse_shape(text: str) -> tuple[int, ...]:
    """The sizes that a text like `2x96^3x3` stands for: batch, space, classes.

    Raises:
        ValueError: if it is no such text, or a size is out of range.

    Example:
        >>> parse_shape("2x96^3x3"), parse_shape("8x512x512x2")
        ((2, 96, 96, 96, 3), (8, 512, 512, 2))
    """
    sizes: list[int] = []
    for part in text.split("x"):
        size, power, times = part.partition("^")
        if not size.isdecimal() or (power and not times.isdecimal()):
            raise ValueError(
                f"--shape={text}: expected batch, space and classes, such as 2x96x96x96x3 or "
                f"2x96^3x3; {part!r} is no size"
            )
        sizes += [int(size)] * (int(times) if power else 1)
    if not 3 <= len(sizes) <= 5:
        raise ValueError(
            f"--shape={text}: expected a batch, one to three axes of space and classes, such as "
            f"2x96^3x3; got {len(sizes)} sizes"
        )
    if min(sizes) < 1 or sizes[-1] < 2:
        raise ValueError(f"--shape={text}: sizes start at 1, the classes (the last) at 2")
    return tuple(sizes)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as short as it can be said.

    Example:
        >>> shape_text((2, 96, 96, 96, 3)), shape_text((1, 64, 32, 2))
        ('2x96^3x3', '1x64x32x2')
    """
    batch, *space, classes = shape
    cube = len(space) > 1 and len(set(space)) == 1
    middle = [f"{space[0]}^{len(space)}"] if cube else map(str, space)
    return "x".join([str(batch), *middle, str(classes)])


def loss_names() -> list[str]:
    """All that is measured unless asked otherwise: the catalog, then what is made of its losses.

    Regularizers are not of images, and no shape of one says what they cost.
    """
    ours = [row.name for row in losses.CATALOG.values() if not _is_of_parameters(row.name)]
    return [*(name for name in ours if name != OF_COLORS), *PAIRS, SUPERVISED]


def _is_of_parameters(name: str) -> bool:
    row = losses.CATALOG.get(name)
    return row is not None and row.family == "regularizer"


def terms_of(name: str) -> dict[str, Callable[..., jax.Array]]:
    """The losses that a name stands for: `dice`, or `dice+cross_entropy` as one objective.

    Raises:
        ValueError: if there is no such loss, or it is not of images.
    """
    if name == SUPERVISED:
        return {name: losses.deep_supervision(losses.dice)}
    for term in name.split("+"):
        if _is_of_parameters(term):
            raise ValueError(
                f"{term} is a regularizer of parameters: it takes no image, so what it costs has "
                "nothing to do with a shape; `lossbench cost` measures losses of images"
            )
    return {term: losses.get(term) for term in name.split("+")}


def make_inputs(name: str, shape: tuple[int, ...], seed: int = 0) -> Inputs:
    """Random logits with a spread of 2, and random class ids.

    Classes differ in how often they occur, and so do examples: losses that pool the batch, or weigh
    classes, then have another value than those that don't. A loss that depends on the shape of
    objects gets some, and logits that find them but for their borders.
    """
    rng = np.random.default_rng(seed)
    batch, *space, classes = shape
    families = {row.family for row in losses.CATALOG.values() if row.name in name.split("+")}
    if families & OF_OBJECTS:
        return _objects(rng, shape)
    logits = [2 * rng.standard_normal(shape, dtype=np.float32)]
    for _ in range(1, LEVELS.get(name, 1)):
        half = (slice(None), *(slice(None, None, 2) for _ in space))
        logits.append(np.ascontiguousarray(logits[-1][half]))
    often = [1 / (1 + (np.arange(classes) + 2 * k) % classes) for k in range(batch)]
    labels = np.stack(
        [rng.choice(classes, tuple(space), p=p / p.sum()).astype(np.int32) for p in often]
    )
    return Inputs(tuple(logits), labels)


def _objects(rng: np.random.Generator, shape: tuple[int, ...]) -> Inputs:
    """Objects of about an eighth of the image, on a background that is most of it."""
    batch, *space, classes = shape
    coarse = [max(2, -(-size // 8)) for size in space]
    zoom = (1, *(size / low for size, low in zip(space, coarse, strict=True)), 1)
    drawn = rng.standard_normal((batch, *coarse, classes), dtype=np.float32)
    field = np.asarray(ndimage.zoom(drawn, zoom, order=1), np.float32)
    field[..., 0] += 0.5
    noise = 0.15 * rng.standard_normal(shape, dtype=np.float32)
    labels = np.argmax(field, axis=-1).astype(np.int32)
    return Inputs(((4 * (field + noise)).astype(np.float32),), labels)


def distances(classes: int) -> np.ndarray:
    """Distances between classes for losses that need them: 1 apart, each class from each other."""
    return 1 - np.eye(classes, dtype=np.float32)


def objective(name: str) -> Callable[[Any, dict[str, Any]], jax.Array]:
    """A scalar function of logits and the batch's other arrays: the loss that is measured."""
    terms = Objective({term: _term(loss) for term, loss in terms_of(name).items()})

    def total(logits: Any, batch: dict[str, Any]) -> jax.Array:
        return terms({"logits": logits, **batch}).total

    return total


def _term(loss: Callable[..., jax.Array]) -> Term:
    """The loss, with what it calls its first argument taken from the logits."""
    parameters = inspect.signature(loss).parameters
    first = next(iter(parameters))
    if first not in OUTPUTS or first == "logits":
        return Term(loss)
    inputs = {first: "logits"}
    if "labels" in parameters:
        inputs["labels"] = "anomalies"
    return Term(loss, options={k: v for k, v in NUMBERS.items() if k in parameters}, inputs=inputs)


def arguments(name: str, inputs: Inputs) -> tuple[Any, dict[str, Any]]:
    """The arrays on the device: logits (a list if there are levels) and what else a loss needs.

    Only arguments that a loss cannot do without are there: a mask, for one, would add work.
    """
    rng = np.random.default_rng(1)
    extras = {
        "labels": lambda: jnp.asarray(inputs.labels),
        "where": lambda: jnp.ones(inputs.labels.shape, bool),
        "distances": lambda: jnp.asarray(distances(inputs.classes)),
        "anomalies": lambda: jnp.asarray(inputs.labels == 1),
        "center": lambda: jnp.ones(inputs.classes),
        "radius": lambda: jnp.ones(()),
        "image": lambda: jnp.asarray(rng.random(inputs.logits[0].shape, np.float32)),
    }
    batch: dict[str, Any] = {}
    for loss in terms_of(name).values():
        renamed = _term(loss).inputs
        for argument, parameter in inspect.signature(loss).parameters.items():
            argument = renamed.get(argument, argument)
            if argument in extras and parameter.default is parameter.empty:
                batch[argument] = extras[argument]()
    logits = [jnp.asarray(level) for level in inputs.logits]
    return (logits if name in LEVELS else logits[0]), batch
