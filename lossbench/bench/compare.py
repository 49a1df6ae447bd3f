"""A comparison: every loss under every seed, then the report."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lossbench
from lossbench import metrics, models
from lossbench._names import find, unknown
from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.bench.files import plain, write_json
from lossbench.bench.plan import Plan, RunSpec
from lossbench.bench.report import write_report
from lossbench.bench.run import execute, finished
from lossbench.data import Dataset, Example, RandomSource, Source, augmentation, training_batches
from lossbench.models import check_svdd
from lossbench.objective import Objective
from lossbench.training.evaluate import check_pieces
from lossbench.training.pretraining import Pretrained
from lossbench.training.program import Init, Program, build_init, build_program
from lossbench.training.trainable import trained_from
from lossbench.weighting.gradients import named

Say = Callable[[str], None]


def compare(plan: Plan, folder: Path, *, command: str, say: Say) -> Path:
    """Runs what has not run yet and writes the report.

    Losses share data, initialization, batch order and augmentation within a seed. Seeds are the
    outer loop: a comparison that is cut short has whole pairs.

    Args:
        plan: what to run.
        folder: where to, made only once everything has been checked.
        command: what a reader types to repeat it.
        say: is told what goes on.

    Returns:
        The path of the report.

    Raises:
        ValueError: if data or configuration cannot run; nothing has been written then.
    """
    bench = open_bench(plan, folder, say=say)
    for (loss, _), spec in bench.specs.items():
        if not finished(bench.run_folder(spec)):
            bench.program(loss)  # before any folder is made: a bad option is found while tracing
    record = bench.record(command)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "plan.json").exists() and read_config(folder) != plain(record["config"]):
        say(f"{folder} held another comparison: its report is replaced, its runs stay")
    write_json(folder / "plan.json", record)
    for number, (loss, seed) in enumerate(bench.specs, start=1):
        bench.run(loss, seed, place=f"[{number}/{len(bench.specs)}] ")
    return write_report(folder)


def read_config(folder: Path) -> Any:
    """The configuration of the comparison in a folder; None if it cannot be read."""
    try:
        return json.loads((folder / "plan.json").read_text())["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclasses.dataclass
class Bench:
    """A plan with its data and the programs compiled so far."""

    plan: Plan
    folder: Path
    datasets: Mapping[int, Dataset]
    specs: Mapping[tuple[str, int], RunSpec]
    say: Say
    programs: dict[str, Program | Exception] = dataclasses.field(default_factory=dict)
    models: dict[SvddOptions | None, tuple[Any, Init]] = dataclasses.field(default_factory=dict)

    def run(self, loss: str, seed: int, *, place: str = "") -> dict[str, Any]:
        """Runs one run, or finds it finished; `place` heads its progress."""
        spec = self.specs[loss, seed]
        folder = self.run_folder(spec)
        label = f"{place}{loss}, seed {seed}"
        before = finished(folder)
        if before:
            self.say(f"{label}: finished before")
            return before
        result = execute(
            spec, self.plan, self.datasets[seed], self.program(loss), folder, label=label
        )
        if result["error"]:
            self.say(f"{label}: {result['state']}: {result['error']['message']}")
        return result

    def run_folder(self, spec: RunSpec) -> Path:
        """Where a run lies."""
        return self.folder / "runs" / spec.id

    def program(self, loss: str) -> Program | Exception:
        """The compiled functions of a loss, for all its seeds.

        Raises:
            ValueError: if the objective does not fit the data; it names the loss.
        """
        if loss not in self.programs:
            self.programs[loss] = self._compile(loss)
        return self.programs[loss]

    def _compile(self, loss: str) -> Program | Exception:
        plan, dataset = self.plan, next(iter(self.datasets.values()))
        batch_size = plan.train.batch_size
        example = dataset.train[0]
        batch = {name: np.repeat(x[None], batch_size, axis=0) for name, x in example.items()}
        sphere = plan.svdd[loss]
        if sphere not in self.models:
            model = detector(plan, dataset, sphere)
            self.models[sphere] = (model, build_init(model, plan.train))
        model, init = self.models[sphere]
        try:
            program = build_program(
                model,
                Objective.from_config(plan.losses[loss]),
                plan.train,
                init=init,
                streams=plan.metrics,
                batch=batch,
                num_classes=len(dataset.class_names),
                cases=max(
                    len(s.names) for d in self.datasets.values() for s in (d.validation, d.test)
                ),
                spacing=dataset.spacing,
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f"losses.{loss}: {error}") from error
        except Exception as error:  # out of memory, say: a row of the report
            return error
        cached = ", from the cache" if program.compile_from_cache else ""
        self.say(f"{loss}: compiled in {program.compile_seconds:.1f} s{cached}")
        return program

    def record(self, command: str) -> dict[str, Any]:
        """The plan as a file."""
        plan, dataset = self.plan, next(iter(self.datasets.values()))
        return {
            "title": plan.config["title"],
            "question": plan.config["question"],
            "command": command,
            "baseline": plan.baseline,
            "metric": plan.metric,
            "metrics": {
                name: {**meaning(name, dataset), "options": options}
                for name, options in plan.metrics.items()
            },
            "losses": plan.losses,
            "seeds": plan.seeds,
            "data": {
                "name": dataset.name,
                "description": dataset.description,
                "class_names": dataset.class_names,
                "spacing": dataset.spacing,
                "train": len(dataset.train.names),
                "validation": len(dataset.validation.names),
                "test": len(dataset.test.names),
                "folds": plan.folds,
                "folds_share_cases": dataset.folds_share_cases,
                "folds_are_tasks": dataset.folds_are_tasks,
            },
            "config": plan.config,
            "runs": [
                {"id": s.id, "loss": loss, "seed": seed} for (loss, seed), s in self.specs.items()
            ],
            "lossbench": lossbench.__version__,
        }


def open_bench(plan: Plan, folder: Path, *, say: Say) -> Bench:
    """Reads the data of a plan and names its runs.

    Raises:
        ValueError: if the data cannot be used.
        FileNotFoundError: if it is not there.
    """
    if plan.folds:
        datasets = {seed: plan.dataset(seed) for seed in plan.seeds}
    else:
        datasets = dict.fromkeys(plan.seeds, plan.dataset(plan.seeds[0]))
    for dataset in {id(d): d for d in datasets.values()}.values():
        check_examples(dataset)
        for part in (dataset.validation, dataset.test):
            check_pieces({name: metrics.get(name) for name in plan.metrics}, part)
        # Raise for a batch larger than the data, and for an augmentation that there is none of.
        training_batches(dataset.train, batch_size=plan.train.batch_size, seed=0).close()
        augmentation(plan.config["augment"], dataset.train[0]["labels"].ndim)
    specs = {}
    for seed in plan.seeds:
        mark = fingerprint(datasets[seed])
        for loss in plan.losses:
            specs[loss, seed] = plan.run(loss, seed, mark)
    return Bench(plan, folder, datasets, specs, say)


def meaning(metric: str, dataset: Dataset) -> dict[str, Any]:
    """What a number of a metric says: which way is better, and its unit (of a share there is none).

    The report is made from files alone, without the metric itself.
    """
    stream = metrics.get(metric)
    length = "mm" if dataset.spacing else "pixels"
    return {
        "higher_is_better": stream.higher_is_better,
        "unit": length if stream.is_length else "",
    }


def build_model(name: str, options: Mapping[str, Any], dataset: Dataset) -> Any:
    """A model for a data set.

    Raises:
        ValueError: for an option that the model does not have.
    """
    module = find("model", name, models.MODELS)
    known = [
        field.name for field in dataclasses.fields(module) if field.name not in ("parent", "name")
    ]
    for option in options:
        if option not in known:
            raise unknown(f"option of the model {name}", option, known)
    dims = dataset.train[0]["labels"].ndim
    defaults = {"num_classes": len(dataset.class_names), "dims": dims}
    return module(**{**{k: v for k, v in defaults.items() if k in known}, **options})


def detector(plan: Plan, dataset: Dataset, svdd: SvddOptions | None) -> Any:
    """The model of a plan, behind its preprocessing and inside its sphere.

    Raises:
        ValueError: for an option that does not fit the model or the data.
    """
    options = {k: v for k, v in plan.config["model"].items() if k != "name"}
    model = build_model(plan.config["model"]["name"], options, dataset)
    encoder, steps = model, plan.config["preprocess"]
    if svdd is not None and svdd.pretrain_steps:
        model = Pretrained(model, svdd)
    if steps:
        pipeline = Pipeline.from_config(steps, wavelengths=dataset.wavelengths)
        model = Preprocessed(pipeline, model)
    if svdd is None:
        return model
    return DeepSvdd(
        model,
        svdd,
        warmup_steps=int(svdd.warmup * plan.train.steps),
        checks=functools.partial(_check, encoder=encoder, plan=plan, allow=svdd.allow),
    )


def _check(params: Any, center: Any, *, encoder: Any, plan: Plan, allow: Sequence[str]) -> None:
    """Refuses an encoder that admits the collapse; of the parameters those that are trained."""
    held = () if plan.train.trainable else ("preprocessing/*",)
    names = named({name: tree for name, tree in params.items() if name != "svdd"})
    trained = {
        name: leaf
        for name, leaf in names.items()
        if trained_from(name, plan.train.trainable, held) is not None
    }
    check_svdd(trained, encoder, center, allow=allow)


def check_examples(dataset: Dataset) -> None:
    """Raises a ValueError for an example that would be trained on or scored without sense.

    Of a part of more than a GiB, examples at even distances are looked at.
    """
    classes = len(dataset.class_names)
    if dataset.spacing and len(dataset.spacing) != dataset.train[0]["labels"].ndim:
        raise ValueError(
            f"data: spacing {dataset.spacing} does not fit labels of shape "
            f"{dataset.train[0]['labels'].shape}; it needs one length an axis"
        )
    if dataset.spacing and not all(0 < length < math.inf for length in dataset.spacing):
        raise ValueError(
            f"data: spacing {dataset.spacing} has a length that is not above 0 and finite"
        )
    for part in ("train", "validation", "test"):
        source = getattr(dataset, part)
        for i in _looked_at(source, source[0]):
            example = source[i]
            where, labels, image = (example[name] for name in ("where", "labels", "image"))
            at = f"data: {part} case {source.names[int(example['case'])]!r}"
            space = image.shape[:-1]
            # One label an image, of which the example is all pixels, has no space.
            if labels.shape not in (space, ()) or where.shape != labels.shape:
                raise ValueError(
                    f"{at}: expected image *space channels, labels and where *space; got "
                    f"{image.shape}, {labels.shape}, {where.shape}"
                )
            counted = labels[where]
            if counted.size and not 0 <= counted.min() <= counted.max() < classes:
                raise ValueError(
                    f"{at} has labels from {counted.min()} to {counted.max()}, but there are "
                    f"{classes} classes (0..{classes - 1}); what is not to count needs where=False"
                )
            if not np.isfinite(image).all():
                raise ValueError(f"{at}: the image is not finite")


def fingerprint(dataset: Dataset) -> str:
    """A hash of what the data is: a corrected label makes another run of it.

    Every case's name counts, and every case to the bit; of a part of more than a GiB, cases at
    even distances.
    """
    digest = hashlib.sha256(repr(dataset.class_names).encode())
    for source in (dataset.train, dataset.validation, dataset.test):
        digest.update(repr((source.names, len(source))).encode())
        # Of a case that is cropped at random, all of it counts, once.
        get = source.whole if isinstance(source, RandomSource) else source.__getitem__
        number = getattr(source, "case", int)
        for i in _looked_at(source, get(0)):
            if i and number(i) == number(i - 1):
                continue
            for name, array in sorted(get(i).items()):
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _looked_at(source: Source, example: Example) -> range:
    """All indices of a source; of one larger than a GiB some, at even distances."""
    size = len(source) * sum(array.nbytes for array in example.values())
    return range(0, len(source), 1 + size // 2**30)
