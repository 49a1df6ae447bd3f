"""What surrounds the peers; a stand-in takes the place of PyTorch, which is no dependency."""

import sys
import types

import numpy as np
import pytest

from lossbench.bench.cost import cases, peers, torch_peers
from lossbench.bench.cost.cases import make_inputs

LIBRARIES = [name for name, peer in peers.PEERS.items() if peer.table]


class FakeTensor:
    """As much of a tensor as a problem needs."""

    def __init__(self, array):
        self.array, self.grad, self.ndim = array, "old", array.ndim

    def to(self, where):
        return self

    def requires_grad_(self):
        return self

    def backward(self):
        self.array.backward = True

    def detach(self):
        return self


def fake_torch(**others):
    cuda = types.SimpleNamespace(is_available=lambda: False)
    module = type("Module", (), {})
    return types.SimpleNamespace(
        cuda=cuda, from_numpy=FakeTensor, nn=types.SimpleNamespace(Module=module), **others
    )


def test_the_arrays_are_channels_first_and_ids_int64():
    made = make_inputs("deep_supervision", (2, 8, 6, 3))
    problem = torch_peers.Problem(fake_torch(), made)
    assert [level.array.shape for level in problem.logits] == [
        (2, 3, 8, 6),
        (2, 3, 4, 3),
        (2, 3, 2, 2),
    ]
    assert problem.logits[0].array.flags.c_contiguous
    assert problem.ids.array.dtype == np.int64
    np.testing.assert_array_equal(problem.logits[0].array[1, 2], made.logits[0][1, ..., 2])


def test_each_start_is_one_forward_and_backward_from_no_gradient():
    problem = torch_peers.Problem(fake_torch(), make_inputs("dice", (2, 4, 4, 3)))
    seen = []

    def loss(logits):
        seen.append(logits.grad)
        return FakeTensor(np.zeros(()).view(type("Array", (np.ndarray,), {})))

    one = torch_peers.contestant("peer", problem, loss)
    out = one.start()
    one.wait(out)
    assert seen == [None]
    assert out[0].array.backward
    assert not one.queues
    assert one.program is None


def test_a_compiled_form_is_compiled_at_once():
    compiled = []

    def compile(loss, *, dynamic):
        compiled.append(dynamic)
        return loss

    dynamo = types.SimpleNamespace(reset=lambda: None)
    torch = fake_torch(compile=compile, _dynamo=dynamo)
    problem = torch_peers.Problem(torch, make_inputs("dice", (2, 4, 4, 3)))

    def loss(logits):
        return FakeTensor(np.zeros(()).view(type("Array", (np.ndarray,), {})))

    one = torch_peers.contestant("peer compiled", problem, loss, compile=True)
    assert compiled == [False]
    assert one.program is not None
    assert one.program.compile_seconds >= 0


def test_pytorch_has_to_run_where_jax_does(monkeypatch):
    assert torch_peers.device_of(fake_torch()) == "cpu"
    monkeypatch.setattr(torch_peers.jax, "default_backend", lambda: "gpu")
    with pytest.raises(ImportError, match="JAX runs on gpu, where this PyTorch cannot"):
        torch_peers.device_of(fake_torch())


def test_a_part_is_imported_without_the_whole(tmp_path, monkeypatch):
    """A package whose own import fails for want of a library that its losses do not need."""
    (tmp_path / "half_there").mkdir()
    (tmp_path / "half_there" / "__init__.py").write_text("import a_library_that_is_not_there")
    (tmp_path / "half_there" / "losses.py").write_text("dice = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    torch = fake_torch(set_num_threads=lambda n: None)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert torch_peers.load("half_there.losses").dice == 1
    assert "half_there" not in sys.modules
    with pytest.raises(ImportError, match="nowhere_there"):
        torch_peers.load("nowhere_there.losses")
    with pytest.raises(ImportError, match="a_library_that"):
        torch_peers.load("half_there")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_has_only_losses_that_we_know(library):
    """A misspelled name would never be measured."""
    names = set()
    for classes, dims in ((2, 2), (3, 3)):
        problem = types.SimpleNamespace(
            torch=types.SimpleNamespace(nn=types.SimpleNamespace(functional=None)),
            inputs=types.SimpleNamespace(classes=classes),
            dims=dims,
        )
        table = peers.PEERS[library].table
        assert table is not None
        names |= set(table(types.SimpleNamespace(lovasz_softmax_loss=None), problem))
    assert names
    assert names - set(cases.loss_names()) == set()


SHAPES = ((2, 6, 5, 2), (1, 4, 4, 5, 3))
# Peers with the same formula; the others pool, smooth or average in another way.
EQUAL = {
    ("torch", "cross_entropy"),
    ("torch", "binary_cross_entropy"),
    ("monai", "dice"),
    ("monai", "jaccard"),
    ("monai", "generalized_dice"),
    ("monai", "tversky"),
    ("monai", "sigmoid_focal"),
    ("monai", "mcc"),
    ("monai", "neighbor_aware_calibration"),
    ("monai", "wasserstein_dice"),
    ("monai", "dice+cross_entropy"),
    ("smp", "cross_entropy"),
    ("smp", "binary_cross_entropy"),
    ("kornia", "lovasz_softmax"),
    ("exacta", "dice"),
    ("exacta", "focal"),
    ("exacta", "sigmoid_focal"),
    ("exacta", "tversky"),
    ("exacta", "focal_tversky"),
    ("exacta", "wasserstein_dice"),
    ("exacta", "dice+cross_entropy"),
    ("exacta", "dice+focal"),
    ("exacta", "lovasz_softmax"),
    ("exacta", "lovasz_hinge"),
}


@pytest.mark.long
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("shape", SHAPES, ids=cases.shape_text)
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_loss_of_a_library_runs_and_equal_ones_are_equal(library, shape):
    """Only where the library is installed."""
    there = peers.load([library])
    if there.absent:
        pytest.skip(there.absent[library])
    module = there.modules[library]
    for name in cases.loss_names():
        inputs = make_inputs(name, shape)
        problem = torch_peers.Problem(sys.modules["torch"], inputs)
        table = peers.PEERS[library].table
        assert table is not None
        build = table(module, problem).get(name)
        if build is None:
            continue
        value, _ = torch_peers.contestant(library, problem, build()).start()
        assert np.isfinite(value.item()), name
        assert all(bool((level.grad.isfinite()).all()) for level in problem.logits), name
        if (library, name) in EQUAL:
            ours = cases.objective(name)(*cases.arguments(name, inputs))
            np.testing.assert_allclose(value.item(), ours, rtol=2e-4, err_msg=name)
