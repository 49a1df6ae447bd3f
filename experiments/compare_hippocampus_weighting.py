"""Does a weighting of Dice, cross entropy and boundary beat their sum on the hippocampus?

    lossbench compare --config=experiments/compare_hippocampus_weighting.py --config.data.path=PATH
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
