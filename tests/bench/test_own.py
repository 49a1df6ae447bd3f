"""A comparison of what a user wrote, in one file: loss, data set and model."""

from lossbench.bench import results
from lossbench.bench.compare import open_bench
from lossbench.bench.plan import make_plan
from lossbench.cli import main

FILE = '''
"""Mine."""
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lossbench.data import ArraySource, Dataset


def squared_error(logits, labels, *, where=None, power=2.0):
    p = nn.softmax(logits)[..., 1]
    error = jnp.abs(p - labels) ** power
    return jnp.mean(error, axis=(1, 2), where=where)


def squares(*, cases=8):
    def source(seed):
        rng = np.random.default_rng(seed)
        labels = np.zeros((cases, 8, 8), np.int32)
        labels[:, 2:6, 2:6] = 1
        images = labels[..., None] + rng.normal(size=(cases, 8, 8, 1))
        return ArraySource(tuple(f"{seed}-{i}" for i in range(cases)), images, labels)

    parts = {name: source(i) for i, name in enumerate(("train", "validation", "test"))}
    return Dataset("squares", "Noisy squares.", class_names=("none", "square"), **parts)


class Pixel(nn.Module):
    num_classes: int
    dims: int = 2

    @nn.compact
    def __call__(self, image):
        return {"logits": nn.Dense(self.num_classes)(image)}


def get_config():
    return ConfigDict({
        "data": {"name": __file__ + ":squares"},
        "model": {"name": __file__ + ":Pixel"},
        "losses": {
            "mine": {"terms": {"error": {"loss": __file__ + ":squared_error"}}},
            "ce": {"terms": {"cross_entropy": {}}},
        },
        "seeds": 2,
        "train": {"steps": 4, "batch_size": 4, "eval_every": 4, "devices": 1},
    })
'''


def test_own_loss_data_and_model_are_compared(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    assert main(["compare", f"--config={file}", f"--workdir={tmp_path / 'work'}"]) == 0
    comparison = results.load(tmp_path / "work")
    assert [run.state for run in comparison.runs] == [results.COMPLETED] * 4
    assert "mine" in capsys.readouterr().out


def test_a_changed_function_is_another_run(tmp_path):
    def ids():
        config = {
            "data": {"name": f"{file}:squares"},
            "model": {"name": f"{file}:Pixel"},
            "losses": {
                "mine": {"terms": {"error": {"loss": f"{file}:squared_error"}}},
                "ce": {"terms": {"cross_entropy": {}}},
            },
            "seeds": 1,
            "train": {"batch_size": 4},
        }
        bench = open_bench(make_plan(config), tmp_path / "work", say=print)
        return [spec.id for spec in bench.specs.values()]

    file = tmp_path / "mine.py"
    file.write_text(FILE)
    before = ids()
    file.write_text(FILE.replace('"seeds": 2', '"seeds": 3') + "\n# a remark elsewhere\n")
    assert ids() == before
    file.write_text(FILE.replace("power=2.0", "power=1.5"))
    assert set(ids()).isdisjoint(before)
