"""Which pixel-wise or region loss segments small and thin shapes best?

    lossbench compare --config=experiments/compare_shapes.py

Synthetic 64x64 images with discs, rings and lesions in textured noise; a small U-Net; four losses,
three seeds.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "title": "Four losses on synthetic shapes",
            "question": "Which loss segments small and thin shapes in noise best?",
            "data": {
                "name": "shapes",
                "size": (64, 64),
                "classes": 4,
                "foreground": 0.15,
                "contrast": 3.0,
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
                "steps": 200,
                "batch_size": 8,
                "learning_rate": 1e-2,
                "warmup_steps": 20,
                "clip_norm": 1.0,
                "eval_every": 50,
            },
        }
    )
