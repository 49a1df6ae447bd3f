"""Three bands out of 64: does it help to ask that they be distinct?

    lossbench compare --config=experiments/band_selection.py

A Gumbel-softmax selector (the Concrete distribution) picks three bands while its temperature
falls, a small network behind it finds the anomalous pixels of synthetic scenes by IoU (Jaccard)
loss. With distinctness the mean cosine between the three rows of weights is a cost. Evaluation
sees exactly the bands that were picked; the report draws them. On 2 CPU cores all of it takes 3
to 4 minutes.

Expect (jax 0.10.2, CPU, five seeds): an IoU of .29 [-.10, .67] without and .52 [.17, .87] with
distinctness, and no verdict: of five runs, three without and one with distinctness found next to
nothing, and the others reached .6 to .7 under either loss.
"""


def get_config() -> dict:
    steps = 600
    iou = {"jaccard": {"activation": "sigmoid"}}
    return {
        "title": "Three bands out of 64",
        "question": "Does asking for distinct bands find more anomalous pixels?",
        "data": {"name": "scenes", "train_on": "all"},
        "preprocess": {"z_score": {}},
        "model": {
            "name": "band_selector",
            "num_classes": 1,
            "bands": 3,
            "head": "pixel",
            "steps": steps,
        },
        "losses": {
            "iou": {"terms": iou},
            "iou_distinctness": {"terms": {**iou, "distinctness": {"weight": 0.1}}},
        },
        "baseline": "iou",
        "seeds": 5,
        "metrics": ("iou", "average_precision", "roc_auc"),
        "metric": "iou",
        "train": {
            "steps": steps,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "eval_every": 100,
        },
    }
