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
            r"\(svdd\): DeepSVDDSoftBoundaryLoss comes with .* known are: AnomalyBCEWithLogits",
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
