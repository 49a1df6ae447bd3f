"""A plan: which runs a comparison consists of; all of its configuration is checked first."""

import dataclasses
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

import lossbench
from lossbench import data, losses, metrics, models
from lossbench._names import find, source, unknown
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.objective import Objective
from lossbench.objective_config import is_mapping, normal_form
from lossbench.training.options import TrainOptions

KEYS = {
    "title": "what the report is headed",
    "question": "what the comparison is to answer",
    "data": "a data set's `name` and its options",
    "augment": "augmentation of training examples",
    "preprocess": "fitted steps before the model, by name with their options",
    "model": "a model's `name` and its options",
    "svdd": "how the sphere of Deep SVDD follows the embeddings",
    "losses": "objectives by name, or a list of losses",
    "baseline": "the loss that the others are compared with; the first of them by default",
    "seeds": "how many, or which",
    "metrics": "what is measured: metrics by name with their options, or a list of names",
    "metric": "the one that the comparison goes by",
    "select": "what the best checkpoint goes by: the metric, another one, 'loss' or 'last'",
    "train": "how a model is trained",
}
# Options of data that change where and how it is read, not what it is.
WHEREABOUTS = ("path", "cache_gib")
# Options of a training that change where its logs go.
LOGS = ("mlflow", "mlflow_experiment")


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """One run: a loss and a seed, and all else that changes its result.

    Attributes:
        loss: name of the objective within the comparison.
        seed: of parameters, batch order and augmentation.
        fold: which fold is the test set; None with one split for all.
        content: everything else that changes the result, as plain values.
    """

    loss: str
    seed: int
    fold: int | None
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """A readable name that ends in a hash of all that changes the result."""
        # The name counts, too: "a+b" and "a b" read alike in a path and may be one objective.
        own = {"loss": self.loss, "seed": self.seed, "fold": self.fold}
        text = json.dumps({**self.content, **own}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{re.sub(r'[^A-Za-z0-9_]+', '-', self.loss)[:40]}-seed{self.seed}-{digest}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A comparison before it runs: plain values that have been checked.

    Attributes:
        config: the configuration, defaults filled in.
        losses: objective configuration of each loss, in the order of the tables.
        seeds: one training of each loss a seed.
        metrics: what is measured: options by the name of the metric.
        metric: what the comparison goes by.
        select: what the best checkpoint goes by: a metric, "loss" on the validation data, or
            "last". By default it is the metric; "last" under Deep SVDD, so that no label of the
            validation data has a say.
        baseline: what the other losses are compared with.
        train: how a model is trained.
        svdd: of each loss, how the sphere follows the embeddings; None without one.
    """

    config: Mapping[str, Any]
    losses: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    metric: str
    baseline: str
    train: TrainOptions
    select: str
    svdd: Mapping[str, SvddOptions | None]

    @property
    def folds(self) -> int | None:
        """Number of folds of the data, if it is cut into folds."""
        return self.config["data"].get("folds")

    def dataset(self, seed: int) -> data.Dataset:
        """The data of a seed: its own fold, or the one split."""
        options = dict(self.config["data"])
        if self.folds:
            options["fold"] = self.fold(seed)
        try:
            return data.load(options.pop("name"), **options)
        except TypeError as error:  # such as a number where a list belongs
            raise ValueError(f"data: an option has the wrong type: {error}") from error
        except ValueError as error:
            raise ValueError(f"data: {error}") from error

    def fold(self, seed: int) -> int | None:
        """The fold that a seed is tested on."""
        return self.seeds.index(seed) if self.folds else None

    def _sources(self, loss: str) -> dict[str, str]:
        """The source of what the user wrote, by name: a changed function is another run."""
        terms = self.losses[loss]["terms"]
        names = (
            self.config["data"]["name"],
            self.config["model"]["name"],
            *(options.get("loss", name) for name, options in terms.items()),
        )
        known = {*data.SOURCES, *models.MODELS, *losses.CATALOG}
        return {name: source(name) for name in names if name not in known}

    def run(self, loss: str, seed: int, fingerprint: str) -> RunSpec:
        """One run of the plan, on data of this fingerprint."""
        sphere = self.svdd[loss]
        content = {
            "lossbench": lossbench.__version__,
            "code": code_digest(),
            # The data's content counts, not where it lies.
            "data": {k: v for k, v in self.config["data"].items() if k not in WHEREABOUTS},
            "fingerprint": fingerprint,
            "augment": self.config["augment"],
            "preprocess": list(self.config["preprocess"].items()),
            "model": self.config["model"],
            "svdd": dataclasses.asdict(sphere) if sphere else None,
            "objective": self.losses[loss],
            "train": {k: v for k, v in dataclasses.asdict(self.train).items() if k not in LOGS},
            "metrics": self.metrics,
            "metric": self.metric,
            "select": self.select,
            "own": self._sources(loss),
        }
        return RunSpec(loss, seed, self.fold(seed), content)


@functools.cache
def code_digest() -> str:
    """A hash of the modules that a result depends on: an edited loss is another run."""
    root = Path(lossbench.__file__).parent
    digest = hashlib.sha256()
    for part in (
        "losses",
        "metrics",
        "ops",
        "anomaly",
        "weighting",
        "objective.py",
        "objective_config.py",
        "models",
        "data",
        "training",
    ):
        for path in sorted([root / part] if part.endswith(".py") else (root / part).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def make_plan(config: Mapping[str, Any]) -> Plan:
    """Checks a configuration and fills in its defaults.

    Args:
        config: plain values under `KEYS`.

    Raises:
        ValueError: for anything in it that cannot run: a name that nobody knows (with the nearest
            ones), a baseline that is no loss of it, seeds that are no seeds or more than the folds
            of the data. The data itself is not read here.
    """
    for key in config:
        if key not in KEYS:
            raise unknown("key of the configuration", key, KEYS)
    config = _plain("", config)
    for key in ("data", "model", "losses"):
        if not config.get(key):
            raise ValueError(f"the configuration needs {key!r}: {KEYS[key]}")
    for key in ("data", "model", "augment", "train", "preprocess", "svdd"):
        if not isinstance(config.get(key) or {}, Mapping):
            raise ValueError(f"{key}: expected a mapping ({KEYS[key]}), got {config[key]!r}")
    losses = _losses(config["losses"])
    baseline = config.get("baseline") or next(iter(losses))
    if baseline not in losses:
        raise unknown("baseline", baseline, losses)
    measured = _metrics(config.get("metrics") or ("dice", "iou"))
    metric = config.get("metric") or next(iter(measured))
    if metric not in measured:
        if metric in metrics.STATES:
            raise ValueError(f"metric {metric!r} is not measured: add it to metrics")
        raise unknown("metric to compare by", metric, measured)
    train = TrainOptions.from_config(config.get("train") or {})
    svdd = {name: _svdd(name, objective, config.get("svdd")) for name, objective in losses.items()}
    select = config.get("select") or ("last" if any(svdd.values()) else metric)
    if select not in (*measured, "loss", "last"):
        raise unknown("select", select, (*measured, "loss", "last"))
    if select == "last":
        _check_last(losses, train)
    options = dict(config["data"])
    if "name" not in options:
        raise ValueError(f"data: 'name' is missing; there are: {', '.join(data.SOURCES)}")
    dataset = options.pop("name")
    if "fold" in options:
        raise ValueError("data.fold: the seed decides the fold; say how many in data.folds")
    data.check_options(dataset, options)
    model = dict(config["model"])
    find("model", model.get("name", ""), models.MODELS)
    seeds = _seeds(config.get("seeds", 3), folds=options.get("folds"))
    filled = {
        "title": config.get("title") or f"{', '.join(losses)} on {dataset}",
        "question": config.get("question") or "Which loss is better on this data?",
        "data": dict(config["data"]),
        "augment": dict(config.get("augment") or {}),
        "preprocess": dict(config.get("preprocess") or {}),
        "model": model,
        "svdd": dict(config.get("svdd") or {}),
        "losses": losses,
        "baseline": baseline,
        "seeds": seeds,
        "metrics": measured,
        "metric": metric,
        "select": select,
        "train": dataclasses.asdict(train),
    }
    return Plan(filled, losses, seeds, measured, metric, baseline, train, select, svdd)


def _check_last(losses: Mapping[str, Mapping[str, Any]], train: TrainOptions) -> None:
    """Raises a ValueError for options that need a validation to go by where none is to choose."""
    if train.early_stopping_patience:
        raise ValueError(
            "train.early_stopping_patience: there is nothing to be patient with if the last "
            "checkpoint is selected; let select be 'loss' or a metric, whose labels then choose"
        )
    for name, objective in losses.items():
        for term in Objective.from_config(objective).terms.values():
            if train.plateau_patience and "labels" in inspect.signature(term.loss).parameters:
                raise ValueError(
                    f"train.plateau_patience: the loss of {name!r} reads labels, so that the rule "
                    "would follow those of the validation data; let select be 'loss' to allow it"
                )


def _svdd(name: str, objective: Mapping[str, Any], config: Any) -> SvddOptions | None:
    """The options of the sphere under a loss; None if nothing asks for one.

    A loss that has a nu of its own has it in its sphere, too.
    """
    terms = Objective.from_config(objective).terms.values()
    wanted = [term for term in terms if "center" in inspect.signature(term.loss).parameters]
    if config is None and not wanted:
        return None
    given = [term.options["nu"] for term in wanted if "nu" in term.options]
    for nu in given:
        if not isinstance(nu, int | float) or isinstance(nu, bool):
            raise ValueError(f"losses.{name}: nu: expected a number, got {nu!r}")
    shares = {float(nu) for nu in given}
    if len(shares) > 1:
        raise ValueError(f"losses.{name}: one sphere has one nu, got {sorted(shares)}")
    return SvddOptions.from_config({**(config or {}), **({"nu": shares.pop()} if shares else {})})


def _losses(config: Any) -> dict[str, Mapping[str, Any]]:
    """Objectives by name, as terms; a list of names is short for one term each."""
    if not isinstance(config, Mapping):
        config = {name: {"terms": {name: {}}} for name in _names("losses", config)}
    objectives = {}
    for name, objective in config.items():
        if not isinstance(objective, Mapping):
            raise ValueError(
                f"losses.{name}: expected {{'terms': ...}} or {{'loss': ...}}, got {objective!r}"
            )
        try:
            Objective.from_config(objective)
            objectives[name] = normal_form(objective)
        except ValueError as error:
            raise ValueError(f"losses.{name}: {error}") from error
    return objectives


def _metrics(config: Any) -> dict[str, Mapping[str, Any]]:
    """The options of each metric by its name; a list of names is short for no options."""
    if not isinstance(config, Mapping):
        allowed = "a list of names, or a mapping of names to options"
        config = dict.fromkeys(_names("metrics", config, allowed))
    chosen = {}
    for name, options in config.items():
        stream, options = metrics.get(name), {} if options is None else options
        if not isinstance(options, Mapping):
            raise ValueError(f"metrics.{name}: expected a mapping of options, got {options!r}")
        parameters = {
            option: parameter
            for option, parameter in inspect.signature(stream.empty).parameters.items()
            if option not in ("cases", "num_classes", "spacing")
        }
        for option in options:
            if option not in parameters:
                raise unknown(f"option of the metric {name}", option, parameters)
        for option, parameter in parameters.items():
            if parameter.default is parameter.empty and option not in options:
                raise ValueError(
                    f"metrics: {name!r} needs the option {option!r}: give the metrics as "
                    f'{{"{name}": {{"{option}": ...}}, ...}}'
                )
        try:
            jax.eval_shape(functools.partial(stream.empty, cases=1, num_classes=2, **options))
        except (ValueError, TypeError) as error:
            raise ValueError(f"metrics.{name}: {error}") from error
        chosen[name] = dict(options)
    return chosen


def _names(key: str, names: Any, allowed: str = "a list of names") -> tuple[str, ...]:
    """A list of names, none twice."""
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{key}: expected {allowed}, got {names!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"{key}: {list(names)} has a name twice")
    return tuple(names)


def _plain(place: str, value: Any) -> Any:
    """The value if it is one that JSON has: a run is named by a hash of its configuration."""
    if is_mapping(value):
        return {k: _plain(f"{place}.{k}", v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(f"{place}[{i}]", v) for i, v in enumerate(value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"{place.removeprefix('.')}: a configuration holds plain values, got {value!r}; write a "
        "scheduled weight as {'schedule': NAME, ...}"
    )


def _seeds(seeds: Any, *, folds: Any) -> tuple[int, ...]:
    values = tuple(range(seeds)) if _whole(seeds) else seeds
    good = isinstance(values, list | tuple) and all(_whole(s) and 0 <= s < 2**31 for s in values)
    if not values or not good:
        raise ValueError(
            "seeds: expected how many (at least 1) or a list of integers from 0 to 2**31 - 1, got "
            f"{seeds!r}"
        )
    if folds is not None and not _whole(folds):
        raise ValueError(f"data.folds: expected a number of folds, got {folds!r}")
    if len(set(values)) != len(values):
        raise ValueError(f"seeds: {list(values)} names a seed twice; it would count as two")
    if folds and len(values) > folds:
        raise ValueError(
            f"seeds: {len(values)} seeds, but the data allow {folds}: each seed is tested on a "
            "fold of its own. Ask for fewer seeds or for more folds (data.folds)"
        )
    return tuple(values)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
