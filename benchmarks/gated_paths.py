"""A path of gated ReLU programs to one duality gap: ours, and adelie in its own environment."""

import argparse
import gc
import os
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from two_layer.benchmark_utils.adelie_client import ASK, Adelie
from two_layer.benchmark_utils.problems import GatedProblem, pose
from two_layer.benchmark_utils.tables import BUNDLED, Table, standard, teacher

from cvxnn.architectures import GatedReLU, Problem
from cvxnn.certificate import Scope
from cvxnn.functions import Squared
from cvxnn.path import path as follow
from cvxnn.solve import solve
from cvxnn.solvers import WorkingSet
from cvxnn.training import problem_of

Floats = NDArray[np.float64]
PROBLEMS: dict[str, tuple[Callable[[], Table], int]] = {
    "A": (lambda: teacher(1000, 50), 500),
    "B": (lambda: teacher(5000, 100), 1000),
    "digits": (BUNDLED["digits"], 1000),
}
"""Data and gates."""
TOLS = 10.0 ** -np.arange(5.0, 14.0)
"""Those of adelie that are tried; the quickest that meets the gap counts."""


def at(problem: GatedProblem, alpha: float) -> GatedProblem:
    """Return the problem at another strength."""
    return replace(problem, alpha=float(alpha))


def training_problem(problem: GatedProblem) -> Problem:
    """Return the problem as the library poses it, without unpenalised columns."""
    words = {"scope": Scope.GIVEN_GATES, "intercept": False, "skip": False}
    ones, y = np.ones(len(problem.y)), problem.y[:, None]
    return problem_of(GatedReLU(bias=False), problem.X, y, ones, Squared(), problem.gates, **words)


def ours(problem: GatedProblem, alphas: Floats, gap: float) -> tuple[float, float]:
    """Return the CPU seconds of the path and of its last point alone, the medians of five runs."""
    seconds = []
    for _ in range(5):
        here = training_problem(problem)
        gc.collect()  # of what came before, so that it is not on the clock
        begin = time.process_time()
        for _, solution in follow(here, alphas, WorkingSet(), tol=gap):
            assert solution.certificate.proves(gap)
        path = time.process_time() - begin
        begin = time.process_time()
        solve(at(problem, alphas[-1]).program(), WorkingSet(), tol=gap)
        seconds.append((path, time.process_time() - begin))
    path, last = np.median(seconds, axis=0)
    return float(path), float(last)


def theirs(problem: GatedProblem, alphas: Floats) -> list[tuple[float, float, float]]:
    """Return (tolerance, CPU seconds of the path, worst gap) of adelie for every tolerance."""
    peer = Adelie(problem.X, problem.masks, problem.y, list(alphas))
    rows = []
    for tol in TOLS:
        seconds = peer.solve(float(tol))
        gaps = [
            at(problem, alpha).judge(blocks)["relative_gap"]
            for alpha, blocks in zip(*peer.paths(), strict=True)
        ]
        rows.append((float(tol), seconds, np.inf if len(gaps) < len(alphas) else max(gaps)))
    return rows


def main() -> None:
    """Print a row for every problem and gap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default="A,digits")
    parser.add_argument("--gaps", default="1e-4,1e-6")
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--ratio", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not os.environ.get("CVXNN_ADELIE"):
        print(f"ours alone; for both {ASK}")
    heads = ["problem", "gap", "ours s", "last alone s", "ours / last"]
    heads += ["adelie s", "its tol", "its gap", "adelie / ours"]
    print("".join(head.rjust(14) for head in heads), flush=True)
    for name in args.problems.split(","):
        data, n_gates = PROBLEMS[name]
        problem = pose("gated", *standard(*data()), args.ratio, n_gates, args.seed)
        alphas = problem.alpha_max * np.geomspace(1.0, args.ratio, args.points + 1)[1:]
        rows = theirs(problem, alphas) if os.environ.get("CVXNN_ADELIE") else []
        for gap in map(float, args.gaps.split(",")):
            seconds, last = ours(problem, alphas, gap)
            cells = [name, f"{gap:.0e}", f"{seconds:.3f}", f"{last:.3f}", f"{seconds / last:.2f}"]
            good = [row for row in rows if row[2] <= gap]
            if good:
                tol, peer, reached = min(good, key=lambda row: row[1])
                cells += [f"{peer:.2f}", f"{tol:.0e}", f"{reached:.1e}", f"{peer / seconds:.1f}"]
            print("".join(cell.rjust(14) for cell in cells), flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
