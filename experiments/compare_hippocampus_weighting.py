"""Does a weighting of Dice, cross entropy and boundary beat their sum on the hippocampus?

    lossbench compare --config=experiments/compare_hippocampus_weighting.py --config.data.path=PATH

PATH is the task folder of the Medical Segmentation Decathlon; data and model are those of
`compare_hippocampus_boundary.py`, the training is half as long: 200 steps of batch 2. The 15 runs
took an hour on 2 busy CPU cores (jax 0.10.2). Mean test Dice over three seeds [95 %]:

    sum               .854 [.846, .863]
    by_hand           .852 [.841, .862]   -.002 [-.014, +.009]   not told apart (p = .777)
    softmax           .839 [.810, .868]   -.015 [-.052, +.021]   not told apart (p = .646)
    last_layer_ratio  .856 [.853, .858]   +.002 [-.004, +.008]   not told apart (p = .777)
    upgrad            .848 [.840, .856]   -.006 [-.012,  .000]   not told apart (p = .178)

So no: none of them gains anything that could be told from nothing. The learned softmax ended with
.23 : .86 : 1.9, most of it on the boundary loss, which has the smallest values; the balance of
gradients at the last layer gave it 120 to 150 times the weight of Dice, and did no harm.
"""

from ml_collections.config_dict import placeholder

TERMS = {"dice": {}, "cross_entropy": {}, "boundary": {}}


def get_config() -> dict:
    def weighted(weighting: dict) -> dict:
        return {"terms": TERMS, "weighting": weighting}

    # The order here is that of the report.
    return {
        "title": "Weightings of three losses on the hippocampus",
        "question": "Does a weighting of Dice, cross entropy and boundary beat their sum?",
        "data": {
            "name": "decathlon",
            "path": "Task04_Hippocampus",
            # Holds the largest case (42 x 58 x 45): a surface distance needs a case in one piece.
            "patch": (44, 60, 48),
            "seed": 0,
            "validation": 0.1,
            "test": placeholder(float),  # 0.2, or what `folds` says
            "folds": placeholder(int),
        },
        "augment": {"brightness": 0.1, "contrast": 0.1, "noise": 0.05},
        "model": {"name": "unet", "features": (8, 16, 32)},
        "losses": {
            "sum": {"terms": TERMS},
            "by_hand": {"terms": {**TERMS, "boundary": {"weight": 10.0}}},
            # The boundary loss is negative for a good answer: weightings that take logarithms or
            # ratios (uncertainty, dwa, gradnorm, ...) refuse it.
            "softmax": weighted({"type": "softmax", "total": 3.0}),
            "last_layer_ratio": weighted({"type": "last_layer_ratio", "shared": "head_1/*"}),
            "upgrad": weighted({"type": "upgrad"}),
        },
        "baseline": "sum",
        "seeds": 3,
        # A class that was not found costs the diagonal of the padded patch (44 x 60 x 48, about 90
        # mm), instead of being left out.
        "metrics": {"dice": {}, "hd95": {"empty": "worst"}},
        "metric": "dice",
        "train": {
            "steps": 200,
            "batch_size": 2,
            "learning_rate": 4e-3,
            "warmup_steps": 20,
            "clip_norm": 1.0,
            "eval_every": 50,
        },
    }
