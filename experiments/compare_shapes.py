"""Which loss segments discs, rings and small lesions in noise best?

    lossbench compare --config=experiments/compare_shapes.py

Synthetic 64x64 images in textured noise, a small U-Net (29k parameters), four losses, three seeds,
150 steps. Lesions are one pixel in 90, and nobody waits until cross entropy has found them. On 2
CPU cores it takes about a minute.

Expect (jax 0.10.2, CPU): Dice about .81 and Dice + cross entropy about .77 score higher than cross
entropy, about .59, because they find the lesions; focal, about .60, cannot be told apart from it.
With more steps the differences shrink.
"""

from ml_collections.config_dict import placeholder


def get_config() -> dict:
    # The order here is that of the report.
    return {
        "title": "Four losses on synthetic shapes",
        "question": "Which loss segments discs, rings and small lesions in noise best?",
        "data": {
            "name": "shapes",
            "size": (64, 64),
            "classes": ("disc", "ring", "lesion"),
            "foreground": 0.15,
            "contrast": 4.0,
            "label_noise": 0.0,
            "folds": placeholder(int),
            "train": 64,
            "validation": 16,
            "test": 32,
        },
        "augment": {"flip": True},
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
            "steps": 150,
            "batch_size": 8,
            "learning_rate": 1e-2,
            "warmup_steps": 20,
            "clip_norm": 1.0,
            "eval_every": 50,
        },
    }
