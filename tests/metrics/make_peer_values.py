"""Writes what torchmetrics and MONAI give for the arrays of `peer_inputs.py`.

    python -m tests.metrics.make_peer_values

needs torch==2.13, torchmetrics==1.9.0 and monai==1.6.1; nothing of lossbench.
"""

import functools
import importlib.metadata
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from monai import metrics as monai
from torchmetrics import classification as streams
from torchmetrics import segmentation as segmentation_streams
from torchmetrics.functional import classification, segmentation

from tests.metrics.peer_inputs import (
    CLASSES,
    class_ids,
    ranked,
    small_scores,
    squared_distances,
)

FILE = Path(__file__).parent / "data" / "peer_values.json"
LIMIT = 0.4
MONAI_NAMES = {
    "precision": "precision",
    "recall": "sensitivity",
    "specificity": "specificity",
    "f_beta": "f1 score",
    "mcc": "matthews correlation coefficient",
}


def listed(x):
    return np.asarray(x, np.float64).tolist()


def one_hot(ids):
    return torch.nn.functional.one_hot(ids, CLASSES).movedim(-1, 1)


def by_torchmetrics(predictions, labels):
    """One value an example and class, or one an example."""
    options = {"num_classes": CLASSES, "input_format": "index"}
    each = {"num_classes": CLASSES, "average": None}

    def of_cases(function, **options):
        pairs = zip(predictions, labels, strict=True)
        return listed(torch.stack([function(p.ravel(), t.ravel(), **options) for p, t in pairs]))

    generalized = functools.partial(segmentation.generalized_dice_score, **options)
    alone = [generalized(p[None], t[None])[0] for p, t in zip(predictions, labels, strict=True)]
    return {
        "dice": listed(segmentation.dice_score(predictions, labels, average="none", **options)),
        "dice, micro": listed(
            segmentation.dice_score(predictions, labels, average="micro", **options)
        ),
        "iou": listed(segmentation.mean_iou(predictions, labels, per_class=True, **options)),
        "jaccard": of_cases(classification.multiclass_jaccard_index, **each),
        "precision": of_cases(classification.multiclass_precision, **each),
        "recall": of_cases(classification.multiclass_recall, **each),
        "specificity": of_cases(classification.multiclass_specificity, **each),
        "f_beta": of_cases(classification.multiclass_fbeta_score, beta=1.0, **each),
        "f_beta 2": of_cases(classification.multiclass_fbeta_score, beta=2.0, **each),
        "accuracy": of_cases(
            classification.multiclass_accuracy, num_classes=CLASSES, average="micro"
        ),
        "cohen_kappa": of_cases(classification.multiclass_cohen_kappa, num_classes=CLASSES),
        "mcc": of_cases(classification.multiclass_matthews_corrcoef, num_classes=CLASSES),
        "confusion_matrix": of_cases(
            classification.multiclass_confusion_matrix, num_classes=CLASSES
        ),
        "generalized_dice": listed(generalized(predictions, labels)),
        "generalized_dice, one at a time": listed(torch.stack(alone)),
    }


def by_monai(predictions, labels):
    masks = one_hot(predictions), one_hot(labels)
    table = monai.get_confusion_matrix(*masks)
    rates = {
        name: listed(monai.compute_confusion_matrix_metric(theirs, table))
        for name, theirs in MONAI_NAMES.items()
    }
    means = {}
    for reduction in ("mean", "mean_batch"):
        metric = monai.DiceMetric(reduction=reduction, include_background=False)
        metric(*masks)
        means[f"dice, {reduction}"] = listed(metric.aggregate())
    nothing = monai.DiceMetric(include_background=False)
    nothing(*(mask[4:, :2] for mask in (one_hot(predictions * 0), one_hot(labels * 0))))
    return {
        "dice": listed(monai.compute_dice(*masks)),
        "dice, ignore_empty=False": listed(monai.compute_dice(*masks, ignore_empty=False)),
        "iou": listed(monai.compute_iou(*masks)),
        "dice, nothing defined": listed(nothing.aggregate()),
        **rates,
        **means,
    }


def streamed(predictions, labels):
    """The same examples in batches of 4 and 1, and once with the last one again as padding."""
    make = {
        "dice": lambda: segmentation_streams.DiceScore(CLASSES, input_format="index"),
        "iou": lambda: segmentation_streams.MeanIoU(CLASSES, input_format="index"),
        "generalized_dice": lambda: segmentation_streams.GeneralizedDiceScore(
            CLASSES, input_format="index"
        ),
    }
    splits = {"4 and 1": [[0, 1, 2, 3], [4]], "padded": [[0, 1, 2, 3], [4, 4, 4, 4]]}
    splits["one by one"] = [[i] for i in range(5)]
    found = {}
    for name, metric in make.items():
        for split, batches in splits.items():
            stream = metric()
            for batch in batches:
                stream.update(predictions[batch], labels[batch])
            found[f"{name}, {split}"] = float(stream.compute())
    return found


def rankings_of():
    """What each gives for every row: of scores as they are, and of their ranks from 0 to 1."""
    functions = {
        "torchmetrics": {
            "roc_auc": classification.binary_auroc,
            "average_precision": classification.binary_average_precision,
            "partial_auc": functools.partial(classification.binary_auroc, max_fpr=LIMIT),
        },
        "monai": {
            "roc_auc": monai.compute_roc_auc,
            "average_precision": monai.compute_average_precision,
        },
    }
    table = {library: {name: {} for name in each} for library, each in functions.items()}
    for name, scores, ranks, labels in ranked():
        for library, each in functions.items():
            for metric, function in each.items():
                truth = torch.from_numpy(labels.astype(np.int64))
                values = {}
                for kind, given in (("ranks", ranks), ("scores", scores)):
                    if len(given) and np.isfinite(given).all():
                        values[kind] = value_of(function, torch.from_numpy(given), truth)
                table[library][metric][name] = values
    return table


def value_of(function, scores, labels):
    """The value; the name of the error if there is none."""
    try:
        return float(function(scores, labels))
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError, AssertionError) as error:
        return type(error).__name__


def curves():
    found = {}
    for name, _, ranks, labels in ranked():
        if name in ("random", "tied"):
            given = torch.from_numpy(ranks), torch.from_numpy(labels.astype(np.int64))
            fpr, tpr, _ = classification.binary_roc(*given)
            precision, recall, _ = classification.binary_precision_recall_curve(*given)
            found[name] = {
                "roc": [listed(fpr), listed(tpr)],
                "pr": [listed(precision.flip(0)), listed(recall.flip(0))],
            }
    return found


def squashed():
    scores, labels = squared_distances()
    given = torch.from_numpy(scores), torch.from_numpy(labels.astype(np.int64))
    few, truth = (torch.from_numpy(x) for x in small_scores())
    streamed = streams.BinaryAUROC()
    for score, label in zip(few, truth.long(), strict=True):
        streamed.update(score[None], label[None])
    return {
        "squared distances": {
            "torchmetrics": float(classification.binary_average_precision(*given)),
            "monai": float(monai.compute_average_precision(*given)),
        },
        "one by one": float(streamed.compute()),
        "together": float(classification.binary_auroc(few, truth.long())),
    }


def main():
    warnings.simplefilter("ignore")
    predictions, labels = (torch.from_numpy(x) for x in class_ids())
    content = {
        "versions": {x: importlib.metadata.version(x) for x in ("torchmetrics", "monai")},
        "torchmetrics": by_torchmetrics(predictions, labels),
        "monai": by_monai(predictions, labels),
        "streams": streamed(predictions, labels),
        "rankings": rankings_of(),
        "curves": curves(),
        "squashed": squashed(),
    }
    FILE.write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
