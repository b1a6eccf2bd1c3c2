"""Memory is predicted before it is taken, and the prediction holds.

Every second shape is measured; with EVERY=1 in the environment all of them.
"""

import subprocess
import sys

import numpy as np
import pytest
from tests.every import share

from cvxnn import ConvexRegressor, GatedReLU, ReLU, memory, streamed
from cvxnn.errors import MemoryBudgetError
from cvxnn.solvers import ADMM, FISTA, Newton, WorkingSet

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
    words |= {"solver": kind} if kind in ("fista", "newton") else {}
    ConvexRegressor("relu" if kind == "relu" else "gated", alpha=0.02, **words).fit(X, y)
    return resident("VmHWM") - before


fit(40, 3, 8, 5)  # libraries load on first use
print(fit(n, d, p, 4))  # twelve rounds have the same peak
"""

SHAPES = [
    ("fista", 20_000, 50, 500, 1, "float64"),
    ("fista", 20_000, 50, 1000, 1, "float32"),
    ("fista", 5000, 20, 300, 5, "float64"),
    ("fista", 50_000, 200, 200, 1, "float32"),
    ("gated", 20_000, 50, 500, 1, "float64"),
    ("gated", 20_000, 50, 1000, 1, "float32"),
    ("gated", 50_000, 200, 200, 1, "float32"),
    ("gated", 5000, 20, 300, 5, "float64"),
    ("newton", 1500, 60, 200, 1, "float64"),
    ("relu", 2000, 20, 500, 1, "float64"),
    ("relu", 3000, 30, 300, 2, "float64"),
]

STREAMED = [
    ("fista", 20_000, 2000, 100, 1, "float32"),
    ("fista", 12_000, 3000, 128, 5, "float32"),
    ("fista", 200_000, 20, 200, 1, "float32"),
    ("fista", 100_000, 30, 300, 1, "float64"),
]
"""Data of more than 128 MiB, and masks that would be in floats."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "shape", SHAPES[:: share(2)] + STREAMED[:: share(2)], ids=lambda s: "-".join(map(str, s))
)
def test_the_measured_peak_is_within_the_prediction(shape: tuple[object, ...]) -> None:
    kind, n, d, p, outputs, dtype = shape
    architecture = ReLU() if kind == "relu" else GatedReLU()
    solver = {"fista": FISTA(), "newton": Newton()}.get(str(kind), WorkingSet())
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
