"""Does a boundary loss bring the surfaces of the hippocampus closer than Dice + cross entropy does?

    lossbench compare --config=experiments/compare_hippocampus_boundary.py --config.data.path=PATH

The weight that shifts does so over `STEPS` below; it does not follow --config.train.steps.

PATH is the task folder of the Medical Segmentation Decathlon, data, model and training are those of
`compare_hippocampus.py`, but the patch holds every case whole, as a surface distance needs it. The
checkpoint is chosen, and losses are compared, by the Hausdorff distance at the 95th percentile.

The boundary loss goes with Dice in two ways: with a fixed weight, in the normalized form; or as the
paper has it, in the unit of the spacing, with a weight that shifts from Dice to the boundary
(`losses.boundary_schedule`, here in steps of one update over the 400 of the training). The fixed
weight was set before any run, to 10, where both terms pull about equally at the logits of a
half-trained model; nothing was tuned.

Nothing is gained. Nine runs took 45 minutes on 2 busy CPU cores (jax 0.10.2). Test HD95 in mm
[95 %], lower is better:

    dice_cross_entropy  1.603 [1.457, 1.749]
    dice_boundary       1.607 [1.410, 1.804]   +.004 [-.124, +.133]   not told apart (p = .896)
    dice_to_boundary    1.665 [1.534, 1.795]   +.062 [-.090, +.214]   not told apart (p = .441)

The intervals leave room for a tenth to a fifth of a voxel of 1 mm; of the shift, all three
seeds came out worse, by .01 to .13 mm. Test Dice, which nothing was chosen by, is .869, .868 and
.866. Five of nine runs were best at their last validation, so longer training may say otherwise.
The paper's objects are smaller against their background than these, 5 % of the voxels.
"""

from ml_collections.config_dict import placeholder

STEPS = 400


def shift(start: float, end: float) -> dict:
    """A weight that goes evenly from one value to another, over `STEPS` whatever `train` says."""
    return {
        "schedule": "linear_schedule",
        "init_value": start,
        "end_value": end,
        "transition_steps": STEPS,
    }


def get_config() -> dict:
    # The order here is that of the report.
    return {
        "title": "The boundary loss on the hippocampus",
        "question": "Does a boundary loss bring the hippocampus's surfaces closer to the truth?",
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
            "dice_cross_entropy": {"terms": {"dice": {}, "cross_entropy": {}}},
            "dice_boundary": {"terms": {"dice": {}, "boundary": {"weight": 10.0}}},
            "dice_to_boundary": {
                "terms": {
                    "dice": {"weight": shift(1.0, 0.01)},
                    "boundary": {"weight": shift(0.0, 0.99), "normalize": False},
                }
            },
        },
        "baseline": "dice_cross_entropy",
        "seeds": 3,
        # A class that was not found costs the diagonal of the padded patch (44 x 60 x 48, about 90
        # mm), instead of being left out.
        "metrics": {"hd95": {"empty": "worst"}, "dice": {}},
        "metric": "hd95",
        "train": {
            "steps": STEPS,
            "batch_size": 2,
            "learning_rate": 4e-3,
            "warmup_steps": 20,
            "clip_norm": 1.0,
            "eval_every": 100,
        },
    }
