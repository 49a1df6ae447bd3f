"""What surrounds TorchJD, and, where it is installed, that its steps are ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.bench.cost import weighting, weighting_torch
from lossbench.weighting import WEIGHTINGS

SHAPE = (1, 4, 8, 3)


def test_its_names_are_weightings_of_ours_of_the_right_form():
    forms = {name: row.form for name, row in WEIGHTINGS.items()}
    for method in weighting_torch.SCALARIZERS:
        assert forms[method] == "weights"
    for method in set(weighting_torch.AGGREGATORS) & set(forms):
        assert forms[method] in weighting.LOOKING


def test_an_absent_peer_is_told(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(weighting_torch.torch_peers, "load", absent)
    assert weighting_torch.load() == (None, {"torchjd": "ImportError: No module named 'torch'"})


@pytest.fixture(scope="module")
def there():
    loaded, absent = weighting_torch.load()
    if loaded is None:
        pytest.skip(absent["torchjd"])
    return loaded


@pytest.mark.long
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("shape", [SHAPE, (2, 4, 8, 4, 2)])
def test_network_and_terms_are_ours(there, shape):
    """With the parameters moved from where they begin: a new bias is 0 and hides a mistake."""
    problem = weighting.make_problem(shape)
    rng = np.random.default_rng(1)
    moved = jax.tree.map(
        lambda x: x + 0.1 * rng.standard_normal(x.shape, dtype=np.float32), problem.params
    )
    problem = weighting.Problem(shape, problem.model, moved, problem.image, problem.labels)
    step = weighting_torch.Step(there.torch, problem, len(weighting.LOSSES))
    logits = step.network(step.image)
    outputs = jax.jit(problem.model.apply)({"params": moved}, problem.image)
    ours = np.asarray(outputs["logits"])
    theirs = np.moveaxis(logits.detach().numpy(), 1, -1)
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * np.abs(ours).max())
    values = weighting_torch.losses(there.torch, logits, step.labels, step.terms)
    objective = weighting.objective(None, step.terms)
    terms = objective({**outputs, "labels": jnp.asarray(problem.labels)}).terms
    expected = [float(terms[name]) for name in weighting.LOSSES]
    np.testing.assert_allclose([v.item() for v in values], expected, rtol=1e-4)


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_every_way_runs_and_ends_in_one_gradient(there):
    """PCGrad of two terms leaves nothing to chance, so all of its ways, and ours, agree."""
    problem = weighting.make_problem(SHAPE)
    for method in (*weighting_torch.AGGREGATORS, *weighting_torch.SCALARIZERS):
        for make in weighting_torch.contestants(method, there, problem, 3).values():
            value, _ = make().start()
            assert np.isfinite(value.item())
    assert weighting_torch.contestants("moco", there, problem, 2) == {}
    ours = weighting.contestant("ours", problem, "pcgrad", 2).start()
    bias = np.asarray(ours[1].gradient["head_1"]["bias"])
    for label, make in weighting_torch.contestants("pcgrad", there, problem, 2).items():
        one = make()
        value, _ = one.start()
        np.testing.assert_allclose(value.item(), ours[0], rtol=1e-4)
        if "last layer" not in label:
            theirs = gradient_of(one).numpy()
            np.testing.assert_allclose(theirs, bias, rtol=1e-3, atol=1e-5, err_msg=label)


def gradient_of(one):
    """Of the bias of the last layer, from the network that a contestant's function holds."""
    cells = [cell.cell_contents for cell in one.start.__closure__]
    (step,) = [content for content in cells if isinstance(content, weighting_torch.Step)]
    return step.network.head.bias.grad
