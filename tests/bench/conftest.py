"""A comparison folder made up from known numbers, for those who read such folders."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest

HD95 = {
    "metric": "hd95",
    "metrics": {
        "hd95": {"higher_is_better": False, "unit": "mm", "options": {"empty": "worst"}},
        "dice": {"higher_is_better": True, "unit": "", "options": {}},
    },
    "data": {"spacing": [1.0, 1.0]},
}
CASES = ("case_a", "case_b", "case_c", "case_d", "case_e")
CLASSES = ("disc", "ring")
ENVIRONMENT = {
    "lossbench": "0.1.0",
    "jax": "0.10.2",
    "flax": "0.12.8",
    "optax": "0.2.8",
    "python": "3.11.7",
    "numpy": "2.3.0",
    "platform": "cpu",
    "device": "TFRT_CPU_0",
    "cpu_count": 2,
    "git_commit": "0123456789abcdef0123456789abcdef01234567",
    "git_dirty": False,
    "date": "2026-11-21T10:00:00+00:00",
}


def write_comparison(
    directory: Path,
    losses=("cross_entropy", "dice", "focal", "dice_ce"),
    seeds=(0, 1, 2),
    states=None,
    effects=None,
    noise=0.01,
    classes=CLASSES,
    cases=CASES,
    size=48,
    steps=400,
    **plan_changes,
) -> Path:
    """Write a plan and its runs.

    `states` maps (loss, seed) to "diverged", "failed" or "pending"; the rest completed. A run's
    mean Dice is .8 + effect of its loss + a part shared by the seed + its own noise, and its hd95
    is 10 times as much as Dice lacks; with `HD95` the plan goes by that.
    """
    states, effects = states or {}, effects or {}
    rng = np.random.default_rng(0)
    shared = {seed: rng.normal(0, 0.02) for seed in seeds}
    runs = []
    directory.mkdir(parents=True, exist_ok=True)
    for k, loss in enumerate(losses):
        for seed in seeds:
            run_id = f"{k:02d}{zlib.crc32(repr((loss, seed)).encode()):08x}"
            runs.append({"id": run_id, "loss": loss, "seed": seed})
            state = states.get((loss, seed), "completed")
            if state == "pending":
                continue
            level = 0.8 + effects.get(loss, 0.0) + shared[seed] + rng.normal(0, noise)
            write_run(directory, runs[-1], state, level, classes, cases, size, steps, k, rng)
    plan = {
        "title": "Losses on synthetic shapes",
        "question": "Which loss segments the shapes best at equal training?",
        "baseline": losses[0],
        "metric": "dice",
        "metrics": ["dice", "iou"],
        "losses": {loss: {"terms": {loss: {"weight": 1.0}}} for loss in losses},
        "seeds": list(seeds),
        "data": {
            "name": "shapes",
            "description": "Discs and rings on textured noise, 2D, drawn anew from a seed.",
            "class_names": ["background", *classes],
            "spacing": None,
            "train": 64,
            "validation": 16,
            "test": len(cases),
            "folds": None,
        },
        "config": {
            "data": {"name": "shapes", "size": size},
            "model": {"name": "unet", "features": [8, 16, 32]},
            "train": {"steps": steps, "batch": 8, "learning_rate": 1e-3},
        },
        "runs": runs,
        "lossbench": "0.1.0",
    }
    plan["data"].update(plan_changes.pop("data", {}))
    plan.update(plan_changes)
    (directory / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return directory


def write_run(directory, spec, state, level, classes, cases, size, steps, k, rng) -> None:
    """Write one run's result and, if it completed, its examples."""
    folder = directory / "runs" / spec["id"]
    folder.mkdir(parents=True)
    case_part = np.linspace(-0.15, 0.1, len(cases))
    class_part = np.linspace(0.05, -0.05, len(classes)) if len(classes) > 1 else [0.0]
    dice = np.clip(level + case_part[:, None] + np.asarray(class_part), 0, 1)
    end = steps if state == "completed" else steps // 3
    at = np.arange(10, end + 1, 10)
    train = [
        {"step": int(s), "loss": (k + 1) * math.exp(-s / 150) + 0.05 * rng.random(),
         "terms": {}, "weights": {}, "gradient_norm": 1.0, "learning_rate": 1e-3}
        for s in at
    ]  # fmt: skip
    curve = level * (1 - np.exp(-at[3::4] / 90)) + rng.normal(0, 0.006, at[3::4].size)
    validation = [
        {"step": int(s), "loss": 1 - v, "dice": v, "iou": v / (2 - v), "hd95": 10 * (1 - v)}
        for s, v in zip(at[3::4], curve.tolist(), strict=True)
    ]
    error = {
        "completed": None,
        "diverged": {"step": end, "term": spec["loss"], "message": "the loss became NaN"},
        "failed": {"step": end, "term": "", "message": "out of memory"},
    }[state]
    done = state == "completed"
    result = {
        **spec,
        "state": state,
        "error": error,
        "steps": int(end),
        "stopped_early": False,
        "best_step": int(end) if done else None,
        "test": {
            "dice": score(dice, classes),
            "iou": score(dice / (2 - dice), classes),
            "hd95": score(10 * (1 - dice), classes),
        }
        if done
        else None,
        "cases": list(cases),
        "history": {"train": train, "validation": validation},
        "cost": {
            "compile_seconds": 6.0 + k if spec["seed"] == 0 else 0.4,
            "compile_from_cache": spec["seed"] != 0,
            "step_seconds": 0.030 + 0.002 * k + 0.0001 * spec["seed"],
            "peak_bytes": (40 + k) * 2**20,
            "train_seconds": 20.0 + k,
        },
        "parameters": 85_123,
        "environment": ENVIRONMENT,
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    if done:
        np.savez_compressed(folder / "examples.npz", **slices(len(cases), len(classes), size, rng))


def score(per_case: np.ndarray, classes) -> dict:
    per_class = per_case.mean(axis=0)
    return {
        "mean": float(per_class.mean()),
        "per_class": per_class.tolist(),
        "classes": list(classes),
        "per_case": per_case.tolist(),
        "undefined": 0,
    }


def slices(cases: int, classes: int, size: int, rng) -> dict[str, np.ndarray]:
    """A disc for each class on noise, the same for every run; the prediction is shifted."""
    y, x = np.mgrid[:size, :size] / size
    labels = np.zeros((cases, size, size), np.uint8)
    for n in range(cases):
        for k in range(classes):
            center = 0.25 + 0.5 * k / max(1, classes - 1), 0.3 + 0.1 * n % 0.5
            radius = 0.10 + 0.02 * n
            labels[n][np.hypot(y - center[0], x - center[1]) < radius] = k + 1
    texture = np.random.default_rng(1).normal(0, 0.08, labels.shape)
    image = np.clip(0.3 + 0.2 * labels + texture, 0, 1)
    prediction = np.roll(labels, rng.integers(-3, 4, 2), axis=(1, 2))
    prediction[:, :4, :4] = classes  # a false positive in the corner
    return {
        "image": image.astype(np.float16),
        "labels": labels,
        "prediction": prediction,
        "axis_slice": np.full(cases, -1, np.int32),
    }


@pytest.fixture(scope="session")
def by_hd95():
    """What `fabricate` takes for a comparison by a distance, of which lower is better."""
    return HD95


@pytest.fixture
def fabricate(tmp_path):
    """Write a comparison under the test's folder; arguments as for `write_comparison`."""

    def make(name: str = "comparison", **changes) -> Path:
        return write_comparison(tmp_path / name, **changes)

    return make
