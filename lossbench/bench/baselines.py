"""Detectors that are fitted and not trained, on the data of a comparison, for a row beside it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lossbench import metrics
from lossbench.bench.compare import compare
from lossbench.bench.plan import make_plan
from lossbench.bench.results import COMPLETED, load
from lossbench.data import Dataset, Source, wholes

# Rows `n features` -> a function that scores rows, of which higher is more anomalous.
Fit = Callable[[np.ndarray], Callable[[np.ndarray], Any]]


def baseline_aucs(dataset: Dataset, fits: Mapping[str, Fit]) -> dict[str, float]:
    """The area under the ROC curve of each detector on the test data.

    Each is fitted to all pixels, or rows, of the training data that count, as a trained model is;
    labels have no other say.

    Args:
        dataset: of anomalies: class 0 is normal.
        fits: how each is fitted.

    Returns:
        For each the mean over cases of the area; NaN where no case has both classes.
    """
    learned, tested = training_rows(dataset.train), _cases(dataset.test)
    areas = {}
    for name, fit in fits.items():
        score = fit(learned)
        found = []
        for rows, labels in tested:
            if 0 < labels.sum() < labels.size:
                scores = jnp.asarray(np.asarray(score(rows)), jnp.float32)
                found.append(float(metrics.roc_auc(scores[None], jnp.asarray(labels)[None]).mean))
        areas[name] = float(np.mean(found)) if found else float("nan")
    return areas


def training_rows(source: Source) -> np.ndarray:
    """All that counts of a source, as rows; of what is drawn at random all it is drawn from."""
    return np.concatenate([_rows(example)[0] for example in wholes(source)])


def _cases(source: Source) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of each case, and which are anomalous."""
    parts: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in source.names]
    for i in range(len(source)):
        example = source[i]
        parts[int(example["case"])].append(_rows(example))
    return [
        (np.concatenate([rows for rows, _ in part]), np.concatenate([labels for _, labels in part]))
        for part in parts
        if part
    ]


def _rows(example: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    image, labels = example["image"], example["labels"]
    where = example.get("where", np.ones(labels.shape, bool))
    if where.ndim == 0:  # one label an image: the whole of it is a row
        kept = image.reshape(1, -1)[: int(where)]
        return kept, np.full(len(kept), bool(labels != 0))
    return image[where], labels[where] != 0


def side_by_side(
    configs: Mapping[str, Mapping[str, Any]],
    fits: Mapping[str, Fit],
    folder: Path,
    *,
    command: str,
    say: Callable[[str], None] = print,
) -> str:
    """Runs a comparison for each data set, and writes one table of them with the baselines.

    Args:
        configs: the configuration of a comparison by the name of its data set; its metric is
            `roc_auc`.
        fits: detectors for a column each.
        folder: of the comparisons, each in a folder of its own; the table is `table.md`.
        command: what a reader types to repeat it.
        say: is told what goes on.

    Returns:
        The table, in Markdown: for each loss the mean over its runs that completed and, behind it,
        the lowest and the highest; how many runs of all did not complete, as those that collapsed.
    """
    rows: list[list[str]] = []
    sums: list[list[float]] = []
    losses: list[str] = []
    for name, config in configs.items():
        plan = make_plan(config)
        losses = losses or list(plan.losses)
        say(f"{name}: {folder / name}")
        compare(plan, folder / name, command=command, say=say)
        found = load(folder / name)
        areas = baseline_aucs(plan.dataset(plan.seeds[0]), fits)
        scores = found.scores("roc_auc")
        ended = sum(run.state == COMPLETED for run in found.runs)
        means = [float(np.nanmean(scores[loss])) for loss in losses]
        cells = [
            f"{mean:.3f} [{np.nanmin(scores[loss]):.3f}, {np.nanmax(scores[loss]):.3f}]"
            for loss, mean in zip(losses, means, strict=True)
        ]
        sums.append([*means, *areas.values()])
        missing = len(found.runs) - ended
        rows.append([name, *cells, *(f"{area:.3f}" for area in areas.values()), str(missing)])
    mean = [f"{value:.3f}" for value in np.mean(sums, axis=0)]
    rows.append(["mean", *mean, ""])
    head = ["data", *losses, *fits, "runs not completed"]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    (folder / "table.md").write_text(f"{table}\n", encoding="utf-8")
    return table
