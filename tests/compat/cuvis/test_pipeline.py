"""A pipeline as cuvis-ai writes it becomes an objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from lossbench.compat import cuvis

NODES = [
    {
        "name": "data",
        "class_name": "cuvis_ai.node.data.LentilsAnomalyDataNode",
        "hparams": {"normal_class_ids": [0, 1]},
    },
    {
        "name": "ScoreToLogit",
        "class_name": "cuvis_ai.node.conversion.ScoreToLogit",
        "hparams": {"init_scale": 1.0},
    },
    {
        "name": "bce",
        "class_name": "cuvis_ai.node.losses.AnomalyBCEWithLogits",
        "hparams": {"weight": 10.0, "pos_weight": None, "reduction": "mean"},
    },
    {
        "name": "overlap",
        "class_name": "cuvis_ai.node.losses.IoULoss",
        "hparams": {"normalize_method": "clamp", "name": None, "execution_stages": None},
    },
    {"name": "decider", "class_name": "cuvis_ai.node.deciders.binary_decider.BinaryDecider"},
]
CONNECTIONS = [
    {"source": "ScoreToLogit.outputs.logits", "target": "bce.inputs.predictions"},
    {"source": "data.outputs.mask", "target": "bce.inputs.targets"},
    {"source": "ScoreToLogit.outputs.logits", "target": "overlap.inputs.predictions"},
    {"source": "data.outputs.mask", "target": "overlap.inputs.targets"},
    {"source": "ScoreToLogit.outputs.logits", "target": "decider.inputs.logits"},
]
PIPELINE = {"metadata": {"name": "test"}, "nodes": NODES, "connections": CONNECTIONS}


def changed(**parts):
    return PIPELINE | parts


def with_node(**node):
    """The pipeline with one more node, connected as `bce` is."""
    more = [
        {"source": "ScoreToLogit.outputs.logits", "target": f"{node['name']}.inputs.predictions"},
        {"source": "data.outputs.mask", "target": f"{node['name']}.inputs.targets"},
    ]
    return changed(nodes=[*NODES, node], connections=[*CONNECTIONS, *more])


def test_loss_nodes_become_terms():
    objective = cuvis.read_pipeline(PIPELINE)
    assert list(objective.terms) == ["bce", "overlap"]
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 3, 4, 1)), jnp.float32)
    mask = jnp.asarray(rng.random((2, 3, 4, 1)) > 0.7)
    outputs = {"ScoreToLogit.outputs.logits": logits, "data.outputs.mask": mask}
    value = jax.jit(objective)(outputs)
    bce = jax.jit(cuvis.AnomalyBCEWithLogits())(logits, mask)
    overlap = jax.jit(cuvis.IoULoss(normalize_method="clamp"))(logits, mask)
    np.testing.assert_allclose(value.terms["bce"], bce, rtol=1e-6)
    np.testing.assert_allclose(value.total, 10 * bce + overlap, rtol=1e-6)
    assert value.weights["bce"] == 10


def test_a_missing_output_is_named():
    objective = cuvis.read_pipeline(PIPELINE)
    with pytest.raises(ValueError, match=r"ScoreToLogit\.outputs\.logits"):
        objective({"data.outputs.mask": jnp.zeros((1, 2, 2, 1), bool)})


def test_text_path_and_content_are_the_same(tmp_path):
    text = yaml.safe_dump(PIPELINE)
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    wanted = {n: dict(t.inputs) for n, t in cuvis.read_pipeline(PIPELINE).terms.items()}
    for pipeline in (text, path, str(path)):
        terms = cuvis.read_pipeline(pipeline).terms
        assert {n: dict(t.inputs) for n, t in terms.items()} == wanted


def test_the_older_spelling():
    older = {
        "nodes": [
            {"name": n["name"], "class": n["class_name"], "params": n.get("hparams", {})}
            for n in NODES
        ],
        "connections": [{"from": c["source"], "to": c["target"]} for c in CONNECTIONS],
    }
    objective = cuvis.read_pipeline(older)
    assert objective.terms["bce"].weight == 10
    assert objective.terms["overlap"].loss.normalize_method == "clamp"


def test_segmentation_nodes():
    ports = [("model.outputs.logits", "logits"), ("data.outputs.mask", "targets")]
    nodes, connections = [], []
    for name, kind in (("dice", "DiceLoss"), ("ce", "CrossEntropyLoss")):
        node = {"name": name, "class_name": f"cuvis_ai.node.losses.{kind}"}
        nodes.append(node | {"hparams": {"weight": 0.5, "ignore_index": 255}})
        connections += [{"source": s, "target": f"{name}.inputs.{port}"} for s, port in ports]
    objective = cuvis.read_pipeline({"nodes": nodes, "connections": connections})
    logits, ids = jnp.zeros((1, 2, 2, 3)), jnp.array([[[0, 1], [2, 255]]])
    outputs = {"model.outputs.logits": logits, "data.outputs.mask": ids}
    value = jax.jit(objective)(outputs)
    np.testing.assert_allclose(value.terms["ce"], np.log(3), rtol=1e-6)
    np.testing.assert_allclose(value.total, (np.log(3) + 1 - 1 / 3) / 2, rtol=1e-5)


def anomaly_pipeline():
    """The loss nodes of its tutorials: Deep SVDD, a soft selector, a PCA."""
    nodes, connections = [], []
    for name, kind, hparams, ports in (
        ("svdd", "DeepSVDDSoftBoundaryLoss", {"nu": 0.1}, {"embeddings": "z", "center": "c"}),
        ("entropy", "SelectorEntropyRegularizer", {}, {"weights": "w"}),
        ("diversity", "SelectorDiversityRegularizer", {"weight": 0.5}, {"weights": "w"}),
        ("distinct", "DistinctnessLoss", {}, {"selection_weights": "bands"}),
        ("orthogonal", "OrthogonalityLoss", {"weight": 2.0}, {"components": "bands"}),
        ("mse", "MSEReconstructionLoss", {}, {"reconstruction": "x", "target": "t"}),
        ("contrast", "ForegroundContrastLoss", {}, {"rgb": "x", "mask": "m"}),
    ):
        node = {"name": name, "class_name": f"cuvis_ai.node.losses.{kind}", "hparams": hparams}
        nodes.append(node)
        connections += [
            {"source": f"net.outputs.{output}", "target": f"{name}.inputs.{port}"}
            for port, output in ports.items()
        ]
    return {"nodes": nodes, "connections": connections}


def test_nodes_of_anomaly_detection():
    """With the weights that cuvis-ai gives them, and the radius as a parameter of the node."""
    objective = cuvis.read_pipeline(anomaly_pipeline())
    rng = np.random.default_rng(0)
    x, t = (jnp.asarray(rng.random((2, 3, 4, 3)), jnp.float32) for _ in range(2))
    bands = jnp.eye(3, 5)
    outputs = {"z": x, "c": jnp.zeros(3), "w": jnp.array([0.5, 0.5]), "bands": bands}
    outputs |= {"x": x, "t": t, "m": jnp.asarray(rng.integers(0, 3, (2, 3, 4)))}
    outputs = {f"net.outputs.{name}": array for name, array in outputs.items()}
    value = jax.jit(objective)(outputs)
    weights = {name: round(float(weight), 4) for name, weight in value.weights.items()}
    assert weights == {
        "svdd": 1.0,
        "entropy": 0.01,
        "diversity": 0.5,
        "distinct": 0.1,
        "orthogonal": 2.0,
        "mse": 1.0,
        "contrast": 1.0,
    }
    # Three bands chosen, each another one: cuvis-ai has NaN here.
    assert value.terms["distinct"] == value.terms["orthogonal"] == value.terms["diversity"] == 0
    np.testing.assert_allclose(value.terms["entropy"], -np.log(2), rtol=1e-5)
    of = jax.jit(cuvis.DeepSVDDSoftBoundaryLoss(nu=0.1))
    np.testing.assert_allclose(value.terms["svdd"], of(x, jnp.zeros(3)), rtol=1e-6)
    assert np.isfinite(value.total)
    moved = jax.jit(objective)({**outputs, "r_unconstrained": jnp.float32(0.8)})
    assert moved.terms["svdd"] < value.terms["svdd"]
    wanted = of(x, jnp.zeros(3), jnp.float32(0.8))
    np.testing.assert_allclose(moved.terms["svdd"], wanted, rtol=1e-6)


LOSSES = "cuvis_ai.node.losses"


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ({"terms": {}}, "needs 'nodes'"),
        ("nodes: [\nx", "no YAML"),
        (changed(nodes=NODES[:2]), "no node of this pipeline is a loss; known are: Anom"),
        (changed(nodes=[*NODES, "bce"]), r"nodes\[5\]: expected a node"),
        (changed(nodes=[{"name": "x"}]), r"nodes\[0\]: a node needs a class_name"),
        (changed(connections=[{"source": "a"}]), r"connections\[0\]: expected a source"),
        (changed(connections=CONNECTIONS[:1]), r"\(bce\): port targets needs one .* none is"),
        (
            changed(connections=[*CONNECTIONS, CONNECTIONS[0] | {"source": "b.outputs.x"}]),
            r"predictions needs one .* these are: ScoreToLogit.outputs.logits, b.outputs.x",
        ),
        (
            changed(connections=[*CONNECTIONS, {"source": "a.b", "target": "bce.inputs.mask"}]),
            r"nodes\[2\] \(bce\): .*port.*mask",
        ),
        (
            with_node(name="svdd", class_name=f"{LOSSES}.DeepSVDDSoftBoundaryLoss"),
            r"\(svdd\): unknown port 'predictions'. There are: embeddings, center",
        ),
        (
            with_node(
                name="svdd",
                class_name=f"{LOSSES}.DeepSVDDSoftBoundaryLoss",
                hparams={"nu": 1.0},
            ),
            r"\(svdd\): nu: expected a number between 0 and 1, got 1.0",
        ),
        (
            with_node(name="mine", class_name="plugin.losses.MyLoss"),
            r"\(mine\): .*MyLoss.*DiceLoss",
        ),
        (
            with_node(name="x", class_name=f"{LOSSES}.IoULoss", hparams={"smoth": 1}),
            r"\(x\): .*smoth.*smooth",
        ),
        (
            with_node(
                name="x",
                class_name=f"{LOSSES}.AnomalyBCEWithLogits",
                hparams={"reduction": "none"},
            ),
            r"\(x\): reduction: a term needs one value",
        ),
        (with_node(name="bce", class_name=f"{LOSSES}.IoULoss"), "needs one output"),
    ],
)
def test_what_is_wrong_is_named(pipeline, message):
    with pytest.raises(ValueError, match=message):
        cuvis.read_pipeline(pipeline)
