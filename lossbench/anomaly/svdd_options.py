"""How the sphere of Deep SVDD follows the embeddings: plain values."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lossbench import _checks
from lossbench._names import unknown
from lossbench.anomaly.sphere import check_nu


@dataclasses.dataclass(frozen=True)
class SvddOptions:
    """How the sphere follows the embeddings.

    Attributes:
        nu: the share of the training data that may lie outside, above 0 to 1; the loss
            `svdd_soft_boundary` takes it, too.
        center: "fixed", the mean of the untrained network's embeddings over the training data; or
            "ema", which moves with the mean of each batch: it admits the collapse, and is there to
            reproduce others. It moves after the loss of a step, that of cuvis-ai before it.
        center_rate: share of a batch's mean in an "ema" center.
        center_eps: how far from 0 a component of the first center is pushed.
        radius: "quantile", which leaves a share nu of the last distances outside; or "learned", a
            parameter, there to reproduce others.
        initial_radius: where a learned radius begins.
        warmup: share of the steps during which a quantile radius counts as 0 in the loss.
        update_every: steps between two updates of a quantile radius.
        recent: how many of the last distances it is taken of.
        monitor: "stop" ends a training that has collapsed, "warn" only says so.
        allow: patterns of parameters that are allowed although they admit the collapse, such as
            "*/bias".
        pretrain_steps: steps of an autoencoder with this encoder, before the center is taken.
        pretrain_learning_rate: of these.
        pretrain_weight_decay: of these.
    """

    nu: float = 0.1
    center: str = "fixed"
    center_rate: float = 0.1
    center_eps: float = 0.1
    radius: str = "quantile"
    initial_radius: float = 0.1
    warmup: float = 0.1
    update_every: int = 10
    recent: int = 8192
    monitor: str = "stop"
    allow: tuple[str, ...] = ()
    pretrain_steps: int = 0
    pretrain_learning_rate: float = 1e-3
    pretrain_weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        """Raises a ValueError that names the option."""
        _checks.choice("svdd.center", self.center, ("fixed", "ema"))
        _checks.choice("svdd.radius", self.radius, ("quantile", "learned"))
        _checks.choice("svdd.monitor", self.monitor, ("stop", "warn"))
        try:
            check_nu(self.nu)
        except ValueError as error:
            raise ValueError(f"svdd.{error}") from error
        for name, allowed, good in (
            ("center_rate", "above 0 to 1", 0 < self.center_rate <= 1),
            ("center_eps", "at least 0", 0 <= self.center_eps < np.inf),
            ("initial_radius", "above 0", 0 < self.initial_radius < np.inf),
            ("warmup", "at least 0 and below 1", 0 <= self.warmup < 1),
            ("update_every", "at least 1", self.update_every >= 1),
            ("pretrain_steps", "at least 0", self.pretrain_steps >= 0),
            ("pretrain_learning_rate", "above 0", 0 < self.pretrain_learning_rate < np.inf),
            ("pretrain_weight_decay", "at least 0", 0 <= self.pretrain_weight_decay < np.inf),
        ):
            if not good:
                raise ValueError(f"svdd.{name}: expected {allowed}, got {getattr(self, name)}")
        if self.recent * self.nu < 1:
            raise ValueError(
                f"svdd.recent: of {self.recent} distances none can be a share of {self.nu}; "
                f"expected at least {int(np.ceil(1 / self.nu))}"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "SvddOptions":
        """From plain values; a missing option takes its default.

        Raises:
            ValueError: for an unknown option (with the nearest names) or one of a wrong type.
        """
        types = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, value in config.items():
            if name not in types:
                raise unknown("option of svdd", name, types)
            if types[name] is float and type(value) is int:
                value = float(value)
            if name == "allow":
                value = (value,) if isinstance(value, str) else value
                if not isinstance(value, list | tuple) or not all(
                    isinstance(v, str) for v in value
                ):
                    raise ValueError(f"svdd.allow: expected a list of patterns, got {value!r}")
                value = tuple(value)
            if not isinstance(value, types[name]) or isinstance(value, bool):
                raise ValueError(f"svdd.{name}: expected {types[name].__name__}, got {value!r}")
            values[name] = value
        return cls(**values)
