"""Deep SVDD of digits: one is normal, the other nine are anomalies. Which of its two losses?

    lossbench compare --config=experiments/svdd_mnist.py --config.data.path=DIR

DIR holds MNIST's four IDX files. Each of the ten runs of a loss has another digit as the normal
one, so that the mean is over digits. The LeNet of the paper, without biases, 450 steps of 200
images (15 epochs; the paper has 150 and an autoencoder before), global contrast normalization.
The last state is tested: no label chooses anything. On 2 CPU cores a run takes about 10 s, all of
them 4 minutes.

Expect (jax 0.10.2, CPU): a mean AUC of .937 over the digits for one-class, .930 for soft-boundary,
which cannot be told apart; each digit is in experiments/results/svdd-2-core-cpu.md.
"""

from ml_collections.config_dict import placeholder


def get_config() -> dict:
    steps = 450
    return {
        "title": "Deep SVDD on MNIST, one digit normal",
        "question": "One-class or soft-boundary Deep SVDD: which tells the other digits apart?",
        "data": {
            "name": "one_class_digits",
            "path": placeholder(str),
            "contrast": "global_l1",
            "validation": 0.1,
            "test": placeholder(int),
            "folds": 10,
        },
        "model": {"name": "svdd_encoder", "architecture": "lenet"},
        "svdd": {"nu": 0.1, "pretrain_steps": 0},
        "losses": {
            "one_class": {"terms": {"svdd_one_class": {}}},
            "soft_boundary": {"terms": {"svdd_soft_boundary": {}}},
        },
        "baseline": "one_class",
        "seeds": 10,
        "metrics": ("roc_auc", "average_precision"),
        "metric": "roc_auc",
        "train": {
            "steps": steps,
            "batch_size": 200,
            "eval_batch_size": 500,
            "learning_rate": 1e-3,
            "weight_decay": 0.5e-6,
            "eval_every": steps,
        },
    }
