"""Deep SVDD of tables: its two losses beside one-class SVM, isolation forest and RX.

    lossbench compare --config=experiments/svdd_tabular.py --config.data.path=thyroid.npz
    python experiments/svdd_tabular.py DIR

The first is one comparison. The second makes one for each .npz table (`X`, `y`) of a folder and
prints the areas under the ROC curve beside those of detectors that are fitted to the same rows,
of scikit-learn where that is installed, with PyOD's settings. A run takes a second or two on 2
CPU cores.

Expect (jax 0.10.2, CPU), on eight tables of ADBench: .920 on average for one-class and .923 for
soft-boundary; OC-SVM .869, of z-scores .916; isolation forest .914; RX .920. Deep SVDD is ahead
on ionosphere and satellite, and behind on pima, thyroid, cardio and wbc. The table is in
experiments/results/svdd-2-core-cpu.md.
"""

import sys
from pathlib import Path

from ml_collections.config_dict import placeholder


def get_config() -> dict:
    steps = 300
    return {
        "title": "Deep SVDD of a table",
        "question": "One-class or soft-boundary Deep SVDD: which finds the anomalous rows?",
        "data": {"name": "tables", "path": placeholder(str), "rows": 128},
        "preprocess": {"z_score": {}},
        "model": {"name": "svdd_encoder", "features": (128, 64)},
        "svdd": {"nu": 0.1},
        "losses": {
            "one_class": {"terms": {"svdd_one_class": {}}},
            "soft_boundary": {"terms": {"svdd_soft_boundary": {}}},
        },
        "baseline": "one_class",
        "seeds": 5,
        "metrics": ("roc_auc", "average_precision"),
        "metric": "roc_auc",
        "train": {
            "steps": steps,
            "batch_size": 1,
            "eval_batch_size": 256,
            "learning_rate": 1e-3,
            "weight_decay": 1e-6,
            "eval_every": steps,
        },
    }


def detectors() -> dict:
    """How each detector is fitted to rows; those of scikit-learn only if it is there."""
    import jax.numpy as jnp

    from lossbench import anomaly

    def rx(rows):
        fitted = anomaly.fit_rx(jnp.asarray(rows))
        return lambda rows: fitted.scores(jnp.asarray(rows))

    found = {"RX": rx}
    try:
        from sklearn.ensemble import IsolationForest
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import OneClassSVM
    except ImportError:
        return found

    def svm(rows):
        fitted = OneClassSVM(gamma="auto").fit(rows)
        return lambda rows: -fitted.decision_function(rows)

    def scaled_svm(rows):
        scaler = StandardScaler().fit(rows)
        score = svm(scaler.transform(rows))
        return lambda rows: score(scaler.transform(rows))

    def forest(rows):
        fitted = IsolationForest(random_state=0).fit(rows)
        return lambda rows: -fitted.decision_function(rows)

    return {"OC-SVM": svm, "OC-SVM, z-scores": scaled_svm, "isolation forest": forest, **found}


def main(folder: str) -> None:
    from lossbench.bench.baselines import side_by_side

    tables = sorted(Path(folder).glob("*.npz"))
    if not tables:
        sys.exit(f"{folder}: no .npz table there")
    configs = {}
    for table in tables:
        configs[table.stem] = get_config()
        configs[table.stem]["data"]["path"] = str(table)
        configs[table.stem]["title"] = f"Deep SVDD of {table.stem}"
    command = f"python experiments/svdd_tabular.py {folder}"
    print(side_by_side(configs, detectors(), Path("runs/svdd_tabular"), command=command))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python experiments/svdd_tabular.py DIR, of a folder with .npz tables")
    main(sys.argv[1])
