"""Which loss segments the anterior and the posterior hippocampus in T1 MRI best?

    lossbench compare --config=experiments/compare_hippocampus.py --config.data.path=PATH

PATH is a task folder of the Medical Segmentation Decathlon: `dataset.json`, `imagesTr`, `labelsTr`.
208 cases: 145 to train, 21 to choose the checkpoint, 42 to test, by seed 0. A 3D U-Net (85k
parameters), 400 steps of batch 2.

One run, `lossbench train` with the same `--config` and `--loss=dice_cross_entropy`, took 84 s on 2
CPU cores (jax 0.10.2) and reached a mean test Dice of .874 (anterior) and .865 (posterior). The
comparison, four losses under three seeds, took 19 minutes on a busy machine. Mean test Dice [95 %]:

    cross_entropy       .868 [.859, .877]
    dice                .873 [.870, .876]   +.005 [-.006, +.015]   not told apart
    dice_cross_entropy  .874 [.863, .885]   +.006 [+.002, +.010]   not told apart (p = .073, Holm)
    focal               .859 [.843, .875]   -.009 [-.020, +.001]   not told apart
"""

from ml_collections.config_dict import placeholder


def get_config() -> dict:
    # The order here is that of the report.
    return {
        "title": "Four losses on the hippocampus",
        "question": "Which loss segments anterior and posterior hippocampus in T1 MRI best?",
        "data": {
            "name": "decathlon",
            "path": "Task04_Hippocampus",
            "patch": (40, 56, 40),
            "seed": 0,
            "validation": 0.1,
            "test": placeholder(float),  # 0.2, or what `folds` says
            "folds": placeholder(int),
        },
        "augment": {"brightness": 0.1, "contrast": 0.1, "noise": 0.05},
        "model": {"name": "unet", "features": (8, 16, 32)},
        "losses": {
            "cross_entropy": {"terms": {"cross_entropy": {}}},
            "dice": {"terms": {"dice": {}}},
            "focal": {"terms": {"focal": {"gamma": 2.0}}},
            "dice_cross_entropy": {"terms": {"dice": {}, "cross_entropy": {}}},
        },
        "baseline": "cross_entropy",
        "seeds": 3,
        "metrics": ("dice", "iou"),
        "metric": "dice",
        "train": {
            "steps": 400,
            "batch_size": 2,
            "learning_rate": 4e-3,
            "warmup_steps": 20,
            "clip_norm": 1.0,
            "eval_every": 100,
        },
    }
