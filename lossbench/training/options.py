"""How a model is trained: the numbers of `config.train`, with their defaults."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from lossbench import _checks
from lossbench._names import unknown


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Plain numbers that say how a model is trained.

    Attributes:
        steps: optimizer steps.
        batch_size: examples a step.
        eval_batch_size: examples a batch in evaluation; 0 = batch_size.
        optimizer: "adamw" or "sgd" (with Nesterov momentum).
        learning_rate: the highest rate, after the warm-up.
        warmup_steps: steps over which the rate rises linearly from 0.
        schedule: after the warm-up: "cosine" (down to final_learning_rate) or "constant".
        final_learning_rate: the end of the cosine, as a share of learning_rate.
        weight_decay: decoupled, as in AdamW; with sgd, too.
        momentum: of sgd.
        clip_norm: the gradient's global norm is clipped to this; 0 = off.
        ema_decay: decay of the moving average of the parameters that is evaluated instead of the
            parameters; 0 = off. The decay at step t is min(ema_decay, (1 + t) / (10 + t)).
        plateau_patience: validations without improvement after which the rate is multiplied by
            plateau_factor; 0 = off.
        plateau_factor: see there.
        early_stopping_patience: validations without improvement after which training ends; 0 = off.
        eval_every: steps between validations; each saves a checkpoint.
        log_every: steps between rows of the log; a row is the mean over them.
        trainable: patterns of the names of the parameters that are trained, as "head/*", each with
            the step from which on: `{"head/*": 0, "body/*": 200}`, or a list of patterns; all by
            default, but for fitted preprocessing ("preprocessing/*"). The first that matches
            decides; what none matches stays.
        keep_best: how many of the best checkpoints are kept.
        devices: size of the mesh's data axis; 0 = as many devices as divide the batch.
        mlflow: where MLflow keeps runs, a tracking URI or a folder; "" = numbers go to TensorBoard
            only.
        mlflow_experiment: the experiment they go to there.
        debug_checks: check labels and logits in every step (see `lossbench.debug_checks`).
    """

    steps: int = 1000
    batch_size: int = 8
    eval_batch_size: int = 0
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    schedule: str = "cosine"
    final_learning_rate: float = 0.0
    weight_decay: float = 0.0
    momentum: float = 0.9
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    plateau_patience: int = 0
    plateau_factor: float = 0.5
    early_stopping_patience: int = 0
    eval_every: int = 100
    log_every: int = 10
    trainable: tuple[tuple[str, int], ...] = ()
    keep_best: int = 1
    devices: int = 0
    mlflow: str = ""
    mlflow_experiment: str = "lossbench"
    debug_checks: bool = False

    def __post_init__(self) -> None:
        """Raises a ValueError that names the option."""
        _checks.choice("train.optimizer", self.optimizer, ("adamw", "sgd"))
        _checks.choice("train.schedule", self.schedule, ("cosine", "constant"))
        for name in ("steps", "batch_size", "eval_every", "log_every", "keep_best"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name}: expected at least 1, got {getattr(self, name)}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str | tuple) and not 0 <= value < float("inf"):
                raise ValueError(f"train.{field.name}: expected a number >= 0, got {value}")
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"train.warmup_steps: {self.warmup_steps} leaves nothing of {self.steps} steps"
            )
        for pattern, step in self.trainable:
            if step >= self.steps:
                raise ValueError(
                    f"train.trainable: {pattern!r} from step {step} on, but there are only "
                    f"{self.steps} steps"
                )
        for name in ("ema_decay", "momentum", "plateau_factor"):
            if getattr(self, name) >= 1:
                raise ValueError(f"train.{name}: expected less than 1, got {getattr(self, name)}")
        if not self.plateau_factor:
            raise ValueError("train.plateau_factor: expected more than 0, which would end training")
        self._refuse_without_effect()

    def _refuse_without_effect(self) -> None:
        """Raises a ValueError for an option that another one leaves without effect."""
        for name, needed, there in (
            ("momentum", "train.optimizer='sgd'", self.optimizer == "sgd"),
            ("final_learning_rate", "train.schedule='cosine'", self.schedule == "cosine"),
            ("plateau_factor", "train.plateau_patience", self.plateau_patience > 0),
            ("mlflow_experiment", "train.mlflow", bool(self.mlflow)),
        ):
            value, default = getattr(self, name), type(self).__dataclass_fields__[name].default
            if value != default and not there:
                raise ValueError(f"train.{name}: {value} has no effect without {needed}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """From plain values; a missing option takes its default.

        Raises:
            ValueError: for an unknown option (with the nearest names) or one of a wrong type.
        """
        types = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        values = {}
        for name, value in config.items():
            if name not in types:
                raise unknown("option of train", name, types)
            if types[name] is float and type(value) is int:
                value = float(value)
            if name == "trainable":
                value = _table(value)
            true_for_one = isinstance(value, bool) and types[name] is not bool
            if not isinstance(value, types[name]) or true_for_one:
                wanted = types[name].__name__
                raise ValueError(f"train.{name}: expected {wanted}, got {value!r}")
            values[name] = value
        return cls(**values)


def _table(value: Any) -> tuple[tuple[str, int], ...]:
    """Patterns with the steps from which on their parameters are trained."""
    if isinstance(value, str):
        pairs = [(value, 0)]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = [(one, 0) if isinstance(one, str) else one for one in value]
    else:
        pairs = [value]
    good = all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and type(pair[1]) is int
        and pair[1] >= 0
        for pair in pairs
    )
    if not good:
        raise ValueError(
            "train.trainable: expected a list of patterns, or a mapping of patterns to the steps "
            f"from which on they are trained, got {value!r}"
        )
    return tuple((pattern, step) for pattern, step in pairs)
