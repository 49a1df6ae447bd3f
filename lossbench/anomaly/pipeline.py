"""Fitted preprocessing: a list of steps, which is static, and the arrays that they were fitted to.

Like a Linen module and its parameters: the arrays, a dict of dicts, can be kept under parameters of
a model, saved, and trained if somebody wants to.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench._names import unknown
from lossbench.anomaly._inputs import as_floats
from lossbench.anomaly.preprocessing import bands_between
from lossbench.anomaly.steps import STEPS, Arrays, Bandpass, Step, options_of

Pixels = Shaped[Array, "*space channels"]
Batches = Callable[[], Iterable[tuple[Pixels, Bool[Array, "*space"] | None]]]
# The key of a configuration that names the step, where its own name does not.
KIND = "step"


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Steps, one after the other; hashable, so that it can be a static argument of `jit`.

    Attributes:
        steps: names, which are those of their arrays, and steps.
        given: the wavelengths of the bands that come in, in nm, if they are known.

    Example:
        >>> import jax.numpy as jnp
        >>> config = {"bandpass": {"low": 450, "high": 900}, "z_score": {}}
        >>> pipeline = Pipeline.from_config(config, wavelengths=[400, 500, 600])
        >>> x = jnp.array([[9.0, 1.0, 10.0], [9.0, 3.0, 50.0]])
        >>> arrays = pipeline.fit(lambda: [(x, None)])
        >>> print(arrays["z_score"]["mean"], pipeline.wavelengths)
        [ 2. 30.] (500.0, 600.0)
        >>> print(pipeline.apply(arrays, x).round(3))
        [[-0.707 -0.707]
         [ 0.707  0.707]]
    """

    steps: tuple[tuple[str, Step], ...] = ()
    given: tuple[float, ...] | None = None

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Mapping[str, Any] | None],
        *,
        wavelengths: Iterable[float] | None = None,
    ) -> "Pipeline":
        """Builds the steps that a configuration names, in its order.

        Args:
            config: options by step, such as `{"unit_norm": {}, "z_score": {"floor": 1e-3}}`. The
                key is the step, unless its options say another with `"step"`: so one can come
                twice.
            wavelengths: of the bands that come in, in nm; `bandpass` needs them.

        Raises:
            ValueError: for a step or an option that there is not, for a value that does not fit,
                and for a bandpass that keeps nothing or has no wavelengths.
        """
        given = None if wavelengths is None else tuple(float(nm) for nm in wavelengths)
        left, steps = given, []
        for name, options in config.items():
            step = _step_of(name, options, left)
            if isinstance(step, Bandpass) and left is not None:
                left = tuple(left[i] for i in step.bands)
            if STEPS["pca"] is type(step):
                left = None
            steps.append((name, step))
        return cls(tuple(steps), given)

    def config(self) -> dict[str, dict[str, Any]]:
        """The configuration, in plain values: with the wavelengths given, it makes the same."""
        kinds = {kind: name for name, kind in STEPS.items()}
        found = {}
        for name, step in self.steps:
            options = {option: getattr(step, option) for option in options_of(step)}
            kind = kinds[type(step)]
            found[name] = options if kind == name else {KIND: kind, **options}
        return found

    @property
    def wavelengths(self) -> tuple[float, ...] | None:
        """The wavelengths of what comes out; None if they are not known, or it is no bands."""
        left = self.given
        for _, step in self.steps:
            if isinstance(step, Bandpass) and left is not None:
                left = tuple(left[i] for i in step.bands)
            elif isinstance(step, STEPS["pca"]):
                left = None
        return left

    def channels(self, n: int) -> int:
        """How many channels come out where `n` go in.

        Raises:
            ValueError: if a step cannot take as many.
        """
        for _, step in self.steps:
            n = step.channels(n)
        return n

    def init(self, channels: int) -> dict[str, Arrays]:
        """Arrays of the right shapes, before there are data, with which `apply` changes little.

        Args:
            channels: how many come in.
        """
        arrays, n = {}, channels
        for name, step in self.steps:
            after = step.channels(n)
            if step.fitted:
                arrays[name] = step.init(n)
            n = after
        return arrays

    def fit(self, batches: Batches) -> dict[str, Arrays]:
        """Fits the steps, one after the other: for each that is fitted, one pass over the data.

        The result is that of all pixels together, however they are batched. Nothing is random.

        Args:
            batches: gives the data from their start each time it is called: batches of pixels
                `*space channels`, floats or integers, and of which of them count, or None.

        Returns:
            The arrays, by the names of the steps.

        Raises:
            ValueError: if no pixel counts, or a NaN or an infinity does.
        """
        arrays: dict[str, Arrays] = {}
        for place, (name, step) in enumerate(self.steps):
            if not step.fitted:
                continue
            before = dataclasses.replace(self, steps=self.steps[:place])
            arrays[name] = _fitted(name, step, before, dict(arrays), batches)
        return arrays

    def apply(self, arrays: Mapping[str, Arrays], x: Pixels) -> Float[Array, "*space channels"]:
        """All steps.

        Args:
            arrays: as `fit` or `init` gives them.
            x: floats or integers; taken as float32.

        Raises:
            ValueError: if the arrays of a step are missing, or there are other channels.
        """
        x = as_floats(x)
        if x.ndim < 1:
            raise ValueError(f"x: expected shape (*space, channels), got {x.shape}")
        self.channels(x.shape[-1])
        for name, step in self.steps:
            if step.fitted and name not in arrays:
                raise ValueError(
                    f"arrays: nothing for the step {name!r}, which has to be fitted; there is "
                    f"{', '.join(map(repr, arrays)) or 'nothing'}"
                )
            x = step.apply(arrays.get(name, {}), x)
        return x


def _step_of(name: str, options: Mapping[str, Any] | None, left: tuple[float, ...] | None) -> Step:
    options = dict(options or {})
    kind = options.pop(KIND, name)
    if kind not in STEPS:
        raise unknown("preprocessing step", kind, STEPS)
    step = STEPS[kind]
    for option in options:
        if option not in options_of(step):
            raise unknown(f"option of the preprocessing step {kind}", option, options_of(step))
    if step is not Bandpass:
        return step(**options)
    if left is None:
        raise ValueError(
            f"{name}: a bandpass needs the wavelengths of the bands, and the data have none"
        )
    return Bandpass(**options, bands=bands_between(left, **options), of=len(left))


def _fitted(
    name: str, step: Step, before: Pipeline, arrays: dict[str, Arrays], batches: Batches
) -> Arrays:
    stream = None
    for x, where in batches():
        if stream is None:
            stream = step.empty(before.channels(jnp.shape(x)[-1]))
            step.channels(before.channels(jnp.shape(x)[-1]))
        stream = _seen(before, arrays, stream, x, where)
    found = None if stream is None else step.arrays(stream)
    if found is None or not all(bool(jnp.all(jnp.isfinite(x))) for x in found.values()):
        raise ValueError(
            f"{name}: cannot be fitted: no pixel counts, or one that counts is NaN or infinite"
        )
    return found


# Compiled once for each shape of a batch.
@functools.partial(jax.jit, static_argnums=0)
def _seen(before: Pipeline, arrays: Any, stream: Any, x: Array, where: Array | None) -> Any:
    return stream.update(before.apply(arrays, x), where)
