"""The house's layers, read from the imports: a file imports only from its left."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cvxnn"
FILES = sorted(SOURCE.rglob("*.py"))

# Left to right; a unit is a file or a folder of the package, and "cvxnn" is its __init__.
LAYERS = (
    "arrays errors streamed",
    "functions maps gates linalg patches symmetric tokens whitening",
    "program projection shortest prices certificate",
    "solve solvers architectures",
    "assess everywhere landscape memory optima path quantised samples selection solver_choice "
    "stages stagewise support theory training truncation",
    # encoding is a transformer of scikit-learn, evidence what its estimators show, reading what
    # they do with data
    "encoding evidence reading estimator estimators estimators_cv "
    "lags timestamps regimes forecaster density spline robust denoiser layerwise autoencoder "
    "generation",
    "display export files cli tables reproduce experiments heads __main__ cvxnn",
)
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer.split()}

# Within a layer any unit may import any other, these pairs (importer, imported) excepted.
SIBLINGS = ("functions maps gates", "solve architectures", "solvers architectures")
APART = {pair for group in SIBLINGS for pair in permutations(group.split(), 2)} | {
    ("program", "projection"),
    ("program", "certificate"),
    ("projection", "certificate"),
    ("solve", "solvers"),
}

# The first layer that may import each library, by one of its units; the others are free.
RIGHT_END = (
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pandas",
    "polars",
    "rich",
    "sklearn",
    "torch",
    "typer",
)
FIRST = {"clarabel": "solvers", **dict.fromkeys(RIGHT_END, "estimators")}
LAZY = ("torch",)  # imported inside functions only: every file can be read without it
NOT_ON_IMPORT = {"clarabel", "cvxpy", *RIGHT_END} - {"sklearn"}


def unit_of(parts: tuple[str, ...]) -> str:
    """The unit of a dotted name below cvxnn; a name that is no unit is the package's own."""
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "cvxnn"


def imports(module: str, tree: ast.Module) -> Iterator[tuple[ast.stmt, tuple[str, ...]]]:
    """Every name that a module imports, wherever in the file, relative names made absolute."""
    folder = module.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level] if node.level else []
            start = (*above, *(node.module or "").split(".")) if node.module else tuple(above)
            yield from ((node, (*start, alias.name)) for alias in node.names)


def inside_functions(tree: ast.Module) -> set[ast.AST]:
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node for function in functions for node in ast.walk(function)}


def arrow(unit: str, target: str) -> str | None:
    """Why `unit` may not import the unit `target` of cvxnn, or None."""
    if RANK[target] > RANK[unit]:
        return f"{target} is to its right"
    return f"{target} is a sibling kept apart" if (unit, target) in APART else None


def library(unit: str, name: str, lazily: bool) -> str | None:
    """Why `unit` may not import the library `name` here, or None."""
    if name in FIRST and RANK[unit] < RANK[FIRST[name]]:
        return f"{name} appears only from the layer of {FIRST[name]} on"
    return f"{name} belongs inside a function" if name in LAZY and not lazily else None


def wrong_imports(module: str, source: str) -> list[str]:
    """What the file of `module` ("cvxnn.maps.gated"; "cvxnn.maps.__init__") imports wrongly."""
    unit = unit_of(tuple(module.split(".")))
    tree = ast.parse(source)
    deferred = inside_functions(tree)
    complaints = []
    for node, name in imports(module, tree):
        if name[0] == "cvxnn":
            complaint = arrow(unit, unit_of(name))
        else:
            complaint = library(unit, name[0], lazily=node in deferred)
        if complaint:
            complaints.append(f"{module}:{node.lineno} imports {'.'.join(name)}: {complaint}")
    return complaints


def module_name(path: Path) -> str:
    return ".".join(("cvxnn", *path.relative_to(SOURCE).with_suffix("").parts))


def test_the_house_is_found() -> None:
    assert SOURCE / "arrays.py" in FILES


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_left(path: Path) -> None:
    assert not wrong_imports(module_name(path), path.read_text())


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_every_file_has_a_place_and_is_short(path: Path) -> None:
    unit = path.relative_to(SOURCE).with_suffix("").parts[0]
    assert unit == "__init__" or unit in RANK, f"give {unit} its place in LAYERS"
    length = len(path.read_text().splitlines())
    assert length <= 400


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cvxnn.arrays", "import cvxnn.program"),
        ("cvxnn.maps.gated", "from cvxnn.program import Program"),
        ("cvxnn.maps.gated", "from ..program import Program"),
        ("cvxnn.maps.__init__", "from .. import program"),
        ("cvxnn.maps.gated", "from cvxnn import program"),
        ("cvxnn.maps.gated", "from cvxnn.gates import sample"),
        ("cvxnn.functions.losses", "from cvxnn.maps.base import LinearMap"),
        ("cvxnn.program", "from cvxnn.certificate import certify"),
        ("cvxnn.certificate", "from cvxnn.solvers.fista import Fista"),
        ("cvxnn.certificate", "from cvxnn.solve import Solution"),
        ("cvxnn.solve", "from cvxnn.solvers import fista"),
        ("cvxnn.solvers.fista", "from cvxnn.architectures.relu import ReLU"),
        ("cvxnn.architectures.relu", "from cvxnn.solve import solve"),
        ("cvxnn.everywhere.grow", "def f():\n    from cvxnn.estimators import ConvexRegressor"),
        ("cvxnn.estimators", "from cvxnn import ConvexRegressor"),
        ("cvxnn.estimators", "from cvxnn.display import plot_neurons"),
        ("cvxnn.architectures.relu", "from sklearn.base import BaseEstimator"),
        ("cvxnn.certificate", "import clarabel"),
        ("cvxnn.arrays", "def f():\n    import torch"),
        ("cvxnn.everywhere.grow", "def f():\n    import matplotlib.pyplot as plt"),
        ("cvxnn.export", "import torch"),
        ("cvxnn.export", "if True:\n    from torch import nn"),
    ],
)
def test_the_checker_finds_a_wrong_arrow(module: str, source: str) -> None:
    assert len(wrong_imports(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cvxnn.arrays", "import numpy\nfrom cvxnn.errors import CvxnnError"),
        ("cvxnn.maps.gated", "from .base import LinearMap\nfrom ..arrays import namespace"),
        ("cvxnn.maps.__init__", "from .base import LinearMap"),
        ("cvxnn.certificate", "from cvxnn.program import Program\nfrom cvxnn.maps import base"),
        ("cvxnn.solvers.reference", "import clarabel\nfrom cvxnn.solve import Solution"),
        ("cvxnn.estimators", "import sklearn.base\nfrom cvxnn.everywhere import grow"),
        ("cvxnn.estimators", "def f():\n    import torch\n    return torch"),
        ("cvxnn.cli", "import typer\nfrom cvxnn import ConvexRegressor, __version__"),
        ("cvxnn.__init__", "from cvxnn.display import plot_neurons\nfrom .arrays import Array"),
    ],
)
def test_the_checker_lets_a_right_arrow_pass(module: str, source: str) -> None:
    assert wrong_imports(module, source) == []


def test_importing_cvxnn_imports_no_optional_or_slow_library() -> None:
    script = "import sys, cvxnn; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    assert "cvxnn" in loaded
    assert not NOT_ON_IMPORT & set(loaded)
