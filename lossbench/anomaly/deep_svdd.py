"""Deep SVDD as a model: an encoder, and the sphere in which the embeddings of normal data lie.

The sphere is a collection of variables, as running statistics are: applied in training it moves on,
applied otherwise it stays as it is, and what trains and saves models needs to know nothing of it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench.anomaly.collapse import Limits, Spread, collapsed, spread
from lossbench.anomaly.preprocessed import Batches, Variables
from lossbench.anomaly.sphere import Recent, svdd_center, svdd_radius
from lossbench.anomaly.statistics import Moments
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.losses import learned_radius, svdd_distance

# Fewer embeddings than this tell nothing of a collapse.
LEAST = 8


@dataclasses.dataclass(frozen=True)
class DeepSvdd:
    """A model that gives embeddings, with the sphere around them.

    Its outputs are the model's and "center", "radius", "nu", which the losses take; "scores", the
    squared distance to the center, and "threshold", the squared radius: a score above it lies
    outside. Its variables have the collection "svdd".

    Attributes:
        model: Linen module, or another model, with the output "embeddings".
        options: how the sphere follows the embeddings.
        warmup_steps: during which a quantile radius counts as 0 in the loss.
        limits: where a training has collapsed.
        checks: is given the parameters and the center of `prepare`, and raises for a network that
            admits the collapse (see `models.check_svdd`).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lossbench.models import SVDDEncoder
        >>> detector = DeepSvdd(SVDDEncoder(features=(8, 4)), SvddOptions(nu=0.1))
        >>> pixels = jax.random.normal(jax.random.key(0), (2, 50, 5))  # 2 examples of 50 pixels
        >>> variables = detector.init(jax.random.key(1), pixels)
        >>> variables = detector.prepare(variables, lambda: [{"image": pixels}])
        >>> outputs = detector.apply(variables, pixels)  # no state changes
        >>> outputs["scores"].shape, int((outputs["scores"] > outputs["threshold"]).sum())
        ((2, 50), 10)

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018.
    """

    model: Any
    options: SvddOptions = dataclasses.field(default_factory=SvddOptions)
    warmup_steps: int = 0
    limits: Limits = dataclasses.field(default_factory=Limits)
    checks: Callable[[Any, Any], None] | None = None
    # Which arrays of a batch it is applied to.
    reads = ("image", "where")

    @property
    def draws(self) -> tuple[str, ...]:
        """The streams of random numbers that the model draws from in training."""
        return getattr(self.model, "draws", ())

    @property
    def held(self) -> tuple[str, ...]:
        """Parameters that are not trained unless a training is told to."""
        return getattr(self.model, "held", ())

    @property
    def undecayed(self) -> tuple[str, ...]:
        """Parameters that weight decay leaves alone: a learned radius is no weight."""
        return ("svdd/*", *getattr(self.model, "undecayed", ()))

    def init(self, rngs: Any, image: jax.Array, where: jax.Array | None = None) -> dict[str, Any]:
        """Variables; the sphere's are empty until `prepare`."""
        variables = dict(self.model.init(rngs, *self._read(image, where)))
        outputs = jax.eval_shape(self.model.apply, variables, *self._read(image, where))
        if "embeddings" not in outputs:
            raise ValueError(
                "svdd: the model has no output 'embeddings', as svdd_encoder has; its outputs are: "
                f"{', '.join(sorted(outputs))}"
            )
        if self.checks is not None:
            self.checks(variables["params"], None)
        features = outputs["embeddings"].shape[-1]
        zero = jnp.zeros((), jnp.float32)
        variables["svdd"] = {
            "center": jnp.zeros((features,), jnp.float32),
            "radius": zero,
            "recent": Recent.empty(self.options.recent),
            "steps": jnp.zeros((), jnp.int32),
            "outliers": zero,
            "counted": zero,
            "first": {"center": jnp.zeros((features,), jnp.float32), "spread": zero + 1}
            | {"distinct": zero + 1},
        }
        if self.options.radius == "learned":
            # softplus(10 r) / 10 is the radius; solved for r without an overflow.
            first = self.options.initial_radius
            raw = first + np.log(-np.expm1(-10 * first)) / 10
            sphere = {"radius": jnp.full((), raw, jnp.float32)}
            variables["params"] = {**variables["params"], "svdd": sphere}
        return variables

    def apply(
        self,
        variables: Variables,
        image: jax.Array,
        where: jax.Array | None = None,
        *,
        mutable: Any = False,
        rngs: Any = None,
    ) -> Any:
        """The outputs; and with `mutable=`, as in training, the collections after it."""
        read = self._read(image, where)
        outputs, changed = self._inner(variables, *read, mutable=mutable, rngs=rngs)
        sphere = variables["svdd"]
        scores = svdd_distance(outputs["embeddings"], sphere["center"])
        if self.options.radius == "learned":
            radius = threshold = learned_radius(variables["params"]["svdd"]["radius"])
        else:
            threshold = sphere["radius"]
            radius = jnp.where(sphere["steps"] < self.warmup_steps, 0.0, threshold)
        outputs = {
            **outputs,
            "center": sphere["center"],
            "radius": radius,
            "nu": jnp.float32(self.options.nu),
            "scores": scores,
            # A little above: scores of one and the same input differ in their last bits from one
            # program to another, and none of those that the radius is made of may be outside.
            "threshold": threshold * threshold * (1 + 2e-6),
        }
        if not mutable:
            return outputs
        changed["svdd"] = self._moved(sphere, outputs, where)
        return outputs, changed

    def _read(self, image: jax.Array, where: jax.Array | None) -> list[Any]:
        """What of these the model is applied to."""
        named = {"image": image, "where": where}
        return [named[name] for name in getattr(self.model, "reads", ("image",))]

    def _inner(
        self, variables: Variables, *read: Any, mutable: Any, rngs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The model's own outputs, and its collections after it."""
        params = {k: v for k, v in variables["params"].items() if k != "svdd"}
        others = {k: v for k, v in variables.items() if k not in ("params", "svdd")}
        options = {} if rngs is None else {"rngs": rngs}
        if mutable and others:
            outputs, changed = self.model.apply(
                {"params": params, **others}, *read, mutable=list(others), **options
            )
            return dict(outputs), dict(changed)
        return dict(self.model.apply({"params": params, **others}, *read, **options)), {}

    def _moved(
        self, sphere: Mapping[str, Any], outputs: Mapping[str, Any], where: jax.Array | None
    ) -> dict[str, Any]:
        """The sphere after a batch."""
        options = self.options
        embeddings, scores = (
            jax.lax.stop_gradient(outputs[name]) for name in ("embeddings", "scores")
        )
        counted = jnp.ones(scores.shape, bool) if where is None else where
        total = jnp.sum(counted, dtype=jnp.float32)
        center = sphere["center"]
        if options.center == "ema":
            kept = jnp.where(counted[..., None], embeddings, 0).reshape(-1, center.shape[0])
            mean = jnp.sum(kept.astype(jnp.float32), axis=0) / jnp.maximum(total, 1)
            step = jnp.where(total > 0, options.center_rate, 0.0)
            center = center + step * (mean - center)
        recent = sphere["recent"].add(scores, counted)
        if options.radius == "learned":
            radius = jax.lax.stop_gradient(outputs["radius"])
        else:
            radius = jax.lax.cond(
                (sphere["steps"] % options.update_every == 0) & (recent.seen > 0),
                lambda: svdd_radius(recent.distances, nu=options.nu, where=recent.full),
                lambda: sphere["radius"],
            )
        outside = counted & (scores > jax.lax.stop_gradient(outputs["threshold"]))
        return {
            "center": center,
            "radius": radius,
            "recent": recent,
            "steps": sphere["steps"] + 1,
            "outliers": jnp.sum(outside, dtype=jnp.float32),
            "counted": total,
            "first": sphere["first"],
        }

    def prepare(self, variables: Variables, batches: Batches) -> dict[str, Any]:
        """Variables with the sphere around the embeddings of data, from a pass over it or two.

        The center is that of what the model gives as in training, before the first step.

        Args:
            variables: from `init`.
            batches: gives the batches of a pass: "image" and, where there is one, "where".

        Raises:
            ValueError: if nothing counts, or an embedding is not finite.
        """
        if hasattr(self.model, "prepare"):
            inner = {
                **{k: v for k, v in variables.items() if k != "svdd"},
                "params": {k: v for k, v in variables["params"].items() if k != "svdd"},
            }
            found = dict(self.model.prepare(inner, batches))
            params = {**variables["params"], **found.pop("params")}
            variables = {**variables, **found, "params": params}
        features = variables["svdd"]["center"].shape[0]
        moments, embed = Moments.empty(features), jax.jit(self._embeddings)
        for batch in batches():
            moments = moments.update(*embed(variables, batch["image"], batch.get("where")))
        found = moments.compute(ddof=0)
        if not np.all(np.isfinite(found.mean)):
            raise ValueError(
                "svdd: the center is the mean of the training data's embeddings, and that is "
                f"{np.asarray(found.mean)}: nothing counts, or an embedding is not finite"
            )
        center = svdd_center(found.mean, eps=self.options.center_eps)
        if self.checks is not None:
            self.checks(variables["params"], center)
        sphere = {**variables["svdd"], "center": center}
        sphere["first"] = {
            "center": jnp.copy(center),  # a donated buffer may not appear twice
            "spread": jnp.sqrt(jnp.mean(found.variance)),
            "distinct": self._distinct({**variables, "svdd": sphere}, batches),
        }
        return self.finish({**variables, "svdd": sphere}, batches)

    def finish(self, variables: Variables, batches: Batches) -> dict[str, Any]:
        """Variables with the radius of these data; a learned one stays as it was learned.

        Args:
            variables: of a training, or before it.
            batches: gives the batches of a pass.
        """
        if self.options.radius == "learned":
            return dict(variables)
        score = jax.jit(lambda *read: self.apply(*read)["scores"])
        seen = []
        for batch in batches():
            where = batch.get("where")
            scores = np.asarray(score(variables, batch["image"], where))
            seen.append(scores.reshape(-1) if where is None else scores[np.asarray(where)])
        radius = svdd_radius(jnp.asarray(np.concatenate(seen)), nu=self.options.nu)
        return {**variables, "svdd": {**variables["svdd"], "radius": radius}}

    def _embeddings(
        self, variables: Variables, image: jax.Array, where: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        read = self._read(image, where)
        outputs, _ = self._inner(variables, *read, mutable=True, rngs=None)
        return outputs["embeddings"], where

    def _distinct(self, variables: Variables, batches: Batches) -> jax.Array:
        """The share of distinct scores of the first batch of which enough count to tell."""
        look = jax.jit(self._spread)
        for batch in batches():
            where = batch.get("where")
            found, counted = look(variables, batch["image"], where)
            if counted >= LEAST:
                return found.distinct
        return jnp.ones(())

    def _spread(
        self, variables: Variables, image: jax.Array, where: jax.Array | None
    ) -> tuple[Spread, jax.Array]:
        outputs = self.apply(variables, image, where)
        counted = jnp.ones(outputs["scores"].shape, bool) if where is None else where
        return spread(outputs["embeddings"], outputs["scores"], counted), jnp.sum(counted)

    def examine(
        self, variables: Variables, image: jax.Array, where: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """What a training logs of the sphere, as scalars.

        Returns:
            "radius"; "outliers", how many of the batch lie outside, and "outside", their share of
            those "counted", to be compared with "nu"; "spread" and "distinct", as shares of what
            they were before training; "effective_rank" of the embeddings; "drift" of the center
            since then, in its own lengths; "offset" of the mean embedding from the center, in
            spreads.
        """
        outputs = self.apply(variables, image, where)
        sphere, first = variables["svdd"], variables["svdd"]["first"]
        counted = jnp.ones(outputs["scores"].shape, bool) if where is None else where
        found = spread(outputs["embeddings"], outputs["scores"], counted)
        outliers = jnp.sum(counted & (outputs["scores"] > outputs["threshold"]))
        length = jnp.linalg.norm(first["center"])
        return {
            "radius": jnp.sqrt(outputs["threshold"]),
            "outliers": outliers,
            "counted": jnp.sum(counted),
            "outside": outliers / jnp.maximum(jnp.sum(counted), 1),
            "nu": outputs["nu"],
            "spread": found.spread / jnp.maximum(first["spread"], 1e-30),
            "distinct": found.distinct / jnp.maximum(first["distinct"], 1e-30),
            "effective_rank": found.effective_rank,
            "drift": jnp.linalg.norm(sphere["center"] - first["center"])
            / jnp.maximum(length, 1e-30),
            "offset": jnp.linalg.norm(found.mean - sphere["center"])
            / jnp.maximum(found.spread, 1e-30),
        }

    def alarm(self, facts: Mapping[str, float]) -> str:
        """Why a training with these facts has collapsed; empty if it has not, or too few count."""
        return collapsed(facts, self.limits) if facts["counted"] >= LEAST else ""

    @property
    def stops(self) -> bool:
        """Whether an alarm ends a training."""
        return self.options.monitor == "stop"
