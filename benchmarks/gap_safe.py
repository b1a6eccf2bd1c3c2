"""How many groups a gap-safe test could delete along a path: before each point, and after it."""

import argparse

import numpy as np
from gated_paths import PROBLEMS, Floats, pose, standard, training_problem
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cvxnn.path import path as follow
from cvxnn.program import Iterate, Program
from cvxnn.solvers import WorkingSet


def kept(
    program: Program, iterate: Iterate, X: Floats, masks: NDArray[np.bool_], norms: Floats
) -> int:
    """Return how many groups the test keeps, given the spectral `norms` (P,) of D_i X.

    The dual of the mean squared loss is n-strongly concave, so the best point is within
    sqrt(2 gap / n) of a feasible one; a group that no point of that ball makes tight is zero.
    """
    pull = np.linalg.norm((masks * np.asarray(iterate.dual)[:, 0]) @ X, axis=1)
    alpha = program.penalty.alpha  # type: ignore[attr-defined]
    shrink = min(1.0, alpha / pull.max())
    lower = -program.loss.conjugate(-shrink * iterate.dual)
    gap = max(program.objective(iterate.blocks, iterate.free) - lower, 0.0)
    return int((shrink * pull + norms * np.sqrt(2 * gap / len(X)) >= alpha).sum())


def main() -> None:
    """Print a row for every third point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default="A,digits")
    parser.add_argument("--gap", type=float, default=1e-4)
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--ratio", type=float, default=0.05)
    args = parser.parse_args()
    heads = ("problem", "of largest", "groups", "kept before", "kept after", "active")
    print("".join(head.rjust(13) for head in heads))
    for name in args.problems.split(","):
        data, n_gates = PROBLEMS[name]
        posed = pose("gated", *standard(*data()), args.ratio, n_gates, 0)
        problem = training_problem(posed)
        masks = problem.gates.masks
        norms = np.array([np.linalg.norm(posed.X[mask], 2) for mask in masks])
        alphas = posed.alpha_max * np.geomspace(1.0, args.ratio, args.points + 1)[1:]
        last = None
        for place, (alpha, found) in enumerate(follow(problem, alphas, WorkingSet(), tol=args.gap)):
            program, here = problem.at(alpha).program, found.iterate
            before = len(masks) if last is None else kept(program, last, posed.X, masks, norms)
            after = kept(program, here, posed.X, masks, norms)
            active = int(here.blocks.any(axis=(1, 2)).sum())
            cells = [name, f"{alpha / posed.alpha_max:.3f}", len(masks), before, after, active]
            if place % 3 == 2:
                print("".join(str(cell).rjust(13) for cell in cells), flush=True)
            last = here


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
