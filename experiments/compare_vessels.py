"""Does clDice, added to Dice, segment the vessels of the retina better?

    lossbench compare --config=experiments/compare_vessels.py --config.data.path=PATH

PATH is the folder of CHASE_DB1: `Image_01L.jpg`, `Image_01L_1stHO.png` and so on. The public set
has 28 photographs of 14 children; the run below had the 20 of 10 children that were at hand, so who
downloads all of it gets another split and other numbers. Both eyes of a child are on the same side:
12 photographs to train, 2 to choose the checkpoint, 6 to test, by seed 0. A small U-Net (29k
parameters) on the green channel, 400 steps of 2 patches of 192x192 pixels; evaluation on whole
images. Dice against 0.9 Dice + 0.1 clDice, and against half of each, which is the default of the
authors' code and of MONAI.

The comparison, three losses under three seeds, took 19 minutes on 2 CPU cores that others kept busy
(jax 0.10.2). No gain: with so few steps a little clDice changes nothing that could be seen, and
half of it does harm. Mean test Dice [95 %]:

    dice             .678 [.581, .774]
    dice_cl_dice_10  .666 [.587, .744]   -.012 [-.093, +.069]   not told apart (p = .589)
    dice_cl_dice_50  .517 [.474, .560]   -.161 [-.270, -.052]   worse (p = .048, Holm)

clDice as a metric, for which vessels count by their length, does not tell the same predictions
apart: .670 [.551, .789]; +.001 [-.073, +.075]; -.094 [-.239, +.052]. With half a clDice twice
as many pixels are predicted as there are vessels: vessels are too wide, which a centerline does not
feel, and the rim of the field of view is one, too. The second observer reaches a Dice of .77 on
these six images (.768 on all 20); every run was best at its last step, so longer training may
decide otherwise.
"""


def get_config() -> dict:
    region = {"include_background": False}  # clDice leaves the background out by default
    # The order here is that of the report.
    return {
        "title": "Dice with and without clDice on retinal vessels",
        "question": "Does clDice, added to Dice, segment the vessels of the retina better?",
        "data": {
            "name": "chase_db1",
            "path": "chase_db1",
            "observer": 1,
            "channels": "G",
            "patch": (192, 192),
            "foreground": 0.5,
            "seed": 0,
            "validation": 1,
            "test": 3,
        },
        "augment": {"flip": True, "brightness": 0.2, "contrast": 0.2, "gamma": 0.2},
        "model": {"name": "unet", "features": (8, 16, 32)},
        "losses": {
            "dice": {"terms": {"dice": region}},
            "dice_cl_dice_10": {
                "terms": {"dice": region | {"weight": 0.9}, "cl_dice": {"weight": 0.1}}
            },
            "dice_cl_dice_50": {
                "terms": {"dice": region | {"weight": 0.5}, "cl_dice": {"weight": 0.5}}
            },
        },
        "baseline": "dice",
        "seeds": 3,
        "metrics": ("dice", "cl_dice"),
        "metric": "dice",
        "train": {
            "steps": 400,
            "batch_size": 2,
            "eval_batch_size": 2,
            "learning_rate": 1e-2,
            "warmup_steps": 20,
            "clip_norm": 1.0,
            "eval_every": 200,
        },
    }
