import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.bench.cost import cases


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("2x96^3x3", (2, 96, 96, 96, 3)),
        ("8x512x512x2", (8, 512, 512, 2)),
        ("1x7x2", (1, 7, 2)),
        ("2x8^2x4x3", (2, 8, 8, 4, 3)),
    ],
)
def test_a_shape_is_read_and_said_again(text, shape):
    assert cases.parse_shape(text) == shape
    assert cases.parse_shape(cases.shape_text(shape)) == shape


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2x96y3", "'96y3' is no size"),
        ("", "'' is no size"),
        ("2x-1x3", "'-1' is no size"),
        ("2x96^x3", r"'96\^' is no size"),
        ("2x3", "got 2 sizes"),
        ("2x8^4x3", "got 6 sizes"),
        ("2x0x3", "start at 1"),
        ("2x8x1", "the classes .* at 2"),
    ],
)
def test_a_bad_shape_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        cases.parse_shape(text)


def test_all_losses_are_measured_by_default():
    names = cases.loss_names()
    left_out = [name for name in losses.CATALOG if name not in names]
    regularizers = {row.name for row in losses.CATALOG.values() if row.family == "regularizer"}
    assert set(left_out) == {*regularizers, "foreground_contrast"}
    assert [name for name in names if name in losses.CATALOG] == [
        name for name in losses.CATALOG if name not in left_out
    ]
    assert "dice+cross_entropy" in names
    for name in names:
        assert cases.terms_of(name)


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match=r"unknown loss 'dise'; did you mean 'dice'"):
        cases.terms_of("focal+dise")


def test_a_regularizer_is_refused():
    with pytest.raises(ValueError, match="orthogonality is a regularizer of parameters"):
        cases.terms_of("dice+orthogonality")


@pytest.mark.parametrize(
    "name",
    [row.name for row in losses.CATALOG.values() if row.family in ("anomaly", "spectral")],
)
def test_a_loss_of_other_arrays_gets_them(name):
    """The first of them stands where logits do, and is what is differentiated."""
    logits, batch = cases.arguments(name, cases.make_inputs(name, (2, 4, 6, 3)))
    row = losses.CATALOG[name]
    wanted = {"anomalies" if n == "labels" else n for n in row.needs[1:]}
    assert set(batch) == wanted
    of = jax.eval_shape(jax.grad(cases.objective(name)), logits, batch)
    assert of.shape == logits.shape


def test_anomalies_and_classes_beside_each_other():
    name = "dice+hypersphere_classifier"
    logits, batch = cases.arguments(name, cases.make_inputs(name, (2, 4, 6, 3)))
    assert set(batch) == {"labels", "anomalies", "center"}
    total = cases.objective(name)(logits, batch)
    apart = losses.dice(logits, batch["labels"]).mean()
    apart += losses.hypersphere_classifier(logits, batch["center"], batch["anomalies"]).mean()
    np.testing.assert_allclose(total, apart, rtol=1e-6)


def test_inputs_are_those_of_the_shape_and_the_same_each_time():
    made = cases.make_inputs("dice", (2, 8, 6, 3))
    again = cases.make_inputs("dice", (2, 8, 6, 3))
    assert [level.shape for level in made.logits] == [(2, 8, 6, 3)]
    assert made.logits[0].dtype == np.float32
    assert (made.labels.shape, made.labels.dtype) == ((2, 8, 6), np.int32)
    assert set(np.unique(made.labels)) <= {0, 1, 2}
    assert made.classes == 3
    np.testing.assert_array_equal(made.labels, again.labels)
    np.testing.assert_array_equal(made.logits[0], again.logits[0])


def test_the_least_that_moves_is_logits_twice_and_ids_once():
    made = cases.make_inputs("dice", (2, 8, 6, 3))
    assert made.logits_bytes == 4 * 2 * 8 * 6 * 3
    assert made.least_bytes == 2 * 4 * 2 * 8 * 6 * 3 + 4 * 2 * 8 * 6


def test_examples_differ_in_their_classes():
    first, second = cases.make_inputs("dice", (2, 64, 64, 4)).labels
    shares = [np.bincount(ids.ravel(), minlength=4) / ids.size for ids in (first, second)]
    assert np.abs(shares[0] - shares[1]).max() > 0.1


def test_levels_halve():
    made = cases.make_inputs("deep_supervision", (1, 8, 6, 2))
    assert [level.shape for level in made.logits] == [(1, 8, 6, 2), (1, 4, 3, 2), (1, 2, 2, 2)]
    logits, batch = cases.arguments("deep_supervision", made)
    assert isinstance(logits, list)
    whole = losses.deep_supervision(losses.dice)(logits, batch["labels"]).mean()
    assert jnp.allclose(cases.objective("deep_supervision")(logits, batch), whole, rtol=1e-6)
    alone, _ = cases.arguments("dice", cases.make_inputs("dice", (1, 8, 6, 2)))
    assert isinstance(alone, jax.Array)


def test_an_objective_is_the_mean_over_examples_of_its_terms_together():
    inputs = cases.make_inputs("dice+focal", (2, 8, 6, 3))
    logits, batch = cases.arguments("dice+focal", inputs)
    assert set(batch) == {"labels"}
    total = cases.objective("dice+focal")(logits, batch)
    labels = batch["labels"]
    apart = losses.dice(logits, labels).mean() + losses.focal(logits, labels).mean()
    assert jnp.allclose(total, apart, rtol=1e-6)


def test_what_a_loss_cannot_do_without_is_there(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "def own(logits, labels, *, where, distances, spacing=None):\n"
        "    return (logits[..., 0] * where).mean() + distances.sum()\n"
    )
    monkeypatch.chdir(tmp_path)
    inputs = cases.make_inputs("own.py:own", (2, 4, 4, 3))
    _, batch = cases.arguments("own.py:own", inputs)
    assert set(batch) == {"labels", "where", "distances"}
    assert batch["where"].shape == (2, 4, 4)
    np.testing.assert_array_equal(batch["distances"], cases.distances(3))
    assert np.all(np.diag(cases.distances(3)) == 0)
