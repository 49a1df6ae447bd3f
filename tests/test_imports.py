"""The house: who may import whom, where a library may be named, how files are called and tested."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lossbench"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

# What each layer may import of lossbench: those below it. Every layer may import the base.
BASE = {"_checks", "_colors", "_names", "__init__"}
LOSSES = {"losses", "ops"}
OBJECTIVE = {*LOSSES, "weighting", "objective", "objective_config"}
TRAINING = {*OBJECTIVE, "metrics", "anomaly", "models", "data", "training"}
DETECTION = {*TRAINING, "detection"}
BENCH = {*TRAINING, "detection", "bench"}
MAY_IMPORT = {
    "_checks": set(),
    "_colors": set(),
    "_names": set(),
    "__init__": set(),
    "ops": {"ops"},
    "losses": LOSSES,
    "metrics": {"metrics", "ops"},
    "anomaly": {*LOSSES, "metrics", "anomaly"},
    "weighting": {"weighting"},
    "objective": OBJECTIVE,
    "objective_config": {*LOSSES, "weighting"},
    "models": {"models"},
    "testing": {*LOSSES, "testing"},
    "data": {"data"},
    "training": TRAINING,
    "detection": DETECTION,
    "bench": BENCH,
    "compat": {*LOSSES, "compat"},
    "launch": {*BENCH, "configuration", "launch"},
    "configuration": {*TRAINING, "configuration"},
    "cli": {*BENCH, "configuration", "launch", "compat", "testing", "cli"},
}
# The only files that may import more than their layer does.
MAY_ALSO_IMPORT = {
    "compat/cuvis/_pipeline.py": {"objective"},  # which is what it reads a pipeline into
    "__init__.py": {"detection"},  # when its estimator is asked for
}

# The libraries that a layer may name, besides the standard library.
ARRAYS = {"jax", "jaxtyping"}
LIBRARIES = {
    "ops": ARRAYS,
    "losses": ARRAYS,
    "metrics": ARRAYS,
    "anomaly": {*ARRAYS, "numpy"},
    "compat": {*ARRAYS, "numpy", "yaml"},
    "weighting": {*ARRAYS, "optax"},
    "objective": {*ARRAYS, "optax"},
    "objective_config": ARRAYS,
    "models": {*ARRAYS, "flax"},
    "testing": {*ARRAYS, "numpy", "torch"},
    "data": {
        *("numpy", "scipy", "grain", "jaxtyping", "nibabel", "PIL"),
        *("h5py", "spectral", "tifffile"),
    },
}
# The only places that may name a library.
ONLY_IN = {
    "flax": ("models/", "training/state.py"),
    "orbax": ("training/checkpoint.py",),
    "tensorboardX": ("training/logging.py",),
    "mlflow": ("training/logging.py",),
    "nibabel": ("data/nifti.py",),
    "h5py": ("data/mat_files.py",),
    "spectral": ("data/envi.py",),
    "tifffile": ("data/tiff_cubes.py",),
    "PIL": ("data/image_files.py",),
    "grain": ("data/",),
    "torch": ("bench/unet_against_torch.py", "testing/torch_adapter.py"),
    "yaml": ("compat/cuvis/",),
}


def layer_of(file):
    """The first part of a file's path: a package, or a module of the top."""
    return file.split("/")[0].removesuffix(".py")


def imports_of(path):
    """Every module that a file imports anywhere, with its line; `from a import b` is a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def imported_layer(module):
    """The layer of lossbench that a module belongs to; names of the package itself are the base."""
    part = [*module.split("."), "__init__"][1]
    there = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
    return part if there else "__init__"


def wrong_arrows(file, path):
    """What is wrong with the imports of a file, one line each."""
    layer = layer_of(file)
    for module, line in imports_of(path):
        library = module.split(".")[0]
        where = f"lossbench/{file}:{line} imports {module}"
        if library == "lossbench":
            allowed = MAY_IMPORT[layer] | MAY_ALSO_IMPORT.get(file, set())
            if imported_layer(module) not in allowed | BASE:
                yield f"{where}: {layer} may import {sorted(allowed)}"
        elif library not in sys.stdlib_module_names:
            if layer in LIBRARIES and library not in LIBRARIES[layer]:
                yield f"{where}: {layer} may name {sorted(LIBRARIES[layer])}"
            if library in ONLY_IN and not file.startswith(ONLY_IN[library]):
                yield f"{where}: {library} belongs in {', '.join(ONLY_IN[library])}"
        if module.startswith("jax._src"):
            yield f"{where}: private"


@pytest.mark.parametrize("file", FILES)
def test_arrows_point_downwards(file):
    assert layer_of(file) in MAY_IMPORT, f"a new layer: give {layer_of(file)} its place here"
    assert list(wrong_arrows(file, FILES[file])) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("ops/x.py", "from lossbench import losses"),
        ("ops/x.py", "import numpy as np"),
        ("losses/x.py", "from lossbench.metrics import dice"),
        ("losses/x.py", "def f():\n    import lossbench.training.state"),
        ("metrics/x.py", "import optax"),
        ("data/x.py", "import jax"),
        ("models/x.py", "from lossbench.objective import Objective"),
        ("anomaly/x.py", "import optax"),
        ("anomaly/x.py", "from lossbench.models import unet"),
        ("objective.py", "from lossbench.metrics import dice"),
        ("training/x.py", "import flax.linen as nn"),
        ("training/x.py", "from lossbench.bench.plan import Plan"),
        ("bench/x.py", "from orbax.checkpoint import v1"),
        ("bench/x.py", "from lossbench.cli import main"),
        ("training/x.py", "from jax._src import core"),
        ("data/decathlon.py", "if True:\n    import nibabel"),
        ("compat/monai/x.py", "from lossbench.objective import Objective"),
        ("compat/monai/x.py", "import yaml"),
        ("compat/optax.py", "import optax"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path, file, text):
    path = tmp_path / "x.py"
    path.write_text(text)
    assert len(list(wrong_arrows(file, path))) == 1


def test_right_arrows_are_let_through(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("import math\nfrom lossbench import __version__, losses, _checks\nimport optax")
    assert list(wrong_arrows("training/step.py", path)) == []


@pytest.mark.parametrize("file", FILES)
def test_nothing_calls_back_to_the_host(file):
    names = {
        getattr(node, "attr", getattr(node, "id", None))
        for node in ast.walk(ast.parse(FILES[file].read_text()))
    }
    assert not names & {"pure_callback", "io_callback", "host_callback"}


HEAVY = ("flax", "orbax", "grain", "tensorboardX", "optax", "matplotlib", "ml_collections", "scipy")


def test_losses_metrics_and_compat_load_nothing_but_jax():
    """In a process of its own; JAX itself may load SciPy, so it is loaded first."""
    script = f"""
import sys, jax, jax.numpy, jaxtyping
before = set(sys.modules)
import lossbench.losses, lossbench.metrics, lossbench.compat.monai
new = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(sorted(new & set({HEAVY!r})), "lossbench" in new)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] True"


def test_no_file_is_longer_than_400_lines():
    lengths = {file: len(path.read_text().splitlines()) for file, path in FILES.items()}
    assert {file: n for file, n in lengths.items() if n > 400} == {}


def test_no_file_or_folder_is_called_after_nothing():
    vague = {"utils", "util", "helpers", "helper", "core", "common", "misc"}
    parts = {part.removesuffix(".py") for file in FILES for part in file.split("/")}
    assert not parts & vague


# Needs PyTorch, which is no dependency.
UNTESTED = {"bench/unet_against_torch.py"}


def public_functions(path):
    functions = (ast.FunctionDef, ast.ClassDef)
    nodes = ast.parse(path.read_text()).body
    return [n.name for n in nodes if isinstance(n, functions) and not n.name.startswith("_")]


def test_every_file_has_its_tests_where_they_are_looked_for():
    missing = []
    for file, path in FILES.items():
        if path.name.startswith("_") or not public_functions(path) or file in UNTESTED:
            continue
        test = ROOT / "tests" / file
        if not (test.parent / f"test_{test.name}").is_file():
            missing.append(file)
    assert missing == []


# Tests of several files; exacta's losses are compared with ours without a module of its names.
WHOLE = {"test_contract.py", "test_exacta.py", "test_imports.py", "test_own.py", "test_readme.py"}
WHOLE |= {"test_peer_distances.py", "test_peers.py", "test_toy.py"}


def test_every_test_belongs_to_a_file():
    """`test_x.py` tests `x.py`, `_x.py` or (as `test_init.py`) `__init__.py` of the same folder."""
    strays = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = path.parent.relative_to(ROOT / "tests")
        name = path.name.removeprefix("test_")
        if path.name in WHOLE or folder.parts[:1] in (("experiments",), ("notebooks",)):
            continue
        names = (name, f"_{name}", f"__{name.removesuffix('.py')}__.py")
        if not any((PACKAGE / folder / n).is_file() for n in names):
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []
