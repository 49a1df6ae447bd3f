"""A weight for every band of a hyperspectral camera: what do entropy and diversity do to it?

    lossbench compare --config=experiments/channel_selector.py

A soft selector weighs 64 bands, a small network behind it finds the anomalous pixels of synthetic
scenes. Cross entropy alone, with the entropy of the weights kept high and their diversity asked
for, as cuvis-ai has it, and with the entropy made low, which asks for few bands. The report draws
the learned weights. On 2 CPU cores all of it takes 3 to 4 minutes.

Expect (jax 0.10.2, CPU, five seeds): no difference that can be told. Average precision .9946 for
cross entropy alone, .9937 with entropy and diversity, .9966 with few bands (+.0020 [+.0002,
+.0037], p = .08 with two comparisons).
"""


def get_config() -> dict:
    steps = 400
    bce = {"binary_cross_entropy": {"pos_weight": 10.0}}
    spread = {"loss": "selector_entropy", "weight": 0.01, "goal": "maximize"}
    few = {"loss": "selector_entropy", "weight": 0.02, "goal": "minimize"}
    diverse = {"loss": "selector_diversity", "weight": 0.01}
    return {
        "title": "A learned weight for every band",
        "question": "Do entropy and diversity of the weights of bands change what is found?",
        "data": {"name": "scenes", "train_on": "all"},
        "preprocess": {"z_score": {}},
        "model": {"name": "channel_selector", "num_classes": 1, "end": 1.0, "steps": steps},
        "losses": {
            "bce": {"terms": bce},
            "bce_entropy_diversity": {"terms": {**bce, "entropy": spread, "diversity": diverse}},
            "bce_few_bands": {"terms": {**bce, "entropy": few}},
        },
        "baseline": "bce",
        "seeds": 5,
        "metrics": ("average_precision", "roc_auc", "iou"),
        "metric": "average_precision",
        "train": {
            "steps": steps,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "eval_every": 100,
        },
    }
