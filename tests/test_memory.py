"""Memory is predicted before it is taken, and the prediction holds.

Every second shape is measured; with EVERY=1 in the environment all of them.
"""

import subprocess
import sys

import numpy as np
import pytest
from tests.every import share

from cvxnn import (
    ConvexForecaster,
    ConvexRegressor,
    ConvexSpline,
    GatedReLU,
    ReLU,
    fit_quantised,
    memory,
    streamed,
)
from cvxnn.architectures import BY_NAME
from cvxnn.errors import MemoryBudgetError
from cvxnn.solvers import ADMM, FISTA, Factored, Newton, Subspace, WorkingSet

MEASURE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from cvxnn.estimators import ConvexRegressor

kind, n, d, p, c, dtype = sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6]
rng = np.random.default_rng(0)


def resident(field):  # of this process alone; rusage would count the parent before exec
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def fit(n, d, p, rounds):
    X = rng.standard_normal((n, d)).astype(dtype)
    y = rng.standard_normal((n, c)) if c > 1 else rng.standard_normal(n)
    open("/proc/self/clear_refs", "w").write("5")  # the peak of making X is none of the fit's
    before = resident("VmRSS")
    words = dict(gates="sample", n_gates=p, max_iter=rounds, random_state=0)
    words |= {"solver": kind} if kind in ("fista", "newton", "subspace") else {}
    words |= {"gates": "auto"} if kind in ("polynomial", "deep_linear") else {}
    name = "gated" if kind in ("fista", "newton", "subspace") else kind
    ConvexRegressor(name, alpha=0.02, **words).fit(X, y)
    return resident("VmHWM") - before


fit(40, 3, 8, 5)  # libraries load on first use
print(fit(n, d, p, 2 if kind.startswith("batchnorm") else 4))  # twelve rounds have the same peak
"""

SHAPES = [
    ("fista", 20_000, 50, 500, 1, "float64"),
    ("fista", 20_000, 50, 1000, 1, "float32"),
    ("fista", 5000, 20, 300, 5, "float64"),
    ("fista", 50_000, 200, 200, 1, "float32"),
    ("subspace", 10_000, 400, 100, 3, "float64"),
    ("gated", 20_000, 50, 500, 1, "float64"),
    ("gated", 20_000, 50, 1000, 1, "float32"),
    ("gated", 50_000, 200, 200, 1, "float32"),
    ("gated", 5000, 20, 300, 5, "float64"),
    ("newton", 1500, 60, 200, 1, "float64"),
    ("relu", 2000, 20, 500, 1, "float64"),
    ("relu", 3000, 30, 300, 2, "float64"),
    ("threshold", 30_000, 20, 1000, 1, "float64"),
    ("batchnorm", 2000, 20, 500, 1, "float64"),
    ("batchnorm_after", 3000, 30, 80, 1, "float64"),
    ("batchnorm_after", 1500, 20, 100, 1, "float32"),
    ("polynomial", 50_000, 60, 1, 1, "float64"),
    ("deep", 1500, 15, 40, 1, "float64"),
    ("deep_gated", 5000, 20, 100, 1, "float64"),
    ("deep_linear", 50_000, 60, 1, 1, "float64"),
]

STREAMED = [
    ("fista", 20_000, 2000, 100, 1, "float32"),
    ("fista", 12_000, 3000, 128, 5, "float32"),
    ("fista", 200_000, 20, 200, 1, "float32"),
    ("subspace", 30_000, 1200, 100, 4, "float32"),
    ("fista", 100_000, 30, 300, 1, "float64"),
]
"""Data of more than 128 MiB, and masks that would be in floats."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "shape", SHAPES[:: share(2)] + STREAMED[:: share(2)], ids=lambda s: "-".join(map(str, s))
)
def test_the_measured_peak_is_within_the_prediction(shape: tuple[object, ...]) -> None:
    kind, n, d, p, outputs, dtype = shape
    architecture = BY_NAME.get(str(kind), GatedReLU())
    solvers = {"fista": FISTA(), "deep_linear": FISTA(), "newton": Newton()}
    solvers |= {"polynomial": Factored(), "subspace": Subspace()}
    solver = solvers.get(str(kind), WorkingSet())
    itemsize = np.dtype(dtype).itemsize
    sizes = architecture.sizes(n, d + 1, p, outputs)
    streams = n * d * itemsize >= streamed.LARGE
    predicted = memory.predict(
        sizes, solver, n=n, d=d + 1, p=p, itemsize=itemsize, by_blocks=streams
    )
    command = [sys.executable, "-c", MEASURE, *map(str, shape)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = int(run.stdout)
    assert measured <= 1.2 * predicted
    assert predicted <= 3 * measured


def test_refused_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    X = np.zeros((200_000, 10))
    with pytest.raises(
        MemoryBudgetError, match=r"needs about .* GiB and 1\.00 GiB is available"
    ) as e:
        ConvexRegressor("gated", n_gates=5000, alpha=1.0).fit(X, X[:, 0])
    for way_out in ("n_gates", "float32", "fewer samples"):
        assert way_out in str(e.value)
    assert e.value.needed > e.value.available == 2**30


def test_alternating_directions_are_predicted_to_hold_more() -> None:
    sizes = ReLU().sizes(10_000, 11, 100, 1)
    both = [
        memory.predict(sizes, s, n=1000, d=11, p=100, itemsize=8) for s in (ADMM(), WorkingSet())
    ]
    assert both[0] > 2 * both[1]


SMALL = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from cvxnn import ConvexSpline, fit_quantised

kind, n, d = sys.argv[1], *map(int, sys.argv[2:])
rng = np.random.default_rng(0)


def resident(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def fit(n, d):
    X = rng.standard_normal((n, d))
    y = np.sin(5 * X[:, 0]) + 0.1 * rng.standard_normal(n)
    open("/proc/self/clear_refs", "w").write("5")
    before = resident("VmRSS")
    if kind == "spline":
        ConvexSpline(alpha=1e-6).fit(X, y)
    else:
        fit_quantised(X, y, alpha=0.1, n_neurons=20, random_state=0)
    return resident("VmHWM") - before


fit(30, d)
print(fit(n, d))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "n", "d", "predicted"),
    [
        ("spline", 6000, 1, memory.of_splines(6000)),
        ("quantised", 400, 24, memory.of_quantised(400, 25)),
        ("quantised", 200, 30, memory.of_quantised(200, 31)),
    ],
)
def test_what_needs_no_gates_is_predicted_too(kind: str, n: int, d: int, predicted: int) -> None:
    command = [sys.executable, "-c", SMALL, kind, str(n), str(d)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(run.stdout) <= 1.2 * predicted
    assert predicted <= 3 * int(run.stdout)


def test_series_splines_and_quantised_networks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    x = np.linspace(0.0, 9.0, 400)
    with pytest.raises(MemoryBudgetError, match=r"GiB is available; fit on fewer samples"):
        ConvexSpline().fit(x[:, None], np.sin(x))
    with pytest.raises(MemoryBudgetError, match="fewer samples or columns"):
        fit_quantised(x[:, None], np.sin(x), alpha=0.1)
    with pytest.raises(MemoryBudgetError, match="fewer samples"):
        ConvexForecaster(alpha=0.1, lags=4).fit(np.sin(x))


def test_networks_without_gates_hold_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `n_gates` would take does not count where there are no gates to draw."""
    monkeypatch.setattr(memory, "available", lambda: 2**28)
    X = np.random.default_rng(0).standard_normal((60_000, 3))
    model = ConvexRegressor("quadratic", alpha=0.1, n_gates=100_000).fit(X, X[:, 0] ** 2)
    assert model.network_.n_neurons > 0
