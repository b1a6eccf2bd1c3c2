"""CIFAR-10 in full, 48,000 or 50,000 images of 3072 pixels: how much memory a fit takes beside it.

    CVXNN_DATA=folder python benchmarks/cifar_memory.py
    python benchmarks/cifar_memory.py --array X.npy --labels y.npy

minimises mean loss + alpha * weight decay over gated networks on Gaussian gates, ten classes, from
a float32 file that is memory-mapped, until the relative duality gap is small enough. A process of
its own does it; what it holds beside the file (RssAnon of /proc) is sampled every 20 ms.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from cvxnn.architectures import GatedReLU
from cvxnn.certificate import Scope
from cvxnn.experiments.loaders import cifar10, data_folder
from cvxnn.gates import gaussian
from cvxnn.path import alpha_max
from cvxnn.samples import fingerprint
from cvxnn.solve import Progress
from cvxnn.solver_choice import solver_for
from cvxnn.streamed import held, require_finite
from cvxnn.training import LOSSES, problem_of, train

LIMIT = 2**30
"""Bytes that a fit may hold beside the data."""


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


class Peak:
    """The largest resident memory that is no file's, while it is watched."""

    def __init__(self) -> None:
        self.bytes, self._over = resident("RssAnon"), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, resident("RssAnon"))

    def end(self) -> int:
        self._over.set()
        return self.bytes


def store(folder: Path) -> tuple[Path, Path]:
    """Write CIFAR-10's training images as float32 around zero, and its labels, into `folder`."""
    images = cifar10(data_folder())
    if images is None:
        sys.exit("CIFAR-10 was not found: set CVXNN_DATA, or pass --array and --labels")
    n, pixels = len(images.X), images.X.reshape(len(images.X), -1)
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, pixels.shape)
    for first in range(0, n, 1000):
        X[first : first + 1000] = pixels[first : first + 1000] / np.float32(255) - np.float32(0.5)
    X.flush()
    np.save(folder / "y.npy", images.y)
    return folder / "X.npy", folder / "y.npy"


def fit(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one fit in this process."""
    peak, begin, cpu = Peak(), time.perf_counter(), time.process_time()
    X: Any = held(np.load(options.array, mmap_mode="r"), True)
    require_finite(X)
    labels = np.load(options.labels)
    one_hot = np.eye(int(labels.max()) + 1)[labels]
    target = one_hot if options.loss == "cross_entropy" else 2 * one_hot - 1
    fingerprint(X, target, np.ones(len(labels)))
    architecture = GatedReLU()
    gates = gaussian(architecture.features(X), options.gates, np.random.default_rng(0))
    problem = problem_of(
        architecture,
        X,
        target,
        np.ones(len(labels)),
        LOSSES[options.loss],
        gates,
        scope=Scope.GIVEN_GATES,
        intercept=True,
        skip=False,
    )
    problem = problem.at(options.share * alpha_max(problem))
    solver, _ = solver_for(problem.program, options.solver)

    def report(event: Progress) -> None:
        found = event.certificate
        print(
            f"{event.iteration:>6} it {time.perf_counter() - begin:>8.0f} s "
            f"{time.process_time() - cpu:>8.0f} CPU s   objective {found.upper:.6g}   "
            f"gap {found.relative_gap:.2e}   {peak.bytes / 2**20:.0f} MiB",
            file=sys.stderr,
            flush=True,
        )

    trained = train(
        problem,
        solver,
        tol=options.gap,
        max_time=options.max_time,
        callbacks=[report],
    )
    return {
        "n": X.shape[0],
        "d": X.shape[1],
        "gates": len(gates),
        "solver": solver.name,
        "alpha": problem.alpha,
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu,
        "iterations": trained.solution.iterations,
        "status": trained.solution.status.name,
        "gap": trained.certificate.relative_gap,
        "data_MiB": Path(options.array).stat().st_size / 2**20,
        "beside_it_MiB": peak.end() / 2**20,
    }


def main() -> None:
    """Run the benchmark, the fit in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--array", help="float32 .npy file (n, d) instead of CVXNN_DATA")
    parser.add_argument("--labels", help="its labels, an integer .npy file (n,)")
    parser.add_argument("--gates", type=int, default=256)
    parser.add_argument("--loss", default="squared", choices=["squared", "cross_entropy"])
    parser.add_argument("--share", type=float, default=0.1, help="alpha over the largest alpha")
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--gap", type=float, default=1e-2)
    parser.add_argument("--max-time", type=float, help="seconds for the solver")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(fit(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        words = sys.argv[1:]
        if options.array is None:
            array, labels = store(Path(folder))
            words += ["--array", str(array), "--labels", str(labels)]
        command = [sys.executable, __file__, *words, "--here"]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(run.stdout)
    for name, value in found.items():
        print(f"{name:>14}  {value:.4g}" if isinstance(value, float) else f"{name:>14}  {value}")
    fits = found["beside_it_MiB"] <= LIMIT / 2**20
    reached = found["gap"] <= options.gap
    print(f"{'memory':>14}  {'within' if fits else 'BEYOND'} 1 GiB beside the data")
    print(f"{'gap asked':>14}  {'reached' if reached else 'NOT reached'}")


if __name__ == "__main__":
    main()
